"""Delivery: what is in the outbox goes to the channels, side by side, while rounds go on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta

from rmm.core.alerting import site as site_trouble
from rmm.core.alerting.lifecycle import FIRING, Change
from rmm.errors import RmmError, TierError
from rmm.model.rule import Notification
from rmm.ports import Channel, Clock
from rmm.tiers.fleet_sqlite import FleetStore

log = logging.getLogger(__name__)

DELIVERY_S = 10.0  # one channel, one notification
FINISH_S = 15.0  # how long the end of a round waits for channels; the rest is delivered by the next
KEEP = timedelta(days=7)  # how long a notification is offered to a channel that does not take it


class Delivery:
    """One per coordinator. `reading` and `alone` are the coordinator's turns on the connection that both use."""

    def __init__(
        self, store: FleetStore, channels: Mapping[str, Channel], clock: Clock,
        reading: asyncio.Lock, alone: Callable[[], AbstractAsyncContextManager[None]],
    ) -> None:  # fmt: skip
        self._store = store
        self._channels = channels
        self._clock = clock
        self._reading = reading
        self._alone = alone
        self._broken: set[str] = set()  # channels that failed in this round; they are left alone until the next
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start delivering what is in the outbox, unless that is going on."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._deliver())

    async def settle(self) -> None:
        """Wait a bounded time for what is being delivered, then once more for what came meanwhile."""
        for _ in range(2):
            self.start()
            assert self._task is not None
            await asyncio.wait([self._task], timeout=FINISH_S)
        self._broken = set()

    async def stop(self) -> None:
        """Break off; what was not taken is offered again by the next coordinator."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _deliver(self) -> None:
        try:
            since = self._clock.now() - KEEP
            queues: dict[str, list[Notification]] = {}
            async with self._reading:
                for name in self._channels.keys() - self._broken:
                    queues[name] = await self._store.open_notifications(name, since)
            # Channels side by side, so that a broken one delays no other; within one in order.
            await asyncio.gather(*(self._deliver_to(name, listed) for name, listed in queues.items()))
        except RmmError as error:
            log.warning("notifications wait for the next round: %s", error)

    async def _deliver_to(self, name: str, notifications: Sequence[Notification]) -> None:
        for notification in notifications:
            sent_at, result = await _send(self._channels[name], notification, self._clock)
            async with self._alone():
                await self._store.mark(notification.id, name, sent_at=sent_at, result=result)
            if not sent_at:
                self._broken.add(name)
                return  # the rest waits for the next round


async def tell_fault(channels: Iterable[Channel], clock: Clock, rule: str, summary: str) -> None:
    """Tell of a fault that may keep the store from being written, straight to the channels, within FINISH_S."""
    now = clock.now()
    one = notification(Change(site_trouble.site_alert(rule, "", summary, 0, now, None), FIRING), now)
    async with asyncio.timeout(FINISH_S):
        await asyncio.gather(*(_send(channel, one, clock) for channel in channels))


async def _send(channel: Channel, notification: Notification, clock: Clock) -> tuple[str, str]:
    """(when it was taken or empty, the receipt or what went wrong)."""
    deadline = asyncio.get_running_loop().time() + DELIVERY_S
    try:
        async with asyncio.timeout_at(deadline):
            receipt = await channel.send(notification, deadline=deadline)
        return clock.now().isoformat(), receipt
    except (RmmError, TimeoutError) as error:
        result = str(error)[:500] or "no answer in time"
        # A channel that writes to the disk that is full adds nothing to the error that the round ends with.
        log.log(
            logging.INFO if isinstance(error, TierError) else logging.WARNING, "channel %s: %s", channel.name, result
        )
    except Exception as error:  # a plugin's bug must not keep the other channels from being told
        result = f"{type(error).__name__}: {error}"[:500]
        log.exception("channel %s failed", channel.name)
    return "", result


def notification(change: Change, now: datetime) -> Notification:
    """Its id follows from the alert and the moment of the change, so a decision made twice is told once."""
    alert = change.alert
    identity = f"{alert.key}@{moment(alert.last_at)}:{change.tell}"
    return Notification(id=identity, kind=change.tell, at=now, alerts=(alert,))


def moment(at: datetime) -> str:
    return at.strftime("%Y%m%dT%H%M%S%f")
