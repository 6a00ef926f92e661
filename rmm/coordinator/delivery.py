"""Delivery: what is decided to be told goes through the stages and to the channels, side by side, while rounds go on.

    decided (notification)  stages (rmm.coordinator.stages)  outbox  a channel takes it  marked as sent

Each arrow is one transaction, or one `send`: after a crash between any two the next coordinator goes on from what was
stored, and what is sent twice has the same id. Of several processes one at a time gives to a channel, by a lock.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from rmm.coordinator.escalation import Escalations, Setup
from rmm.coordinator.stages import Stages
from rmm.core.alerting import site as site_trouble
from rmm.core.alerting.lifecycle import FIRING, Change
from rmm.core.alerting.retry import next_try
from rmm.core.alerting.route import Context, Mutes
from rmm.durable import hold
from rmm.errors import ChannelError, LeaseLost, RmmError, TierError
from rmm.model.routing import Routing
from rmm.model.rule import Notification
from rmm.ports import Channel, Clock
from rmm.tiers.fleet_sqlite import Fared, FleetStore

log = logging.getLogger(__name__)

DELIVERY_S = 10.0  # one channel, one notification
FINISH_S = 15.0  # how long the end of a round waits for channels; the rest is delivered by the next
LAST_S = 3.0  # and for groups that are due so soon
LOOK_S = 5.0  # a channel that failed meanwhile is due at a moment of which nobody tells `_run`
POLL_S = 0.5  # how often is looked for what other processes decided, and for channels that another one held
PAGE = 500
REFUSED = 3  # messages in a row that a channel may refuse before it is left alone


class Turns(NamedTuple):
    """The coordinator's turns on the connection that it shares with delivery."""

    reading: asyncio.Lock  # for reading
    alone: Callable[[], AbstractAsyncContextManager[None]]  # a transaction
    whole: Callable[[], AbstractAsyncContextManager[None]]  # one in which alerts and silences are known as stored


