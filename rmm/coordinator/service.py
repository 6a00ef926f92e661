"""The coordinator: folds batches of observations, each in one transaction, and delivers what follows from them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import msgspec

from rmm.coordinator.delivery import Delivery, Turns
from rmm.coordinator.delivery import notification as notification_of
from rmm.coordinator.escalation import Setup
from rmm.coordinator.evaluation import OLD, Evaluation
from rmm.coordinator.facts import facts_of, uptime_of
from rmm.coordinator.keeping import grow_old, keep, stored, take_acts
from rmm.coordinator.quarantine import keep_refusals
from rmm.core import duplicates
from rmm.core.alerting import site as site_trouble
from rmm.core.alerting.desk import Desk
from rmm.core.alerting.lifecycle import FIRING, PENDING, RESOLVED, Change
from rmm.core.alerting.mute import Context
from rmm.core.alerting.site import Trouble
from rmm.core.clock import is_ahead
from rmm.core.health import health
from rmm.core.rulebook import Rulebook
from rmm.model.alerting import AlertSettings
from rmm.model.observation import Fault, Observation, decode_observation
from rmm.model.routing import Routing
from rmm.model.rule import Alert, Rule
from rmm.ports import Channel, Clock
from rmm.tiers.fleet_sqlite import FleetStore, Place, Stamp, place_of, retried

log = logging.getLogger(__name__)

ROUND = timedelta(minutes=15)  # how old a status may be to speak for its site
SKEW = "clock_skew_s"  # the field whose alerts may be the collector's own clock

NO_ROUTES = Routing()  # everything to every channel
Within = Callable[[FleetStore], Awaitable[None]]  # what is written in the same transaction
Folded = Callable[[Collection[str], Collection[str]], None]
"""Told after each fold: the ids of its observations, and those of them with which an alert began or ended."""
_encode = msgspec.json.Encoder().encode


class Coordinator:
    """One per process; several processes take turns by a lock that is held for the length of a fold."""

    def __init__(
        self, data: Path, place: Place, store: FleetStore, rules: Sequence[Rule] | Rulebook,
        keys: dict[str, tuple[str, ...]], channels: Sequence[Channel], clock: Clock, settings: AlertSettings,
        context: Context, routing: Routing, escalation: Setup | None = None,
    ) -> None:  # fmt: skip
        self._place = place
        self._store = store
        self._evaluation = Evaluation(rules, keys, store)
        self._by_id = self._evaluation.book.rules
        self._clock = clock
        self._settings = settings
        self._desk = Desk(settings, context, self._by_id, _waits)
        self._seen: dict[str, datetime] = {}  # site of this round -> its first observation
        self._version = -1  # of the database when the desk was given what it has
        self._counts = {FIRING: 0, RESOLVED: 0}
        self.on_folded: Folded = lambda _ids, _alerted: None
        self._writing = asyncio.Lock()  # one transaction at a time on the one connection
        by_name = {channel.name: channel for channel in channels}
        self.delivery = Delivery(data, store, by_name, routing, clock, self._turns(), self._desk.muted, escalation)

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        data: Path,
        *,
        rules: Sequence[Rule] | Rulebook,
        keys: dict[str, tuple[str, ...]],
        channels: Sequence[Channel],
        clock: Clock,
        settings: AlertSettings | None = None,
        context: Context | None = None,
        routing: Routing = NO_ROUTES,
        escalation: Setup | None = None,
        place: Place | None = None,
    ) -> AsyncIterator[Self]:
        """With its database, which is at `place` or a file of the data folder; `keys` is collector name -> key fields.

        What an earlier run left undelivered is sent.
        """
        where = place_of(place or data)
        async with FleetStore.open(where) as store:
            coordinator = cls(
                data, where, store, rules, keys, channels, clock, settings or AlertSettings(), context or Context(),
                routing, escalation,
            )  # fmt: skip
            try:
                yield coordinator
            finally:
                await coordinator.delivery.stop()

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        """A transaction, alone among processes."""
        async with self._writing, self._place.alone(), self._store.transaction():
            yield

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """The same with the alerts and all that is about them as the database has them."""
        try:
            async with self._alone():
                await self._refresh()
                yield
        except BaseException:
            self._version = -1  # what was remembered may not have been stored
            self._evaluation.forget()
            raise

    def _turns(self) -> Turns:
        return Turns(self._writing, self._alone, self._turn)

    async def _refresh(self) -> None:
        version = await self._store.version()
        if version != self._version:
            self._evaluation.forget()
            self._desk.load(await stored(self._store, self._clock.now()))
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
        await self.take(observations)

    @retried
    async def take(self, observations: Iterable[Observation], within: Within | None = None) -> None:
        """`fold` for observations that are decoded; `within` adds to the transaction. Raises TierError as it does."""
        now = self._clock.now()  # what is ahead of it counts as older than all that is not
        ordered = sorted(observations, key=lambda o: (not is_ahead(o.observed_at, now), o.observed_at, o.epoch, o.seq))
        async with self._turn():
            changes = await self._fold(ordered, now)
            if within is not None:
                await within(self._store)
        for change in changes:
            if change.tell:
                self._counts[change.tell] += 1
        concerned = {change.alert.endpoint for change in changes if change.tell or change.alert.state == RESOLVED}
        self.on_folded([one.id for one in ordered], {one.id for one in ordered if one.endpoint in concerned})
        self.delivery.start()

    async def _fold(self, observations: Sequence[Observation], now: datetime) -> list[Change]:
        stamps = await self._store.stamps({observation.endpoint for observation in observations})
        await self._evaluation.load(observations)
        rows: dict[str, tuple[Any, ...]] = {}
        newest: dict[str, Observation] = {}
        changes: list[Change] = []
        apart = _apart(observations)
        for observation in observations:
            stamp = stamps.get(observation.endpoint)
            at = observation.observed_at.astimezone(UTC).isoformat(timespec="microseconds")
            if (
                stamp is not None
                and (at, observation.epoch, observation.seq) <= stamp[:3]
                and not is_ahead(datetime.fromisoformat(stamp.observed_at), now)
            ):
                if (at, observation.epoch, observation.seq) != stamp[:3]:  # not the newest once more
                    self._evaluation.late(observation, _system(stamp.facts))
                continue
            facts = facts_of(observation, stamp.facts if stamp else {})
            stamps[observation.endpoint] = Stamp(at, observation.epoch, observation.seq, facts)
            if observation.id in apart:
                self._evaluation.late(observation, _system(facts))
            changes += self._evaluate(observation, _system(facts), now)
            rows[observation.endpoint] = self._row(observation, at, facts)
            newest[observation.endpoint] = observation
        await self._store.put_endpoints(list(rows.values()))
        await keep_refusals(self._store, newest.values())
        await self._store.put_changes(changes)
        await self._evaluation.keep(now)
        self._desk.reconcile(now)
        await keep(self._store, self._desk, now)
        return changes

    def _evaluate(self, observation: Observation, system: str, now: datetime) -> list[Change]:
        self._seen.setdefault(observation.site, observation.observed_at)
        if (uptime := uptime_of(observation)) is not None:
            self._desk.started(observation.endpoint, observation.observed_at, uptime)
        live = self._desk.live.get(observation.endpoint, {})
        changes = self._evaluation.changes(observation, live, system, now)
        return [self._desk.take(change, now) for change in changes]

    def _row(self, observation: Observation, at: str, facts: dict[str, Any]) -> tuple[Any, ...]:
        firing = [alert for alert in self._desk.live.get(observation.endpoint, {}).values() if alert.state != PENDING]
        rules = self._evaluation.rules_of(observation, _system(facts)).rules
        score, word, reasons = health(observation.status, firing, rules)
        fault = observation.fault
        return (
            *(observation.endpoint, observation.name, observation.site, observation.shard, observation.status),
            *((fault.code, fault.hint, fault.message) if fault else ("", "", "")),
            *(at, observation.epoch, observation.seq, observation.duration_s, score, word),
            *(_encode(reasons).decode(), _encode(facts).decode()),
        )

    async def alerts(self) -> list[Alert]:
        """All live alerts."""
        async with self._writing:
            return await self._store.live_alerts()

    @retried
    async def change(
        self, decide: Callable[[Mapping[str, Alert]], Iterable[Change]], within: Within | None = None
    ) -> None:
        """Changes of alerts of no endpoint; `decide` is given those that live, by key. Durable on return.

        `within`, called after it, adds to the transaction.
        """
        now = self._clock.now()
        async with self._turn():
            await self._keep(decide(self._desk.live.get("", {})), now)
            if within is not None:
                await within(self._store)
            self._desk.reconcile(now)
            await keep(self._store, self._desk, now)
        self.delivery.start()

    @retried
    async def finish(self, faults: Sequence[Fault] = (), listed: Collection[str] = ()) -> dict[str, int]:
        """The round is over: tell whose trouble is whose, what time has made of alerts, and deliver.

        Returns counts of firing, resolved. `faults` is what the poller found wrong with the site collector itself,
        `listed` are the ids of all endpoints that the configuration has now.
        """
        now = self._clock.now()
        counts = dict(self._counts)
        async with self._turn():
            changes = await self._overdue(listed, now)
            for site, first in self._seen.items():
                changes += await self._judge(site, min(first, now - ROUND), now, faults)
            if self._seen:
                changes += await self._doubles(listed, now)
                await self._store.keep_health(min(self._seen.values()), now)
            changes += self._desk.look_again(now, self._seen.keys(), listed)
            await take_acts(self._store, self._desk)
            self._desk.reconcile(now)
            self._desk.remind(now)
            await keep(self._store, self._desk, now)
            await grow_old(self._store, self._settings, now)
        for change in changes:
            if change.tell:
                counts[change.tell] += 1
            elif change.alert.state == PENDING and not change.dropped and change.alert.endpoint:
                counts[FIRING] -= 1
        self._seen, self._counts = {}, {FIRING: 0, RESOLVED: 0}
        await self.delivery.settle()
        return {name: max(0, count) for name, count in counts.items()}

    async def _overdue(self, listed: Collection[str], now: datetime) -> list[Change]:
        """What came late, and what did not come at all."""
        settled, earlier = await self._evaluation.settle(self._desk.live, now)
        if settled:
            self._version = -1  # they were written beside the desk
        # Only told: what is over has been written by who found it, and is not live.
        over = [Change(one.alert, FIRING) for one in settled if one.tell and self._desk.tells(one.alert, now)]
        await self._store.add_notifications([notification_of(change, now) for change in over])
        await self._keep(map(Change, earlier), now)
        # Of a site whose round this is not, nothing else will show whose trouble it is.
        silent = await self._evaluation.silences(self._desk.live, listed, now)
        found = [self._desk.take(one, now, judged=one.alert.site not in self._seen) for one in silent]
        await self._store.put_changes(found)
        await self._evaluation.keep(now)
        return [*over, *found]

    async def _judge(self, site: str, since: datetime, now: datetime, faults: Sequence[Fault]) -> list[Change]:
        """Whose trouble it is: what is the site's or the collector's is one alert each, the rest the endpoints'."""
        counts = await self._store.outcomes(site, since)
        found = site_trouble.troubles(site, counts)
        found += self._clock_trouble(site, sum(counts.values()), faults)
        found = list({one.rule: one for one in reversed(found)}.values())
        changes: list[Change] = []
        if found:
            concerned = await self._store.concerned(site, since)
            for alert in self._desk.waiting(site):
                trouble = self._explains(alert, found, concerned)
                if trouble is not None:
                    changes.append(self._desk.set_aside(alert, f"{trouble.rule}||{site}", trouble.summary, now))
            await self._store.restate(_restated(concerned, found))
        return changes + await self._keep(self._site_changes(site, found, now), now)

    async def _doubles(self, listed: Collection[str], now: datetime) -> list[Change]:
        """One alert for each identity that several endpoints of the list report."""
        fleet = [one for one in await self._store.reported() if one.endpoint in listed]
        live = {key: alert for key, alert in self._desk.live.get("", {}).items() if alert.rule == duplicates.RULE}
        return await self._keep(duplicates.changes(fleet, live, now), now)

    async def _keep(self, changes: Iterable[Change], now: datetime) -> list[Change]:
        """Changes that are decided: remembered, stored."""
        taken = [self._desk.take(change, now) for change in changes]
        await self._store.put_changes(taken)
        return taken

    def _of_site(self, site: str) -> Iterable[tuple[str, Alert]]:
        for endpoint, alerts in self._desk.live.items():
            if endpoint:
                yield from ((key, alert) for key, alert in alerts.items() if alert.site == site)

    def _explains(
        self, alert: Alert, found: Sequence[Trouble], concerned: Mapping[str, tuple[str, str]]
    ) -> Trouble | None:
        """The trouble of its site that an endpoint's alert only is what it looks like there."""
        rule = self._by_id.get(alert.rule)
        if rule is None:
            return None
        if rule.collector:
            return next((one for one in found if rule.field == SKEW and one.rule == "collector_skew"), None)
        status, code = concerned.get(alert.endpoint, ("", ""))
        return next((one for one in found if site_trouble.explains(one, status, code)), None)

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

    def _site_changes(self, site: str, found: Sequence[Trouble], now: datetime) -> list[Change]:
        changes = []
        live = self._desk.live.get("", {}).values()
        known = {alert.rule: alert for alert in live if alert.site == site and alert.rule not in site_trouble.WATCHED}
        for one in found:
            before = known.pop(one.rule, None)
            alert = site_trouble.site_alert(one.rule, site, one.summary, one.concerned, now, before)
            changes.append(Change(alert, "" if before else FIRING))
        for alert in known.values():
            if site_trouble.is_ours(alert):
                continue
            ended = msgspec.structs.replace(alert, state=RESOLVED, resolved_at=now, last_at=now)
            changes.append(Change(ended, RESOLVED))
        return changes


