"""The one writer of `data/fleet.sqlite`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import aiosqlite
import msgspec

from rmm.core.alerting.lifecycle import LIVE, Change
from rmm.core.duplicates import Reported
from rmm.durable import hold
from rmm.errors import LeaseLost, TierError
from rmm.model.identity import Acceptance, Refusal
from rmm.model.incident import Act, Flap, Incident, Silence, Suppressed
from rmm.model.rule import Alert, Notification
from rmm.tiers.fleet_sqlite.outbox import Outbox
from rmm.tiers.migrations import bounded_wal, named, open_writer, set_aside, tier_error, warn_once

log = logging.getLogger(__name__)

LOCK_S = 30.0
MOST_WAL = 256 << 20  # bytes
HEALTH_DAYS = 120  # for how long the health of a day is kept: the longest report's 90 days, and some
T = TypeVar("T")

SQL = files("rmm.tiers.fleet_sqlite") / "sql"

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


def path_of(data: Path) -> Path:
    """`data/fleet.sqlite`."""
    return data / "fleet.sqlite"


def statements() -> dict[str, str]:
    """All named statements, by name."""
    names = ("statements.sql", "delivery.sql", "escalation.sql", "sites.sql")
    texts = ((SQL / file).read_text(encoding="utf-8") for file in names)
    return {name: statement for text in texts for name, statement in named(text).items()}


@asynccontextmanager
async def alone(data: Path) -> AsyncIterator[None]:
    """Hold the lock of the fleet's database, for which others in this process or elsewhere are waited for LOCK_S.

    An SQLite with the WAL-reset bug needs that also for checkpoints. Not to be entered twice. Raises LeaseLost and
    TierError.
    """
    deadline = asyncio.get_running_loop().time() + LOCK_S
    while True:
        lock = hold(data / "locks" / "fleet.lock", "the fleet's database")
        try:
            lock.__enter__()
            break
        except LeaseLost:
            if asyncio.get_running_loop().time() > deadline:
                raise
            await asyncio.sleep(0.02)
    try:
        yield
    finally:
        lock.__exit__(None, None, None)


async def _whole(statement: Awaitable[Any]) -> None:
    """A statement to its end, also when the caller is cancelled.

    It runs in the connection's thread all the same, and a transaction that began when nobody waited for it any more
    would keep every other process from writing.
    """
    running = asyncio.ensure_future(statement)
    try:
        await asyncio.shield(running)
    except asyncio.CancelledError:
        while not running.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait((running,))
        running.exception()  # seen, or asyncio complains
        raise


class FleetStore:
    """Statements of the coordinator; each call inside `transaction`."""

    def __init__(self, path: Path, db: aiosqlite.Connection) -> None:
        self._path = path
        self._db = db
        self._sql = statements()
        self.damaged = False  # found to be so; then it is moved aside when it is closed

    @classmethod
    @asynccontextmanager
    async def open(cls, data: Path) -> AsyncIterator[FleetStore]:
        """The store, migrated; closed at the end."""
        path = path_of(data)
        warn_once(data)
        db = await _opened(data, path)
        file = path.stat().st_ino
        store = cls(path, db)
        try:
            yield store
        finally:
            # The last one to close writes the WAL back into the file: alone, as for a transaction.
            async with contextlib.AsyncExitStack() as lock:
                held = False
                with contextlib.suppress(LeaseLost, TierError):
                    await lock.enter_async_context(alone(data))
                    held = True
                await db.close()
                if store.damaged and held and path.stat().st_ino == file:  # nobody else was first
                    log.warning("%s is damaged; kept as %s, it begins anew", path, set_aside(path).name)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        """All or nothing; durable on leaving, and for the holder of `alone`.

        Raises TierError, also (tier.held) while a reader that does not let go has made the WAL as large as it may be:
        observations stay in the spool then, and who can be told without this file, is told.
        """
        try:
            await bounded_wal(self._db, self._path, MOST_WAL)
            try:
                await _whole(self._db.execute("BEGIN IMMEDIATE"))
                yield
            except BaseException:
                if self._db.in_transaction:  # some failures, such as a full disk, roll back by themselves
                    await _whole(self._db.execute("ROLLBACK"))
                raise
            await _whole(self._db.execute("COMMIT"))
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def _failed(self, error: Exception) -> TierError:
        failure = tier_error(self._path, error)
        self.damaged = self.damaged or failure.code == "tier.damaged"
        return failure

    async def run(self, statement: str, arguments: Iterable[Sequence[Any]]) -> None:
        """A named statement, once for each of these arguments."""
        await self._db.executemany(self._sql[statement], arguments)

    async def rows(self, statement: str, read: Callable[[Any], T], *arguments: Any) -> list[T]:
        """The rows of a statement, each as `read` gives it."""
        try:
            return [read(row) for row in await self._db.execute_fetchall(self._sql[statement], arguments)]
        except (sqlite3.Error, msgspec.DecodeError, ValueError, TypeError) as error:  # what is read does not decode
            raise self._failed(error) from error

    async def stamps(self, endpoints: Iterable[str]) -> dict[str, Stamp]:
        """What is known of these endpoints."""
        wanted = json.dumps(list(endpoints))
        return dict(
            await self.rows("stamps", lambda row: (row[0], Stamp(row[1], row[2], row[3], json.loads(row[4]))), wanted)
        )

    async def live_alerts(self) -> list[Alert]:
        """All alerts that are not resolved."""
        return await self.rows("live_alerts", lambda row: _alert(row[0]))

    async def put_endpoints(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """Replace endpoint rows, in the column order of the table."""
        await self._db.executemany(self._sql["put_endpoint"], rows)

    async def put_changes(self, changes: Iterable[Change]) -> None:
        """Write what became of alerts."""
        for change in changes:
            alert = change.alert
            body, at = _encode(alert).decode(), alert.last_at.isoformat()
            if change.dropped:
                await self._db.execute(self._sql["drop_alert"], (alert.key,))
            elif alert.state in LIVE:
                row = (alert.key, alert.endpoint, alert.state, at, alert.incident, body)
                await self._db.execute(self._sql["put_alert"], row)
            else:
                await self._db.execute(self._sql["end_alert"], (alert.state, at, body, alert.key))

    async def version(self) -> int:
        """Changes when another connection has committed something."""
        rows = list(await self._db.execute_fetchall("PRAGMA data_version"))
        return int(rows[0][0])

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
        await self._db.execute(self._sql["put_refusal"], (endpoint, _instant(at), _encode(refusal).decode()))

    async def end_refusals(self, endpoints: Iterable[str]) -> None:
        """The right machines have answered."""
        await self._db.executemany(self._sql["end_refusal"], [(name,) for name in endpoints])

    async def refusals(self) -> dict[str, Refusal]:
        """By endpoint, what the newest refusal saw."""
        return dict(await self.rows("refusals", lambda row: (row[0], _refusal(row[3]))))

    async def add_acceptances(self, accepted: Iterable[Acceptance]) -> None:
        """Append to what was accepted."""
        rows = [(one.endpoint, _instant(one.at), _encode(one).decode()) for one in accepted]
        await self._db.executemany(self._sql["add_acceptance"], rows)

    async def keep_health(self, since: datetime, until: datetime) -> None:
        """Keep what was observed in this time as the health of its days, and forget old days."""
        await self._db.execute(self._sql["keep_health"], (_instant(since), _instant(until)))
        await self._db.execute(self._sql["forget_health"], ((until - timedelta(days=HEALTH_DAYS)).date().isoformat(),))

    async def restate(self, rows: Iterable[tuple[str, int, str, str, str]]) -> None:
        """(status, score, health word, reasons as JSON, endpoint): what it is shown as until its next observation."""
        await self._db.executemany(self._sql["restate"], list(rows))

    async def add_notifications(self, notifications: Iterable[Notification]) -> None:
        """Decide that these are told; one of the same id is there once. Who is told, stages say."""
        rows = [(one.id, one.at.isoformat(), _encode(one).decode()) for one in notifications]
        await self._db.executemany(self._sql["add_notification"], rows)

    @property
    def outbox(self) -> Outbox:
        """What stages and delivery ask and write."""
        return Outbox(self._db, self._failed)

    async def put_incidents(self, incidents: Iterable[Incident]) -> None:
        """Replace incidents."""
        rows = [
            (one.id, one.state, _instant(one.opened_at), _instant(one.last_at), _encode(one).decode())
            for one in incidents
        ]
        await self._db.executemany(self._sql["put_incident"], rows)

    async def open_incidents(self) -> list[Incident]:
        """All that are not closed."""
        return await self.rows("open_incidents", lambda row: _incident(row[0]))

    async def members(self, incident: str, most: int) -> list[Alert]:
        """Alerts that are or were of an incident, by key, those of one key newest first."""
        return await self.rows("members", lambda row: _alert(row[0]), incident, most)

    async def numbered(self, numbers: Iterable[int]) -> dict[int, Alert]:
        """Alerts by the numbers that commands show."""
        wanted = json.dumps(list(numbers))
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
        await self._db.execute(self._sql["end_silence"], row)

    async def silences(self, now: datetime) -> list[Silence]:
        """Those that have not ended."""
        return await self.rows("silences", silence_of, _instant(now))

    async def add_suppressed(self, record: Iterable[Suppressed]) -> None:
        """Append to the record of what was not told."""
        rows = [(_instant(one.at), one.key, _encode(one).decode()) for one in record]
        await self._db.executemany(self._sql["add_suppressed"], rows)

    async def add_acts(self, acts: Iterable[Act]) -> None:
        """Append to what people did."""
        rows = [(_instant(one.at), one.what, one.key, _encode(one).decode()) for one in acts]
        await self._db.executemany(self._sql["add_act"], rows)

    async def acts_after(self, number: int) -> list[Act]:
        """What people did after the act of this number."""
        return await self.rows("acts_after", act_of, number)

    async def put_flaps(self, flaps: Mapping[str, Flap | None]) -> None:
        """Replace or forget when alerts came and went."""
        for key, flap in flaps.items():
            if flap is None:
                await self._db.execute(self._sql["drop_flap"], (key,))
            else:
                await self._db.execute(self._sql["put_flap"], (key, _encode(flap).decode()))

    async def flaps(self) -> list[Flap]:
        """All that is remembered of them."""
        return await self.rows("flaps", lambda row: _flap(row[0]))

    async def mark_of(self, name: str) -> int:
        """How far something has been dealt with; 0 at first."""
        found = await self.rows("mark", lambda row: int(row[0]), name)
        return found[0] if found else 0

    async def set_mark(self, name: str, number: int) -> None:
        """Something has been dealt with up to this number."""
        await self._db.execute(self._sql["set_mark"], (name, number))

    async def grow_old(self, *, archive: datetime, forget: datetime) -> None:
        """Archive what was resolved before a time, forget what was not told before another."""
        await self._db.execute(self._sql["archive_alerts"], (archive.astimezone(UTC).isoformat(),))
        await self._db.execute(self._sql["forget_suppressed"], (_instant(forget),))


def silence_of(row: Any) -> Silence:
    """A silence with its number, from a row of both."""
    return msgspec.structs.replace(_silence(row[1]), number=row[0])


def act_of(row: Any) -> Act:
    """What somebody did with its number, from a row of both."""
    return msgspec.structs.replace(_act(row[1]), number=row[0])


async def _opened(data: Path, path: Path) -> aiosqlite.Connection:
    """The file, or a new one where it is damaged: alerts fire again, which is better than none for ever.

    Alone, as opening may make the file, turn it to WAL or migrate it.
    """
    async with alone(data):
        try:
            return await open_writer(path, SQL)
        except TierError as error:
            if error.code != "tier.damaged":
                raise
            log.warning("%s; kept as %s, it begins anew", error, set_aside(path).name)
            return await open_writer(path, SQL)


def _instant(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds")
