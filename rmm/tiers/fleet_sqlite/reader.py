"""Read-only access to `data/fleet.sqlite`, also while the coordinator writes it, also before there is one."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec

from rmm.model.identity import Acceptance, Refusal
from rmm.tiers.fleet_sqlite.writer import SQL, path_of
from rmm.tiers.migrations import named, tier_error

IDENTITY = 3  # the schema that has refusals and acceptances
HEALTH = 8  # the schema that has the health of days

_acceptance = msgspec.json.Decoder(Acceptance).decode
_refusal = msgspec.json.Decoder(Refusal).decode


T = TypeVar("T")


class Refused(NamedTuple):
    """An endpoint for which another machine answers: since when, and what was seen at the newest poll."""

    endpoint: str
    since: datetime
    at: datetime
    refusal: Refusal


class HealthDay(NamedTuple):
    """The health of an endpoint on a day of UTC: as its last round left it, and the lowest score."""

    day: str
    endpoint: str
    score: int
    lowest: int
    status: str


class FleetFile:
    """Opens the file for the length of one question."""

    def __init__(self, data: Path) -> None:
        self._path = path_of(data)
        self._sql = named((SQL / "statements.sql").read_text(encoding="utf-8"))

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(f"{self._path.absolute().as_uri()}?mode=ro", uri=True, timeout=10)
        connection.row_factory = sqlite3.Row
        try:
            yield connection
        finally:
            connection.close()

    def _ask(self, statement: str, read: Callable[[sqlite3.Row], T], *arguments: Any, schema: int = 1) -> list[T]:
        """The rows of a statement, each as `read` gives it."""
        if not self._path.exists():
            return []
        try:
            with self._open() as connection:
                if connection.execute("PRAGMA user_version").fetchone()[0] < schema:
                    return []  # only just made, or of an older rmm: the next round brings it up to date
                return [read(row) for row in connection.execute(self._sql[statement], arguments)]
        except (sqlite3.Error, msgspec.DecodeError, ValueError, TypeError) as error:  # what is read does not decode
            raise tier_error(self._path, error) from error

    def endpoints(self, *, site: str = "") -> list[dict[str, Any]]:
        """One row per endpoint, worst health first; the columns of `ports.FleetReader.endpoints`."""
        return self._ask("endpoints", _endpoint, site)

    def alerts(self, *, states: Sequence[str] = (), endpoint: str = "", most: int = 10_000) -> list[dict[str, Any]]:
        """Alerts, newest first; `number` names one for commands."""
        wanted = json.dumps(list(states) or ["firing", "acknowledged"])
        return self._ask("alerts", lambda row: {"number": row["no"], **json.loads(row["body"])}, wanted, endpoint, most)

    def notifications(self, most: int = 100) -> list[dict[str, Any]]:
        """The notification log, newest first."""
        return self._ask("notifications", dict, most)

    def refused(self) -> list[Refused]:
        """Endpoints for which another machine answered since their last good poll, longest first."""
        return self._ask("refusals", _refused, schema=IDENTITY)

    def acceptances(self, since: datetime | None = None) -> list[Acceptance]:
        """Who accepted another machine, oldest first; the newest of an endpoint is the one that counts."""
        first = since.astimezone(UTC).isoformat(timespec="microseconds") if since else ""
        return self._ask("acceptances", lambda row: _acceptance(row[0]), first, schema=IDENTITY)

    def health_days(self, since: datetime, until: datetime) -> list[HealthDay]:
        """The health of the days that this time touches, oldest first."""
        days = since.astimezone(UTC).date().isoformat(), until.astimezone(UTC).date().isoformat()
        return self._ask("health_days", lambda row: HealthDay(*row), *days, schema=HEALTH)


def _endpoint(row: sqlite3.Row) -> dict[str, Any]:
    return {
        "endpoint": row["id"],
        **{name: row[name] for name in ("name", "site", "shard", "status", "fault_code", "hint", "message")},
        "observed_at": row["observed_at"],
        "duration_s": row["duration_s"],
        "health": row["score"],
        "health_status": row["health"],
        "reasons": json.loads(row["reasons"]),
        "facts": json.loads(row["facts"]),
    }


def _refused(row: sqlite3.Row) -> Refused:
    return Refused(row[0], datetime.fromisoformat(row[1]), datetime.fromisoformat(row[2]), _refusal(row[3]))
