"""The coordinator: folds batches of observations, each in one transaction, and delivers what follows from them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from rmm.coordinator.delivery import Delivery, moment, notification
from rmm.coordinator.facts import facts_of
from rmm.coordinator.quarantine import keep_refusals
from rmm.core import duplicates
from rmm.core.alerting import lifecycle
from rmm.core.alerting import site as site_trouble
from rmm.core.alerting.lifecycle import FIRING, LIVE, PENDING, RESOLVED, Change, evaluate, gone
from rmm.core.alerting.site import Trouble
from rmm.core.clock import is_ahead
from rmm.core.health import health
from rmm.core.rules import compile_rules
from rmm.model.observation import Fault, Observation, decode_observation
from rmm.model.rule import Alert, Rule
from rmm.ports import Channel, Clock
from rmm.tiers.fleet_sqlite import FleetStore, Stamp, alone

log = logging.getLogger(__name__)

ROUND = timedelta(minutes=15)  # how old a status may be to speak for its site
SKEW = "clock_skew_s"  # the field whose alerts may be the collector's own clock

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
        self._seen: dict[str, datetime] = {}  # site of this round -> its first observation
        self._version = -1  # of the database when `_live` was read from it
        self._counts = {FIRING: 0, RESOLVED: 0}
        self._writing = asyncio.Lock()  # one transaction at a time on the one connection
        self._delivery = Delivery(store, self._channels, clock, self._writing, self._alone)

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
            try:
                yield coordinator
            finally:
                await coordinator._delivery.stop()

    def _remember(self, alert: Alert) -> None:
        kept = self._live.setdefault(alert.endpoint, {})
        if alert.state in LIVE:
            kept[alert.key] = alert
        else:
            kept.pop(alert.key, None)

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        """A transaction, alone among processes."""
        async with self._writing, alone(self._data), self._store.transaction():
            yield

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """The same with the live alerts as the database has them."""
        try:
            async with self._alone():
                await self._refresh()
                yield
        except BaseException:
            self._version = -1  # what was remembered may not have been stored
            raise

    async def _refresh(self) -> None:
        version = await self._store.version()
        if version != self._version:
            self._live = {}
            for alert in await self._store.live_alerts():
                self._remember(alert)
            self._version = version

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
        now = self._clock.now()  # what is ahead of it counts as older than all that is not
        observations.sort(key=lambda o: (not is_ahead(o.observed_at, now), o.observed_at, o.epoch, o.seq))
        async with self._turn():
            changes = await self._fold(observations, now)
        for change in changes:
            if change.tell:
                self._counts[change.tell] += 1
        self._delivery.start()

    async def _fold(self, observations: Sequence[Observation], now: datetime) -> list[Change]:
        stamps = await self._store.stamps({observation.endpoint for observation in observations})
        rows: dict[str, tuple[Any, ...]] = {}
        newest: dict[str, Observation] = {}
        changes: list[Change] = []
        for observation in observations:
            stamp = stamps.get(observation.endpoint)
            at = observation.observed_at.astimezone(UTC).isoformat(timespec="microseconds")
            if (
                stamp is not None
                and (at, observation.epoch, observation.seq) <= stamp[:3]
                and not is_ahead(datetime.fromisoformat(stamp.observed_at), now)
            ):
                continue  # redelivered or late: the newest has been evaluated already
            facts = facts_of(observation, stamp.facts if stamp else {})
            stamps[observation.endpoint] = Stamp(at, observation.epoch, observation.seq, facts)
            changes += self._evaluate(observation)
            rows[observation.endpoint] = self._row(observation, at, facts)
            newest[observation.endpoint] = observation
        await self._store.put_endpoints(list(rows.values()))
        await keep_refusals(self._store, newest.values())
        await self._store.put_changes(changes)
        await self._tell(changes)
        return changes

    def _evaluate(self, observation: Observation) -> list[Change]:
        self._seen.setdefault(observation.site, observation.observed_at)
        live = self._live.get(observation.endpoint, {})
        changes = evaluate(observation, live, self._rules, self._keys)
        # A rule that was taken out of the configuration ends with its alerts.
        changes += [gone(alert, observation) for alert in live.values() if alert.rule not in self._by_id]
        for change in changes:
            self._remember(change.alert)
            if change.dropped:
                self._live[observation.endpoint].pop(change.alert.key, None)
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

    async def _tell(self, changes: Sequence[Change]) -> None:
        """Into the outbox with it; what status rules say is held there until the round shows whose trouble it is."""
        now = self._clock.now()
        for change in changes:
            if change.tell:
                rule = self._by_id.get(change.alert.rule)
                waits = rule is not None and (not rule.collector or rule.field == SKEW)
                late = change.alert.last_at < now - ROUND  # what a spool held back: it may be over by now
                held = change.alert.site if waits or late else ""
                await self._store.add_notifications([notification(change, now)], self._channels, held=held)

    async def finish(self, faults: Sequence[Fault] = (), listed: Collection[str] = ()) -> dict[str, int]:
        """The round is over: tell whose trouble is whose, deliver; returns counts of firing, resolved.

        `faults` is what the poller found wrong with the site collector itself, `listed` are the ids of all endpoints
        that the configuration has now.
        """
        now = self._clock.now()
        counts = dict(self._counts)
        if self._seen:
            async with self._turn():
                for site, first in self._seen.items():
                    for change in await self._judge(site, min(first, now - ROUND), now, faults):
                        if change.tell:
                            counts[change.tell] += 1
                        elif change.alert.state == PENDING:
                            counts[FIRING] -= 1
                for change in await self._doubles(listed, now):
                    if change.tell:
                        counts[change.tell] += 1
                await self._store.keep_health(min(self._seen.values()), now)
        self._seen, self._counts = {}, {FIRING: 0, RESOLVED: 0}
        await self._delivery.settle()
        return {name: max(0, count) for name, count in counts.items()}

    async def _judge(self, site: str, since: datetime, now: datetime, faults: Sequence[Fault]) -> list[Change]:
        """Whose trouble it is: what is the site's or the collector's is one alert each, the rest is released."""
        counts = await self._store.outcomes(site, since)
        found = site_trouble.troubles(site, counts)
        found += self._clock_trouble(site, sum(counts.values()), faults)
        found = list({one.rule: one for one in reversed(found)}.values())
        await self._forget_undone(site)
        changes: list[Change] = []
        if found:
            concerned = await self._store.concerned(site, since)
            keys = {key for key, alert in self._of_site(site) if self._explained(alert, found, concerned)}
            held = await self._store.held(site)
            muted = {one.alerts[0].key for one in held if one.kind == FIRING and one.alerts[0].key in keys}
            await self._store.discard(one.id for one in held if one.kind == FIRING and one.alerts[0].key in muted)
            changes = self._muted(muted)
            await self._store.restate(_restated(concerned, found))
        await self._store.release(site)
        changes += self._site_changes(site, found, now)
        await self._keep(changes, now)
        return changes

    async def _doubles(self, listed: Collection[str], now: datetime) -> list[Change]:
        """One alert for each identity that several endpoints of the list report."""
        fleet = [one for one in await self._store.reported() if one.endpoint in listed]
        live = {key: alert for key, alert in self._live.get("", {}).items() if alert.rule == duplicates.RULE}
        changes = duplicates.changes(fleet, live, now)
        await self._keep(changes, now)
        return changes

    async def _keep(self, changes: Sequence[Change], now: datetime) -> None:
        """Changes that are decided: stored, remembered, put into the outbox."""
        await self._store.put_changes(changes)
        for change in changes:
            self._remember(change.alert)
        told = [notification(change, now) for change in changes if change.tell]
        await self._store.add_notifications(told, self._channels)

    async def _forget_undone(self, site: str) -> None:
        """Nobody is told of an alert that is over before anybody could hear of it."""
        for *fired, ended in lifecycle.undone(await self._store.held(site)):
            alert = ended.alerts[0]
            known = await self._store.told(f"{alert.key}@{moment(alert.first_at)}", ended.id)
            await self._store.discard(one.id for one in (fired if known else [*fired, ended]))

    def _of_site(self, site: str) -> Iterable[tuple[str, Alert]]:
        for endpoint, alerts in self._live.items():
            if endpoint:
                yield from ((key, alert) for key, alert in alerts.items() if alert.site == site)

    def _explained(self, alert: Alert, found: Sequence[Trouble], concerned: Mapping[str, tuple[str, str]]) -> bool:
        """Whether an endpoint's alert is only what a trouble of its site looks like there."""
        rule = self._by_id.get(alert.rule)
        if rule is None:
            return False
        if rule.collector:
            return rule.field == SKEW and any(one.rule == "collector_skew" for one in found)
        status, code = concerned.get(alert.endpoint, ("", ""))
        return any(site_trouble.explains(one, status, code) for one in found)

    def _clock_trouble(self, site: str, total: int, faults: Sequence[Fault]) -> list[Trouble]:
        """A clock that most endpoints disagree with is ours; and one that jumped while a round ran."""
        apart = {
            alert.endpoint
            for _, alert in self._of_site(site)
            if (rule := self._by_id.get(alert.rule)) is not None and rule.field == SKEW
        }
        found = [
            Trouble(f"collector_{fault.code.partition('.')[2]}", frozenset({fault.code}), "COLLECTOR_FAULT", text, 0)
            for fault in faults
            if (text := f"site {site}: {fault.message}")
        ]
        if total >= site_trouble.LEAST and len(apart) > total / 2:
            text = f"site {site}: {len(apart)} of {total} clocks differ from the collector's: is its own right?"
            found.append(Trouble("collector_skew", frozenset({"collector.skew"}), "COLLECTOR_FAULT", text, len(apart)))
        return found

    def _muted(self, keys: Iterable[str]) -> list[Change]:
        """Endpoints' alerts that are their site's trouble: they wait, and fire only if the endpoint stays behind."""
        live = (self._live.get(key.split("|", 2)[1], {}).get(key) for key in sorted(keys))
        return [Change(msgspec.structs.replace(alert, state=PENDING)) for alert in live if alert is not None]

    def _site_changes(self, site: str, found: Sequence[Trouble], now: datetime) -> list[Change]:
        changes = []
        known = {alert.rule: alert for alert in self._live.get("", {}).values() if alert.site == site}
        for one in found:
            before = known.pop(one.rule, None)
            alert = site_trouble.site_alert(one.rule, site, one.summary, one.concerned, now, before)
            changes.append(Change(alert, "" if before else FIRING))
        for alert in known.values():
            ended = msgspec.structs.replace(alert, state=RESOLVED, resolved_at=now, last_at=now)
            changes.append(Change(ended, RESOLVED))
        return changes


def _restated(concerned: Mapping[str, tuple[str, str]], found: Sequence[Trouble]) -> list[tuple[str, str]]:
    """(status, endpoint) of those whose fault is a trouble of their site."""
    return [
        (one.status, endpoint)
        for endpoint, (status, code) in concerned.items()
        for one in found
        if code and site_trouble.explains(one, status, code)
    ]