def _apart(observations: Sequence[Observation]) -> set[str]:
    """Ids of those after which there is a gap in what is here of their endpoint: what fills it comes later still.

    So a site catches up, with the newest first. They belong to the time line of what is late as well, or it would lack
    what begins it.
    """
    newer: dict[str, datetime] = {}
    behind: set[str] = set()  # endpoints of which a gap has been passed
    found = set()
    for one in reversed(observations):
        if newer.get(one.endpoint, one.observed_at) - one.observed_at > OLD:
            behind.add(one.endpoint)
        if one.endpoint in behind:
            found.add(one.id)
        newer[one.endpoint] = one.observed_at
    return found


def _system(facts: Mapping[str, Any]) -> str:
    """The caption of an endpoint's system; empty while it is not known."""
    return str(facts.get("os") or "")


def _waits(rule: Rule) -> bool:
    """Whether the end of the round shows whose trouble it is."""
    return not rule.collector or rule.field == SKEW


def _restated(
    concerned: Mapping[str, tuple[str, str]], found: Sequence[Trouble]
) -> list[tuple[str, int, str, str, str]]:
    """`FleetStore.restate`'s rows of the endpoints whose fault is a trouble of their site."""
    rows = []
    for endpoint, (status, code) in concerned.items():
        for one in found:
            if code and site_trouble.explains(one, status, code):
                score, word, reasons = health(one.status, (), {})
                rows.append((one.status, score, word, _encode(reasons).decode(), endpoint))
    return rows
