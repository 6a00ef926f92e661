"""What the coordinator asks of the fleet's database and writes into it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec

from rmm.core.alerting.lifecycle import LIVE, Change
from rmm.core.duplicates import Reported
from rmm.model.identity import Acceptance, Refusal
from rmm.model.incident import Act, Flap, Incident, Silence, Suppressed
from rmm.model.rule import Alert, Notification
from rmm.tiers.fleet_sqlite.database import Database, Place, place_of
from rmm.tiers.fleet_sqlite.outbox import Outbox

HEALTH_DAYS = 120  # for how long the health of a day is kept: the longest report's 90 days, and some
T = TypeVar("T")

_encode = msgspec.json.Encoder().encode
_alert = msgspec.json.Decoder(Alert).decode
_notification = msgspec.json.Decoder(Notification).decode
_refusal = msgspec.json.Decoder(Refusal).decode
_incident = msgspec.json.Decoder(Incident).decode
_silence = msgspec.json.Decoder(Silence).decode
_act = msgspec.json.Decoder(Act).decode
_flap = msgspec.json.Decoder(Flap).decode


class Stamp(NamedTuple):
    """What is stored of an endpoint already: its newest observation, and its facts."""

    observed_at: str
    epoch: str
    seq: int
    facts: dict[str, Any]


class FleetStore:
    """Statements of the coordinator; each call inside `transaction`."""

    def __init__(self, database: Database) -> None:
        self._db = database

    @classmethod
    @asynccontextmanager
    async def open(cls, where: Path | Place) -> AsyncIterator[FleetStore]:
        """The store at a place, or in the file of a data folder, migrated; closed at the end."""
        async with place_of(where).open() as database:
            yield cls(database)

    def transaction(self) -> AbstractAsyncContextManager[None]:
        """All or nothing; durable on leaving, and for the holder of `alone`. Raises TierError."""
        return self._db.transaction()

    async def run(self, statement: str, arguments: Iterable[Sequence[Any]]) -> None:
        """A named statement, once for each of these arguments."""
        await self._db.executemany(statement, arguments)

    async def rows(self, statement: str, read: Callable[[Any], T], *arguments: Any) -> list[T]:
        """The rows of a statement, each as `read` gives it."""
        found = await self._db.fetch(statement, arguments)
        try:
            return [read(row) for row in found]
        except (msgspec.DecodeError, ValueError, TypeError) as error:  # what is read does not decode
            raise self._db.failed(error) from error

    async def stamps(self, endpoints: Iterable[str]) -> dict[str, Stamp]:
        """What is known of these endpoints."""
        wanted = list(endpoints)
        return dict(
            await self.rows("stamps", lambda row: (row[0], Stamp(row[1], row[2], row[3], json.loads(row[4]))), wanted)
        )

    async def live_alerts(self) -> list[Alert]:
        """All alerts that are not resolved."""
        return await self.rows("live_alerts", lambda row: _alert(row[0]))

    async def put_endpoints(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """Replace endpoint rows, in the column order of the table."""
        await self._db.executemany("put_endpoint", rows)

    async def put_changes(self, changes: Iterable[Change]) -> None:
        """Write what became of alerts, in their order."""
        for statement, rows in groupby(map(_written, changes), key=itemgetter(0)):
            await self._db.executemany(statement, [row for _, row in rows])

    async def version(self) -> int:
        """Changes when another connection has committed something."""
        return await self._db.version()

    async def outcomes(self, site: str, since: datetime) -> dict[tuple[str, str], int]:
        """(status, fault code) -> count of a site's endpoints that were observed since then."""
        return dict(await self.rows("outcomes", lambda row: ((row[0], row[1]), row[2]), site, _instant(since)))

    async def concerned(self, site: str, since: datetime) -> dict[str, tuple[str, str]]:
        """Endpoint -> (status, fault code) of those with a fault since then."""
        return dict(await self.rows("concerned", lambda row: (row[0], (row[1], row[2])), site, _instant(since)))

    async def reported(self) -> list[Reported]:
        """What the machine of each endpoint last said of itself."""
        return await self.rows("reported", lambda row: Reported(*map(str, row)))

    async def put_refusal(self, endpoint: str, at: datetime, refusal: Refusal) -> None:
        """Another machine answered for this endpoint; since when it is so, is kept."""
        await self._db.execute("put_refusal", (endpoint, _instant(at), _encode(refusal).decode()))

    async def end_refusals(self, endpoints: Iterable[str]) -> None:
        """The right machines have answered."""
        await self._db.executemany("end_refusal", [(name,) for name in endpoints])

    async def refusals(self) -> dict[str, Refusal]:
        """By endpoint, what the newest refusal saw."""
        return dict(await self.rows("refusals", lambda row: (row[0], _refusal(row[3]))))

    async def add_acceptances(self, accepted: Iterable[Acceptance]) -> None:
        """Append to what was accepted."""
        rows = [(one.endpoint, _instant(one.at), _encode(one).decode()) for one in accepted]
        await self._db.executemany("add_acceptance", rows)

    async def keep_health(self, since: datetime, until: datetime) -> None:
        """Keep what was observed in this time as the health of its days, and forget old days."""
        await self._db.execute("keep_health", (_instant(since), _instant(until)))
        await self._db.execute("forget_health", ((until - timedelta(days=HEALTH_DAYS)).date().isoformat(),))

    async def restate(self, rows: Iterable[tuple[str, int, str, str, str]]) -> None:
        """(status, score, health word, reasons as JSON, endpoint): what it is shown as until its next observation."""
        await self._db.executemany("restate", list(rows))

    async def add_notifications(self, notifications: Iterable[Notification]) -> None:
        """Decide that these are told; one of the same id is there once. Who is told, stages say."""
        rows = [(one.id, one.at.isoformat(), _encode(one).decode()) for one in notifications]
        await self._db.executemany("add_notification", rows)

    @property
    def outbox(self) -> Outbox:
        """What stages and delivery ask and write."""
        return Outbox(self._db)

    async def put_incidents(self, incidents: Iterable[Incident]) -> None:
        """Replace incidents."""
        rows = [
            (one.id, one.state, _instant(one.opened_at), _instant(one.last_at), _encode(one).decode())
            for one in incidents
        ]
        await self._db.executemany("put_incident", rows)

    async def open_incidents(self) -> list[Incident]:
        """All that are not closed."""
        return await self.rows("open_incidents", lambda row: _incident(row[0]))

    async def members(self, incident: str, most: int) -> list[Alert]:
        """Alerts that are or were of an incident, by key, those of one key newest first."""
        return await self.rows("members", lambda row: _alert(row[0]), incident, most)

    async def numbered(self, numbers: Iterable[int]) -> dict[int, Alert]:
        """Alerts by the numbers that commands show."""
        wanted = list(numbers)
        return dict(await self.rows("alerts_by_number", lambda row: (row[0], _alert(row[1])), wanted))

    async def add_silence(self, silence: Silence) -> int:
        """Append a silence; returns its number."""
        (number,) = await self.rows(
            "add_silence", lambda row: int(row[0]), _instant(silence.ends_at), _encode(silence).decode()
        )
        return number

    async def end_silence(self, silence: Silence) -> None:
        """Move the end of a silence."""
        row = (_instant(silence.ends_at), _encode(silence).decode(), silence.number)
        await self._db.execute("end_silence", row)

    async def silences(self, now: datetime) -> list[Silence]:
        """Those that have not ended."""
        return await self.rows("silences", silence_of, _instant(now))

    async def add_suppressed(self, record: Iterable[Suppressed]) -> None:
        """Append to the record of what was not told."""
        rows = [(_instant(one.at), one.key, _encode(one).decode()) for one in record]
        await self._db.executemany("add_suppressed", rows)

    async def add_acts(self, acts: Iterable[Act]) -> None:
        """Append to what people did."""
        rows = [(_instant(one.at), one.what, one.key, _encode(one).decode()) for one in acts]
        await self._db.executemany("add_act", rows)

    async def acts_after(self, number: int) -> list[Act]:
        """What people did after the act of this number."""
        return await self.rows("acts_after", act_of, number)

    async def put_flaps(self, flaps: Mapping[str, Flap | None]) -> None:
        """Replace or forget when alerts came and went."""
        for key, flap in flaps.items():
            if flap is None:
                await self._db.execute("drop_flap", (key,))
            else:
                await self._db.execute("put_flap", (key, _encode(flap).decode()))

    async def flaps(self) -> list[Flap]:
        """All that is remembered of them."""
        return await self.rows("flaps", lambda row: _flap(row[0]))

    async def mark_of(self, name: str) -> int:
        """How far something has been dealt with; 0 at first."""
        found = await self.rows("mark", lambda row: int(row[0]), name)
        return found[0] if found else 0

    async def set_mark(self, name: str, number: int) -> None:
        """Something has been dealt with up to this number."""
        await self._db.execute("set_mark", (name, number))

    async def grow_old(self, *, archive: datetime, forget: datetime) -> None:
        """Archive what was resolved before a time, forget what was not told before another."""
        await self._db.execute("archive_alerts", (archive.astimezone(UTC).isoformat(),))
        await self._db.execute("forget_suppressed", (_instant(forget),))


def _written(change: Change) -> tuple[str, tuple[Any, ...]]:
    """The statement that writes a change, and its arguments."""
    alert = change.alert
    if change.dropped:
        return "drop_alert", (alert.key,)
    body, at = _encode(alert).decode(), alert.last_at.isoformat()
    if alert.state in LIVE:
        return "put_alert", (alert.key, alert.endpoint, alert.state, at, alert.incident, body)
    return "end_alert", (alert.state, at, body, alert.key)


def silence_of(row: Any) -> Silence:
    """A silence with its number, from a row of both."""
    return msgspec.structs.replace(_silence(row[1]), number=row[0])


def act_of(row: Any) -> Act:
    """What somebody did with its number, from a row of both."""
    return msgspec.structs.replace(_act(row[1]), number=row[0])


def _instant(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds")
