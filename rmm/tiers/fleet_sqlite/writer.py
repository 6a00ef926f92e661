"""The one writer of `data/fleet.sqlite`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
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
from rmm.model.rule import Alert, Notification
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


class Stamp(NamedTuple):
    """What is stored of an endpoint already: its newest observation, and its facts."""

    observed_at: str
    epoch: str
    seq: int
    facts: dict[str, Any]


def path_of(data: Path) -> Path:
    """`data/fleet.sqlite`."""
    return data / "fleet.sqlite"


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


class FleetStore:
    """Statements of the coordinator; each call inside `transaction`."""

    def __init__(self, path: Path, db: aiosqlite.Connection) -> None:
        self._path = path
        self._db = db
        self._sql = named((SQL / "statements.sql").read_text(encoding="utf-8"))
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
            await self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                if self._db.in_transaction:  # some failures, such as a full disk, roll back by themselves
                    await self._db.execute("ROLLBACK")
                raise
            await self._db.execute("COMMIT")
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def _failed(self, error: Exception) -> TierError:
        failure = tier_error(self._path, error)
        self.damaged = self.damaged or failure.code == "tier.damaged"
        return failure

    async def _rows(self, statement: str, read: Callable[[Any], T], *arguments: Any) -> list[T]:
        """The rows of a statement, each as `read` gives it."""
        try:
            return [read(row) for row in await self._db.execute_fetchall(self._sql[statement], arguments)]
        except (sqlite3.Error, msgspec.DecodeError, ValueError, TypeError) as error:  # what is read does not decode
            raise self._failed(error) from error

    async def stamps(self, endpoints: Iterable[str]) -> dict[str, Stamp]:
        """What is known of these endpoints."""
        wanted = json.dumps(list(endpoints))
        return dict(
            await self._rows("stamps", lambda row: (row[0], Stamp(row[1], row[2], row[3], json.loads(row[4]))), wanted)
        )

    async def live_alerts(self) -> list[Alert]:
        """All alerts that are not resolved."""
        return await self._rows("live_alerts", lambda row: _alert(row[0]))

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
                await self._db.execute(self._sql["put_alert"], (alert.key, alert.endpoint, alert.state, at, body))
            else:
                await self._db.execute(self._sql["end_alert"], (alert.state, at, body, alert.key))

    async def version(self) -> int:
        """Changes when another connection has committed something."""
        rows = list(await self._db.execute_fetchall("PRAGMA data_version"))
        return int(rows[0][0])

    async def outcomes(self, site: str, since: datetime) -> dict[tuple[str, str], int]:
        """(status, fault code) -> count of a site's endpoints that were observed since then."""
        return dict(await self._rows("outcomes", lambda row: ((row[0], row[1]), row[2]), site, _instant(since)))

    async def concerned(self, site: str, since: datetime) -> dict[str, tuple[str, str]]:
        """Endpoint -> (status, fault code) of those with a fault since then."""
        return dict(await self._rows("concerned", lambda row: (row[0], (row[1], row[2])), site, _instant(since)))

    async def reported(self) -> list[Reported]:
        """What the machine of each endpoint last said of itself."""
        return await self._rows("reported", lambda row: Reported(*map(str, row)))

    async def put_refusal(self, endpoint: str, at: datetime, refusal: Refusal) -> None:
        """Another machine answered for this endpoint; since when it is so, is kept."""
        await self._db.execute(self._sql["put_refusal"], (endpoint, _instant(at), _encode(refusal).decode()))

    async def end_refusals(self, endpoints: Iterable[str]) -> None:
        """The right machines have answered."""
        await self._db.executemany(self._sql["end_refusal"], [(name,) for name in endpoints])

    async def refusals(self) -> dict[str, Refusal]:
        """By endpoint, what the newest refusal saw."""
        return dict(await self._rows("refusals", lambda row: (row[0], _refusal(row[3]))))

    async def add_acceptances(self, accepted: Iterable[Acceptance]) -> None:
        """Append to what was accepted."""
        rows = [(one.endpoint, _instant(one.at), _encode(one).decode()) for one in accepted]
        await self._db.executemany(self._sql["add_acceptance"], rows)

    async def keep_health(self, since: datetime, until: datetime) -> None:
        """Keep what was observed in this time as the health of its days, and forget old days."""
        await self._db.execute(self._sql["keep_health"], (_instant(since), _instant(until)))
        await self._db.execute(self._sql["forget_health"], ((until - timedelta(days=HEALTH_DAYS)).date().isoformat(),))

    async def restate(self, rows: Iterable[tuple[str, str]]) -> None:
        """(status, endpoint): what an endpoint is shown as until its next observation."""
        await self._db.executemany(self._sql["restate"], list(rows))

    async def add_notifications(
        self, notifications: Iterable[Notification], channels: Iterable[str], *, held: str = ""
    ) -> None:
        """Put notifications into the outbox, for each channel; one of the same id is there once.

        Those that are `held` wait, as long as it takes, until `release` or `discard` names their site.
        """
        names = list(channels)
        rows = [
            (one.id, name, one.at.isoformat(), _encode(one).decode(), held) for one in notifications for name in names
        ]
        await self._db.executemany(self._sql["add_notification"], rows)

    async def held(self, site: str) -> list[Notification]:
        """What is held for a site, each notification once, oldest first."""
        return await self._rows("held", lambda row: _notification(row[0]), site)

    async def told(self, first: str, last: str) -> bool:
        """Whether a notification with an id of this range was not held, or is not any more."""
        (told,) = await self._rows("told", lambda row: bool(row[0]), first, last)
        return told

    async def release(self, site: str) -> None:
        """What is held for this site may be delivered."""
        await self._db.execute(self._sql["release"], (site,))

    async def discard(self, notifications: Iterable[str]) -> None:
        """Notifications that are held are not to be delivered at all."""
        await self._db.executemany(self._sql["discard"], [(name,) for name in notifications])

    async def open_notifications(self, channel: str, since: datetime, most: int = 500) -> list[Notification]:
        """What this channel was not given yet, oldest first; what it refused again and again comes last."""
        since_text = since.astimezone(UTC).isoformat()
        return await self._rows("open_notifications", lambda row: _notification(row[0]), channel, since_text, most)

    async def mark(self, notification: str, channel: str, *, sent_at: str, result: str) -> None:
        """Note the outcome of one delivery; an empty `sent_at` is a failure."""
        if sent_at:
            await self._db.execute(self._sql["sent"], (sent_at, result, notification, channel))
        else:
            await self._db.execute(self._sql["not_sent"], (result, notification, channel))


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
