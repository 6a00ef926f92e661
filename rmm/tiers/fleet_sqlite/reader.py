"""Read-only access to the fleet's database, also while the coordinator writes it, also before there is one."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec

from rmm.model.identity import Acceptance, Refusal
from rmm.model.incident import Act, Incident, Silence, Suppressed
from rmm.model.rule import Alert
from rmm.tiers.fleet_sqlite.database import Place, Question, Row, place_of
from rmm.tiers.fleet_sqlite.writer import act_of, silence_of

IDENTITY = 3  # the schema that has refusals and acceptances
DELIVERY = 5  # the schema whose outbox has what the stages made of it
LIFE = 4  # and the one that has incidents, silences, acts and what was not told
HEALTH = 8  # the schema that has the health of days

_acceptance = msgspec.json.Decoder(Acceptance).decode
_alert = msgspec.json.Decoder(Alert).decode
_incident = msgspec.json.Decoder(Incident).decode
_suppressed = msgspec.json.Decoder(Suppressed).decode
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
    """Opens the database for the length of one question."""

    def __init__(self, where: Path | Place) -> None:
        self._place = place_of(where)

    def _ask(self, statement: str, read: Callable[[Row], T], *arguments: Any, schema: int = 1) -> list[T]:
        """The rows of a statement, each as `read` gives it."""
        (found,) = self._place.ask(Question(statement, arguments, schema))
        try:
            return [read(row) for row in found]
        except (msgspec.DecodeError, ValueError, TypeError) as error:  # what is read does not decode
            raise self._place.failed(error) from error

    def ask(self, statement: str, read: Callable[[Row], T], *arguments: Any, schema: int = 1) -> list[T]:
        """The rows of a named statement, for the parts of this file that are modules of their own."""
        return self._ask(statement, read, *arguments, schema=schema)

    def endpoints(self, *, site: str = "") -> list[dict[str, Any]]:
        """One row per endpoint, worst health first; the columns of `ports.FleetReader.endpoints`."""
        return self._ask("endpoints", _endpoint, site)

    def alerts(self, *, states: Sequence[str] = (), endpoint: str = "", most: int = 10_000) -> list[dict[str, Any]]:
        """Alerts, newest first; `number` names one for commands."""
        wanted = list(states) or ["firing", "acknowledged"]
        return self._ask("alerts", _numbered_alert, wanted, endpoint, most)

    def alert(self, number: int) -> dict[str, Any] | None:
        """One alert as `alerts` has it; None where there is none of this number."""
        found = self._ask("alerts_by_number", _numbered_alert, [number])
        return found[0] if found else None

    def numbered(self, numbers: Sequence[int]) -> dict[int, Alert]:
        """Alerts by the numbers that commands show."""
        wanted = list(numbers)
        return dict(self._ask("alerts_by_number", lambda row: (int(row[0]), _alert(row[1])), wanted))

    def incidents(self, names: Sequence[str]) -> dict[str, Incident]:
        """Incidents by id."""
        found = self._ask("incidents", lambda row: _incident(row[0]), list(names), schema=LIFE)
        return {one.id: one for one in found}

    def silences(self, since: datetime) -> list[Silence]:
        """Those that have not ended at a time, oldest first."""
        return self._ask("silences", silence_of, _text(since), schema=LIFE)

    def suppressed(self, since: datetime | None = None, *, key: str = "", most: int = 1000) -> list[Suppressed]:
        """The record of what was not told, newest first; of one alert oldest first."""
        if key:
            return self._ask("suppressed_of", _read_suppressed, key, _text(since), most, schema=LIFE)
        return self._ask("suppressed", _read_suppressed, "", _text(since), most, schema=LIFE)

    def acts(self, *, key: str = "", since: datetime | None = None, most: int = 1000) -> list[Act]:
        """What people did, newest first; to one alert oldest first."""
        if key:
            return self._ask("acts_of", act_of, key, _text(since), most, schema=LIFE)
        return self._ask("acts", act_of, most, schema=LIFE)

    def told_of(self, incident: str) -> list[dict[str, Any]]:
        """The notification log of one incident, oldest first."""
        return self._ask("told_of", dict, incident)

    def notifications(self, most: int = 100) -> list[dict[str, Any]]:
        """What channels were given or are to be given, newest first."""
        return self._ask("notifications", dict, most, schema=DELIVERY)

    def decisions(self, most: int = 100) -> list[dict[str, Any]]:
        """What was decided to be told, and what the stages made of it, newest first."""
        return self._ask("decisions", dict, most, schema=DELIVERY)

    def channels(self) -> dict[str, dict[str, Any]]:
        """How each channel fares: failures, not_before, at (of the last), result; open, oldest; sent_at (the last)."""
        found = {row["name"]: dict(row) for row in self._ask("channels", dict, schema=DELIVERY)}
        for name, count, oldest, sent_at in self._ask("fared", tuple, schema=DELIVERY):
            found.setdefault(name, {"name": name}).update(open=count, oldest=oldest, sent_at=sent_at)
        return found

    def refused(self) -> list[Refused]:
        """Endpoints for which another machine answered since their last good poll, longest first."""
        return self._ask("refusals", _refused, schema=IDENTITY)

    def acceptances(self, since: datetime | None = None) -> list[Acceptance]:
        """Who accepted another machine, oldest first; the newest of an endpoint is the one that counts."""
        return self._ask("acceptances", lambda row: _acceptance(row[0]), _text(since), schema=IDENTITY)

    def health_days(self, since: datetime, until: datetime) -> list[HealthDay]:
        """The health of the days that this time touches, oldest first."""
        days = since.astimezone(UTC).date().isoformat(), until.astimezone(UTC).date().isoformat()
        return self._ask("health_days", lambda row: HealthDay(*row), *days, schema=HEALTH)


def _text(at: datetime | None) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds") if at else ""


def _numbered_alert(row: Row) -> dict[str, Any]:
    return {"number": row["no"], **json.loads(row["body"])}


def _read_suppressed(row: Row) -> Suppressed:
    return _suppressed(row[0])


def _endpoint(row: Row) -> dict[str, Any]:
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


def _refused(row: Row) -> Refused:
    return Refused(row[0], datetime.fromisoformat(row[1]), datetime.fromisoformat(row[2]), _refusal(row[3]))
