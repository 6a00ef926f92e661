"""What the fleet's database keeps of escalation: courses of alerts, steps taken, overrides of on-call rotas."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from datetime import UTC, datetime
from typing import Any

import msgspec

from rmm.core.alerting.incidents import MOST_TOLD
from rmm.model.escalation import Course, Override, Taken
from rmm.model.rule import Alert
from rmm.tiers.fleet_sqlite.database import Row
from rmm.tiers.fleet_sqlite.reader import FleetFile
from rmm.tiers.fleet_sqlite.writer import FleetStore

SCHEMA = 7  # the first that has these tables

_encode = msgspec.json.Encoder().encode
_alert = msgspec.json.Decoder(Alert).decode
_course = msgspec.json.Decoder(Course).decode
_taken = msgspec.json.Decoder(Taken).decode
_override = msgspec.json.Decoder(Override).decode


class EscalationStore:
    """Statements of escalation on the coordinator's store; each call inside its `transaction`."""

    def __init__(self, store: FleetStore) -> None:
        self._store = store

    async def begin(self, courses: Iterable[Course]) -> None:
        """New courses; where there is one of its identity, that stays as it is."""
        rows = [(*_identity(one), _instant(one.fired_at), _text_of(one.due_at), _text(one)) for one in courses]
        await self._store.run("begin_course", rows)

    async def put(self, courses: Iterable[Course]) -> None:
        """What became of courses."""
        rows = []
        for one in courses:
            times = _instant(one.fired_at), _text_of(one.due_at), one.ended, _text_of(one.closed_at)
            rows.append((*times, _text(one), *_identity(one)))
        await self._store.run("put_course", rows)

    async def to_see(self, now: datetime, most: int) -> list[Course]:
        """Courses with something to do: a step is due, what they are about is over, or the clock was set back."""
        return await self._store.rows("courses_to_see", lambda row: _course(row[0]), _instant(now), most)

    async def open_of(self, subjects: Iterable[str]) -> list[Course]:
        """The courses of these incidents or alerts (`Course.key`) that are not closed."""
        return await self._store.rows("open_courses_of", lambda row: _course(row[0]), list(subjects))

    async def soonest(self) -> datetime | None:
        """When the next step of any course is."""
        (found,) = await self._store.rows("soonest_course", lambda row: row[0])
        return datetime.fromisoformat(found) if found else None

    async def live(self, subjects: Collection[str]) -> dict[str, list[Alert]]:
        """Live alerts of these incidents or keys, by which of them they are of."""
        found: dict[str, list[Alert]] = {}
        for alert in await self._store.rows("live_of", lambda row: _alert(row[0]), list(subjects)):
            for subject in (alert.incident, alert.key):
                if subject in subjects:
                    found.setdefault(subject, []).append(alert)
        return found

    async def still_open(self, subjects: Iterable[str]) -> set[str]:
        """Those of them that are open incidents."""
        return set(await self._store.rows("still_open", lambda row: str(row[0]), list(subjects)))

    async def ended(self, course: Course) -> list[Alert]:
        """The alerts of a course that is over, the newest of each key; none where they are not known any more."""
        newest: dict[str, Alert] = {}
        for alert in await self._store.rows("ended_alerts", lambda row: _alert(row[0]), course.key, 2 * MOST_TOLD):
            if alert.key != course.key or alert.first_at <= course.first_at:
                newest.setdefault(alert.key, alert)
        return [newest[key] for key in sorted(newest)]

    async def forget(self, before: datetime) -> None:
        """Delete courses that were closed before then, with their steps."""
        for statement in ("forget_steps", "forget_courses"):
            await self._store.run(statement, [(_instant(before),)])

    async def take(self, steps: Iterable[Taken]) -> None:
        """Steps are taken: once each, whatever is said twice."""
        rows = [(*_identity(one), one.repeat, one.step, _text(one)) for one in steps]
        await self._store.run("add_step", rows)

    async def steps_of(self, keys: Iterable[str]) -> dict[tuple[str, datetime, str], set[tuple[int, int]]]:
        """(key, first_at, policy) -> (repeat, step) of what was taken, for courses' keys."""
        found: dict[tuple[str, datetime, str], set[tuple[int, int]]] = {}
        for one in await self._store.rows("steps_of", lambda row: _taken(row[0]), list(keys)):
            found.setdefault((one.key, one.first_at, one.policy), set()).add((one.repeat, one.step))
        return found

    async def steps(self, course: Course) -> list[Taken]:
        """The steps of a course that were taken."""
        return await self._store.rows("steps", lambda row: _taken(row[0]), *_identity(course))

    async def overrides(self, since: datetime) -> list[Override]:
        """Overrides that end after then and were not removed."""
        found = await self._store.rows("overrides", _numbered, _instant(since))
        return [one for one in found if one.removed_at is None]

    async def add_override(self, override: Override) -> int:
        """Keep an override; returns its number."""
        row = (override.rota, _instant(override.until), _text(override))
        (number,) = await self._store.rows("add_override", lambda found: int(found[0]), *row)
        return number

    async def remove_override(self, override: Override) -> None:
        """Keep that it was removed."""
        await self._store.run("put_override", [(_text(override), override.number)])


class EscalationFile:
    """The same, read-only, for commands."""

    def __init__(self, file: FleetFile) -> None:
        self._file = file

    def overrides(self, since: datetime, *, removed: bool = False) -> list[Override]:
        """Overrides that end after then; with `removed` those that were taken back as well."""
        found = self._ask("overrides", _numbered, _instant(since))
        return [one for one in found if removed or one.removed_at is None]

    def courses(self, key: str = "", most: int = 1000) -> list[Course]:
        """Courses, of one incident (or alert's key) or of all, newest first."""
        return self._ask("courses_of", lambda row: _course(row[0]), key, most)

    def steps(self, course: Course) -> list[Taken]:
        """The steps of a course that were taken."""
        return self._ask("steps", lambda row: _taken(row[0]), *_identity(course))

    def _ask(self, statement: str, read: Callable[[Row], Any], *arguments: Any) -> list[Any]:
        return self._file.ask(statement, read, *arguments, schema=SCHEMA)


def _numbered(row: Any) -> Override:
    return msgspec.structs.replace(_override(row[1]), number=int(row[0]))


def _identity(one: Course | Taken) -> tuple[str, str, str]:
    return one.key, _instant(one.first_at), one.policy


def _text(one: msgspec.Struct) -> str:
    return _encode(one).decode()


def _text_of(at: datetime | None) -> str:
    return _instant(at) if at is not None else ""


def _instant(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds")
