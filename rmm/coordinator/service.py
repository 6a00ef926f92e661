"""The coordinator: folds batches of observations, each in one transaction, and delivers what follows from them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from rmm.coordinator.facts import facts_of
from rmm.core.alerting import site as site_trouble
from rmm.core.alerting.lifecycle import FIRING, LIVE, PENDING, RESOLVED, Change, evaluate
from rmm.core.health import health
from rmm.core.rules import compile_rules
from rmm.durable import hold
from rmm.errors import RmmError
from rmm.model.observation import Observation, decode_observation
from rmm.model.rule import Alert, Notification, Rule
from rmm.ports import Channel, Clock
from rmm.tiers.fleet_sqlite import FleetStore, Stamp

log = logging.getLogger(__name__)

DELIVERY_S = 10.0  # one channel, one notification
FINISH_S = 15.0  # how long the end of a round waits for channels; the rest is delivered by the next
LOCK_S = 30.0

_encode = msgspec.json.Encoder().encode


class Coordinator:
    """One per process; several processes take turns by a lock that is held for the length of a fold."""

    def __init__(
        self, data: Path, store: FleetStore, rules: Sequence[Rule], keys: dict[str, tuple[str, ...]],
        channels: Sequence[Channel], clock: Clock,
    ) -> None:  # fmt: skip
        self._data = data
        self._store = store
        self._rules = compile_rules(rules)
        self._by_id = {rule.id: rule for rule in rules}
        self._keys = keys
        self._channels = {channel.name: channel for channel in channels}
        self._clock = clock
        self._live: dict[str, dict[str, Alert]] = {}  # endpoint -> key -> alert
        self._statuses: dict[str, dict[str, int]] = {}  # site -> status -> count, of this round
        self._held: list[Change] = []  # changes of status rules, told when the round shows whose trouble it is
        self._counts = {FIRING: 0, RESOLVED: 0}
        self._delivery: asyncio.Task[None] | None = None
        self._writing = asyncio.Lock()  # one transaction at a time on the one connection

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        data: Path,
        *,
        rules: Sequence[Rule],
        keys: dict[str, tuple[str, ...]],
        channels: Sequence[Channel],
        clock: Clock,
    ) -> AsyncIterator[Coordinator]:
        """With its database; `keys` is collector name -> key fields. What an earlier run left undelivered is sent."""
        async with FleetStore.open(data) as store:
            coordinator = cls(data, store, rules, keys, channels, clock)
            for alert in await store.live_alerts():
                coordinator._remember(alert)
            try:
                yield coordinator
            finally:
                if coordinator._delivery is not None:
                    coordinator._delivery.cancel()
                    await asyncio.gather(coordinator._delivery, return_exceptions=True)

    def _remember(self, alert: Alert) -> None:
        kept = self._live.setdefault(alert.endpoint, {})
        if alert.state in LIVE:
            kept[alert.key] = alert
        else:
            kept.pop(alert.key, None)

    async def fold(self, batch: Sequence[bytes]) -> None:
        """Fold encoded observations; durable on return, redelivery and reordering change nothing.

        Raises TierError, and then none of the batch is stored.
        """
        observations = []
        for data in batch:
            try:
                observations.append(decode_observation(data))
            except msgspec.DecodeError as error:
                log.warning("an observation that cannot be read is left out: %s", error)
        observations.sort(key=lambda o: (o.observed_at, o.epoch, o.seq))
        async with self._writing:
            with hold(self._data / "locks" / "fleet.lock", "the fleet's database", timeout_s=LOCK_S):
                async with self._store.transaction():
                    changes = await self._fold(observations)
        for change in changes:
            if change.dropped:
                self._live[change.alert.endpoint].pop(change.alert.key, None)
        self.deliver()

    async def _fold(self, observations: Sequence[Observation]) -> list[Change]:
        stamps = await self._store.stamps({observation.endpoint for observation in observations})
        rows: dict[str, tuple[Any, ...]] = {}
        changes: list[Change] = []
        for observation in observations:
            stamp = stamps.get(observation.endpoint)
            at = observation.observed_at.isoformat()
            if stamp is not None and (at, observation.epoch, observation.seq) <= stamp[:3]:
                continue  # redelivered or late: the newest has been evaluated already
            facts = facts_of(observation, stamp.facts if stamp else {})
            stamps[observation.endpoint] = Stamp(at, observation.epoch, observation.seq, facts)
            changes += self._evaluate(observation)
            rows[observation.endpoint] = self._row(observation, at, facts)
        await self._store.put_endpoints(list(rows.values()))
        await self._store.put_changes(changes)
        await self._store.add_notifications(self._told(changes), self._channels)
        return changes

    def _evaluate(self, observation: Observation) -> list[Change]:
        counts = self._statuses.setdefault(observation.site, {})
        counts[observation.status] = counts.get(observation.status, 0) + 1
        live = self._live.get(observation.endpoint, {})
        changes = evaluate(observation, live, self._rules, self._keys)
        for change in changes:
            if not change.dropped:
                self._remember(change.alert)
        return changes

    def _row(self, observation: Observation, at: str, facts: dict[str, Any]) -> tuple[Any, ...]:
        firing = [alert for alert in self._live.get(observation.endpoint, {}).values() if alert.state != PENDING]
        score, word, reasons = health(observation.status, firing, self._by_id)
        fault = observation.fault
        return (
            *(observation.endpoint, observation.name, observation.site, observation.shard, observation.status),
            *((fault.code, fault.hint, fault.message) if fault else ("", "", "")),
            *(at, observation.epoch, observation.seq, observation.duration_s, score, word),
            *(_encode(reasons).decode(), _encode(facts).decode()),
        )

    def _told(self, changes: Sequence[Change]) -> list[Notification]:
        """Notifications of these changes; those of status rules wait for the end of the round."""
        now: list[Change] = []
        for change in changes:
            if change.tell:
                self._counts[change.tell] += 1
                rule = self._by_id.get(change.alert.rule)
                (self._held if rule is not None and not rule.collector else now).append(change)
        return [_notification(change, self._clock.now()) for change in now]

    async def finish(self) -> dict[str, int]:
        """The round is over: tell site trouble from endpoint trouble, deliver; returns counts of firing, resolved."""
        now = self._clock.now()
        down = {site for site, counts in self._statuses.items() if site_trouble.is_down(counts)}
        changes = [self._site_change(site, now, down=site in down) for site in self._statuses]
        found = [change for change in changes if change is not None]
        muted = [self._mute(change) for change in self._held if change.alert.site in down and change.tell == FIRING]
        told = [change for change in self._held if change.alert.site not in down or change.tell != FIRING] + found
        if told or muted or found:
            async with self._writing:
                with hold(self._data / "locks" / "fleet.lock", "the fleet's database", timeout_s=LOCK_S):
                    async with self._store.transaction():
                        await self._store.put_changes([*found, *muted])
                        notifications = [_notification(change, now) for change in told if change.tell]
                        await self._store.add_notifications(notifications, self._channels)
            for change in found:
                self._remember(change.alert)
        counts = {
            FIRING: self._counts[FIRING] - len(muted) + sum(change.tell == FIRING for change in found),
            RESOLVED: self._counts[RESOLVED] + sum(change.tell == RESOLVED for change in found),
        }
        self._held, self._statuses, self._counts = [], {}, {FIRING: 0, RESOLVED: 0}
        await self._settle()
        return counts

    def _mute(self, change: Change) -> Change:
        """An endpoint's alert that is its site's trouble: it waits, and fires only if the endpoint stays behind."""
        alert = msgspec.structs.replace(change.alert, state=PENDING)
        self._remember(alert)
        return Change(alert)

    def _site_change(self, site: str, now: datetime, *, down: bool) -> Change | None:
        known = self._live.get("", {}).get(f"{site_trouble.RULE}||{site}")
        if down:
            alert = site_trouble.site_alert(site, self._statuses[site], now, known)
            return Change(alert, "" if known else FIRING)
        if known is None:
            return None
        ended = msgspec.structs.replace(known, state=RESOLVED, resolved_at=now, last_at=now)
        return Change(ended, RESOLVED)

    def deliver(self) -> None:
        """Start delivering what is in the outbox, unless that is going on."""
        if self._delivery is None or self._delivery.done():
            self._delivery = asyncio.create_task(self._deliver())

    async def _settle(self) -> None:
        """Wait a bounded time for what is being delivered, then once more for what came meanwhile."""
        for _ in range(2):
            self.deliver()
            assert self._delivery is not None
            await asyncio.wait([self._delivery], timeout=FINISH_S)

    async def _deliver(self) -> None:
        try:
            async with self._writing:
                waiting = await self._store.open_notifications()
            queues: dict[str, list[Notification]] = {}
            for channel, notification in waiting:
                queues.setdefault(channel, []).append(notification)
            # Channels side by side, so that a broken one delays no other; within one in order.
            await asyncio.gather(*(self._deliver_to(name, listed) for name, listed in queues.items()))
        except RmmError as error:
            log.warning("notifications wait for the next round: %s", error)

    async def _deliver_to(self, name: str, notifications: Sequence[Notification]) -> None:
        channel = self._channels.get(name)
        for notification in notifications:
            sent_at, result = "", "this channel is no longer configured"
            if channel is not None:
                deadline = asyncio.get_running_loop().time() + DELIVERY_S
                try:
                    async with asyncio.timeout_at(deadline):
                        result = await channel.send(notification, deadline=deadline)
                    sent_at = self._clock.now().isoformat()
                except (RmmError, TimeoutError) as error:
                    result = str(error)[:500] or "no answer in time"
                    log.warning("channel %s: %s", name, result)
            async with self._writing, self._store.transaction():
                await self._store.mark(notification.id, name, sent_at=sent_at, result=result)
            if not sent_at:
                return  # the channel is broken: the rest waits for the next round


def _notification(change: Change, now: datetime) -> Notification:
    """Its id follows from the alert and the moment of the change, so a decision made twice is told once."""
    alert = change.alert
    moment = alert.last_at.strftime("%Y%m%dT%H%M%S%f")
    return Notification(id=f"{alert.key}@{moment}:{change.tell}", kind=change.tell, at=now, alerts=(alert,))
