"""What rules say of observations: those that are the newest of their endpoint, those that come late, and silence."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta

import msgspec

from rmm.core.alerting.late import Settled, episodes, reduced, settled, unpacked
from rmm.core.alerting.lifecycle import FIRING, Change, absences, evaluate, gone
from rmm.core.measures import Context, slot_of
from rmm.core.peers import Peers
from rmm.core.rulebook import Rulebook, RuleSet
from rmm.model.observation import Observation
from rmm.model.rule import FLEET, Alert, Rule
from rmm.tiers.fleet_sqlite import FleetStore
from rmm.tiers.fleet_sqlite.remembered import Memory, Remembered

log = logging.getLogger(__name__)

OLD = timedelta(minutes=15)  # what is observed earlier than that before it arrives is late
SEEN = "@seen"  # slot of the newest evaluated observations, as microseconds: what is delivered again is not late
MOST_SEEN = 64  # per endpoint
MOST_LATE = 4096  # observations that are kept per endpoint
MOST_REPLAYED = 20_000  # in one round; the rest waits for the next
SOON, SILENT = timedelta(minutes=1), timedelta(minutes=15)  # nobody is looked at before, everybody after that
AT_ONCE = 256  # silent endpoints whose memories are held together
KEEP_LATE = timedelta(days=2)  # after its arrival: so long a time line may still be completed

Live = Mapping[str, Mapping[str, Alert]]  # endpoint -> key -> alert


class Evaluation:
    """Of one coordinator; what it remembers is written in the transaction of the fold (`keep`).

    Between folds the database alone has it: windows of a whole fleet are no small thing to hold, and grow for a day.
    """

    def __init__(self, rules: Rulebook | Sequence[Rule], keys: Mapping[str, Sequence[str]], store: FleetStore) -> None:
        self.book = rules if isinstance(rules, Rulebook) else Rulebook(rules)
        self._slots = {SEEN, *map(slot_of, self.book.rules.values())}
        self._keys = keys
        self._fleet = store
        self._store = Remembered(store)
        self._memories: dict[str, Memory] = {}  # of those that are looked at, from `load` to `keep`
        self._changed: set[str] = set()
        self._late: list[tuple[Observation, bytes]] = []
        self._peers: dict[tuple[str, str], Peers] | None = None

    def forget(self) -> None:
        """Somebody else has written, or nobody has: what is remembered is read again."""
        self._memories, self._peers, self._late = {}, None, []
        self._changed.clear()

    async def load(self, observations: Sequence[Observation]) -> None:
        """Make ready for these observations."""
        if self.book.compares and self._peers is None:
            self._peers = self._fill(await self._store.all())
        wanted = {one.endpoint for one in observations} - self._memories.keys()
        if wanted:
            found = await self._store.of(wanted)
            for name in wanted:  # what rules remembered that are no more is dropped
                self._memories[name] = {slot: kept for slot, kept in found.get(name, {}).items() if slot in self._slots}

    def _fill(self, memories: Mapping[str, Memory]) -> dict[tuple[str, str], Peers]:
        """The peers as the last process left them."""
        peers: dict[tuple[str, str], Peers] = {}
        rules = [rule for rule in self.book.rules.values() if rule.measure == FLEET]
        for endpoint, memory in memories.items():
            groups = self.book.groups(self.book.place(endpoint))
            for rule in rules:
                for row, (at, value) in memory.get(slot_of(rule), {}).items():
                    group = rule.id, groups.get(rule.peers, "")
                    peers.setdefault(group, Peers(rule.window_s)).put((endpoint, row), at, value)
        return peers

    def rules_of(self, observation: Observation, os: str) -> RuleSet:
        """The rules of its endpoint, of which `os` is the caption of the system."""
        return self.book.of(observation.endpoint, observation.name, observation.site, os)

    def changes(self, observation: Observation, live: Mapping[str, Alert], os: str, now: datetime) -> list[Change]:
        """What the newest observation of an endpoint changes. `load` comes first."""
        rules = self.rules_of(observation, os)
        context = self._context(observation, os)
        changes = evaluate(observation, live, rules.compiled, self._keys, context, rules.between)
        # A rule that was taken out of the configuration, or disabled here, ends with its alerts.
        changes += [_without_rule(alert, observation) for alert in live.values() if alert.rule not in rules.rules]
        self._note(observation, context)
        if observation.observed_at < now - OLD:
            return [_marked(change) for change in changes]
        return changes

    def _context(self, observation: Observation, os: str) -> Context:
        at, book = observation.observed_at.timestamp(), self.book
        memory = self._memories.setdefault(observation.endpoint, {})
        if not book.remembers:
            return Context(observation.endpoint, at, memory, set())
        place = book.place(observation.endpoint, observation.name, observation.site, os)
        facts = book.facts(observation.endpoint, observation.name, observation.site)
        return Context(observation.endpoint, at, memory, set(), self._peers, book.groups(place), facts)

    def _note(self, observation: Observation, context: Context) -> None:
        seen = context.memory.setdefault(SEEN, [])
        seen.append(_micros(observation))
        del seen[:-MOST_SEEN]
        self._changed.add(observation.endpoint)

    def late(self, observation: Observation, os: str) -> None:
        """An observation that is older than the newest of its endpoint."""
        if _micros(observation) not in self._memories.get(observation.endpoint, {}).get(SEEN, ()):
            self._late.append((observation, reduced(observation, self.rules_of(observation, os), self._keys)))

    async def keep(self, now: datetime) -> None:
        """Write what has changed."""
        await self._store.put({name: self._memories[name] for name in self._changed})
        self._memories = {}
        self._changed.clear()
        await self._store.add_late(self._late, now)
        self._late = []

    async def settle(self, live: Live, now: datetime) -> tuple[list[Settled], list[Alert]]:
        """Evaluate what came late; returns what was found, which is written, and live alerts that began earlier."""
        written: list[Settled] = []
        earlier: list[Alert] = []
        left = MOST_REPLAYED
        for endpoint, count in await self._store.late_endpoints(MOST_REPLAYED):
            if count > left and left < MOST_REPLAYED:
                break
            left -= count
            found = [one for body in await self._store.late_of(endpoint) if (one := _read(body)) is not None]
            await self._store.late_evaluated(endpoint, MOST_LATE)
            if not found:
                continue
            stamp = (await self._fleet.stamps([endpoint])).get(endpoint)
            rules = self.rules_of(found[-1], str(stamp.facts.get("os") or "") if stamp else "")
            ended = await self._store.ended_since(endpoint, found[0].observed_at - KEEP_LATE)
            since, own = found[0].observed_at, live.get(endpoint, {})
            over, began = settled(episodes(found, rules, self._keys), since, ended, own)
            written += over
            earlier += began
        await self._store.settle(written)
        await self._store.forget_late(now - KEEP_LATE)
        return written, earlier

    async def silences(self, live: Live, listed: Collection[str], now: datetime) -> list[Change]:
        """What rules of absence say of endpoints that were not observed lately, as of now.

        This is asked every few seconds, in the writer's turn, so what is between two polls is not looked at: of an
        endpoint that is silent for less than the lowest threshold only what was missing before can be told, and that
        is told by the next poll, or SILENT after the last one.
        """
        soonest = self.book.soonest
        if soonest is None:
            return []
        since = now - min(max(timedelta(seconds=soonest), SOON), SILENT)
        silent = await self._store.silent(since)
        seen = [(_nothing(*row[:3], now), row[3]) for row in silent if row[0] in listed]
        seen = [(one, os) for one, os in seen if self.rules_of(one, os).absence]
        changes: list[Change] = []
        for first in range(0, len(seen), AT_ONCE):
            changes += await self._missing(seen[first : first + AT_ONCE], live)
        return changes

    async def _missing(self, seen: Sequence[tuple[Observation, str]], live: Live) -> list[Change]:
        """The same of these endpoints; of their memories those stay loaded that have changed."""
        await self.load([one for one, _ in seen])
        changes: list[Change] = []
        for one, os in seen:
            rules = self.rules_of(one, os)
            own = {
                name: [each for each in rules.absence if each.rule.collector == name]
                for name in {each.rule.collector for each in rules.absence}
            }
            context = self._context(one, os)
            changes += absences(one, live.get(one.endpoint, {}), own, self._keys, context)
            if context.changed:
                self._changed.add(one.endpoint)
            elif one.endpoint not in self._changed:
                del self._memories[one.endpoint]
        return changes


def _without_rule(alert: Alert, observation: Observation) -> Change:
    change = gone(alert, observation)
    return change._replace(alert=msgspec.structs.replace(change.alert, ended="its rule is gone"))


def _marked(change: Change) -> Change:
    if change.tell != FIRING:
        return change
    return change._replace(alert=msgspec.structs.replace(change.alert, late=True))


def _micros(observation: Observation) -> int:
    return round(observation.observed_at.timestamp() * 1_000_000)


def _read(body: bytes) -> Observation | None:
    try:
        return unpacked(body)
    except ValueError as error:
        log.warning("%s; it is left out", error)
        return None


def _nothing(endpoint: str, name: str, site: str, now: datetime) -> Observation:
    """What is observed of an endpoint that nobody has polled."""
    return Observation(
        endpoint=endpoint, name=name, site=site, shard=0, observed_at=now, duration_s=0.0, status="", fault=None,
        collectors={}, epoch="", seq=0,
    )  # fmt: skip