class Delivery:
    """One per coordinator; `mutes` is right within a turn `turns.whole`."""

    def __init__(
        self, data: Path, store: FleetStore, channels: Mapping[str, Channel], routing: Routing, clock: Clock,
        turns: Turns, mutes: Mutes, escalation: Setup | None = None,
    ) -> None:  # fmt: skip
        self._data = data
        self._store = store
        contacts = escalation.contacts if escalation else ()
        self._channels = {**{contact.name: contact for contact in contacts}, **channels}
        self._clock = clock
        self._reading = turns.reading
        self._alone = turns.alone
        escalations = Escalations(store, escalation, channels) if escalation else None
        self._stages = Stages(store, Context(routing, tuple(channels), mutes), turns.whole, escalations)
        self.rests = False  # whether another process delivers what this one decides
        self._wake = asyncio.Event()
        self._stepping = asyncio.Lock()
        self._soonest: datetime | None = None
        self._task: asyncio.Task[None] | None = None
        self._workers: dict[str, asyncio.Task[None]] = {}
        self._retries: dict[str, datetime] = {}  # channels that are left alone -> until when
        self._again: set[str] = set()  # channels for which something came while they were busy

    def start(self) -> None:
        """Something was decided: deliver it now; and go on delivering what becomes due."""
        if self.rests:
            return
        self._wake.set()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())

    async def settle(self) -> None:
        """Wait a bounded time for what is being delivered, and for groups that are due in a moment."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        self.start()
        while loop.time() < began + FINISH_S:
            await self._step()
            working = [task for task in self._workers.values() if not task.done()]
            if working:
                await asyncio.wait(working, timeout=max(0.05, began + FINISH_S - loop.time()))
            left = (self._soonest - self._clock.now()).total_seconds() if self._soonest else LAST_S + 1
            if left > LAST_S or loop.time() > began + LAST_S + 0.5:
                return
            await asyncio.sleep(max(0.05, left))

    async def stop(self) -> None:
        """Break off; what was not taken is offered again by the next coordinator."""
        tasks = [task for task in (self._task, *self._workers.values()) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def run(self) -> None:
        """Deliver what this and other processes decide, until cancelled."""
        seen = -1
        while True:
            async with self._reading:
                version = await self._store.version()
            if version != seen:  # another process has committed something
                seen = version
                self.start()
            await asyncio.sleep(POLL_S)

    async def try_again(self, channel: str) -> int:
        """What was not taken so far is due at once, given up or not; returns how many messages."""
        async with self._alone():
            count = await self._store.outbox.try_again(channel)
        self.start()
        return count

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            await self._step()
            moments = [at for at in (self._soonest, *self._retries.values()) if at is not None]
            left = (min(moments) - self._clock.now()).total_seconds() if moments else LOOK_S
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), min(LOOK_S, max(0.05, left)))

    async def _step(self) -> None:
        """The stages, then a worker for each channel, so that a slow one delays no other."""
        async with self._stepping:
            try:
                self._soonest = await self._stages.run(self._clock.now())
            except RmmError as error:
                log.warning("notifications wait for the next round: %s", error)
                self._soonest = None
                return
            for name in self._channels:
                worker = self._workers.get(name)
                if worker is None or worker.done():
                    self._workers[name] = asyncio.create_task(self._work(name))
                else:
                    self._again.add(name)

    async def _work(self, name: str) -> None:
        """Give a channel what is open for it, in order."""
        try:
            while True:
                self._again.discard(name)
                if await self._deliver_to(name) and name not in self._again:
                    return
        except RmmError as error:
            log.warning("channel %s: notifications wait for the next round: %s", name, error)

    async def _deliver_to(self, name: str) -> bool:
        """One page; False when there may be more."""
        async with self._reading:
            now = self._clock.now()
            fared = (await self._store.outbox.fared()).get(name, Fared(0, None, ""))
            listed = await self._store.outbox.open(name, now, PAGE)
        self._retries.pop(name, None)
        if not listed:
            return True
        if fared.not_before is not None and fared.not_before > now:
            self._retries[name] = fared.not_before
            return True
        try:
            lock = hold(self._data / "locks" / f"channel-{_file_name(name)}.lock", f"channel {name}")
            with lock:
                async with self._reading:  # what the process that held it has delivered meanwhile is not open any more
                    listed = await self._store.outbox.open(name, now, PAGE)
                return await self._page(name, listed, fared) and len(listed) < PAGE
        except LeaseLost:
            await asyncio.sleep(POLL_S)
            return False

    async def _page(self, name: str, listed: list[tuple[Notification, int]], fared: Fared) -> bool:
        """Send one by one; True when the channel is to be left alone, or has everything."""
        refused = 0
        for notification, tries in listed:
            receipt, error = await _send(self._channels[name], notification)
            now = self._clock.now()
            if error is None:
                async with self._alone():
                    await self._store.outbox.mark_sent(notification.id, name, now, receipt)
                    if fared.failures:
                        await self._store.outbox.put_fared(name, Fared(0, None, receipt), now)
                fared, refused = Fared(0, None, receipt), 0
                continue
            # A channel that answers and says no may take the next message; one that cannot be reached takes none.
            refused += 1
            stop = refused >= REFUSED or getattr(error, "code", "") != "channel.refused"
            failures = fared.failures + 1
            asked = getattr(error, "retry_after_s", 0.0)
            until = next_try(failures, now, random.random(), asked)
            fared = Fared(failures, until if stop else None, _said(error))
            async with self._alone():
                due_at = until if stop else next_try(tries + 1, now, random.random())
                await self._store.outbox.mark_failed(notification.id, name, fared.result, due_at)
                await self._store.outbox.put_fared(name, fared, now)
            if stop:
                self._retries[name] = until
                return True
        return True


async def tell_fault(channels: Iterable[Channel], clock: Clock, rule: str, summary: str) -> None:
    """Tell of a fault that may keep the store from being written, straight to the channels, within FINISH_S."""
    now = clock.now()
    one = notification(Change(site_trouble.site_alert(rule, "", summary, 0, now, None), FIRING), now)
    async with asyncio.timeout(FINISH_S):
        await asyncio.gather(*(_send(channel, one) for channel in channels))


async def deliver_once(channel: Channel, notification: Notification) -> str:
    """The receipt of one notification that is sent past the stages and the outbox; or its error."""
    deadline = asyncio.get_running_loop().time() + DELIVERY_S
    try:
        async with asyncio.timeout_at(deadline):
            return await channel.send(notification, deadline=deadline)
    except TimeoutError as error:
        raise ChannelError(f"channel {channel.name}: no answer within {DELIVERY_S:g} s") from error


async def _send(channel: Channel, notification: Notification) -> tuple[str, Exception | None]:
    """(the receipt, None), or what went wrong."""
    deadline = asyncio.get_running_loop().time() + DELIVERY_S
    try:
        async with asyncio.timeout_at(deadline):
            return (await channel.send(notification, deadline=deadline))[:500], None
    except (RmmError, TimeoutError) as error:
        # A channel that writes to the disk that is full adds nothing to the error that the round ends with.
        log.log(
            logging.INFO if isinstance(error, TierError) else logging.WARNING,
            "channel %s: %s", channel.name, _said(error),
        )  # fmt: skip
        return "", error
    except Exception as error:  # a plugin's bug must not keep the other channels from being told
        log.exception("channel %s failed", channel.name)
        return "", error


def _said(error: Exception) -> str:
    if isinstance(error, RmmError | TimeoutError):
        return str(error)[:500] or "no answer in time"
    return f"{type(error).__name__}: {error}"[:500]


def _file_name(channel: str) -> str:
    return "".join(c if c.isascii() and c.isalnum() else f"_{ord(c):x}" for c in channel)


def notification(change: Change, now: datetime) -> Notification:
    """Its id follows from the alert and the moment of the change, so a decision made twice is told once."""
    alert = change.alert
    identity = f"{alert.key}@{moment(alert.last_at)}:{change.tell}"
    return Notification(id=identity, kind=change.tell, at=now, alerts=(alert,))


def moment(at: datetime) -> str:
    return at.strftime("%Y%m%dT%H%M%S%f")
