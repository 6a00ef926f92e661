"""The in-memory twin of the cold tier, for tests and for the conformance suite that both must pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from rmm.core.trends import rolled, widened
from rmm.model.observation import Observation
from rmm.model.rollup import Rollup
from rmm.tiers.cold_sqlite import changes
from rmm.tiers.cold_sqlite.series import CollectorFields, metric_parts, row_key


class MemoryTier:
    """`ports.Tier`; keeps every observation once."""

    def __init__(self, fields: Mapping[str, CollectorFields]) -> None:
        self._fields = fields
        self._kept: dict[tuple[str, datetime, str, int], Observation] = {}

    async def store(self, observations: Sequence[Observation]) -> None:
        """Keep them; redelivery changes nothing."""
        for observation in observations:
            key = (observation.endpoint, observation.observed_at, observation.epoch, observation.seq)
            self._kept.setdefault(key, observation)

    async def aclose(self) -> None:
        """Nothing to close."""

    def _of(self, endpoint: str, since: datetime, until: datetime) -> list[Observation]:
        found = [o for o in self._kept.values() if o.endpoint == endpoint and since <= o.observed_at <= until]
        return sorted(found, key=lambda o: (o.observed_at, o.epoch, o.seq))

    def history(self, endpoint: str, metric: str, *, since: datetime, until: datetime) -> list[tuple[datetime, float]]:
        """Samples of one metric, oldest first."""
        collector, field, key = metric_parts(metric)
        samples: list[tuple[datetime, float]] = []
        for observation in self._of(endpoint, since, until):
            result = observation.collectors.get(collector)
            rows = {row_key(row, self._fields[collector].key): row for row in result.readings} if result else {}
            row = rows.get(key) if key else rows.get("", rows.get("_Total", next(iter(rows.values()), None)))
            if not key and len(rows) > 1 and "_Total" not in rows:
                row = None
            if row is not None and row.get(field) is not None:
                samples.append((observation.observed_at, float(row[field])))
        return samples

    def rollups(
        self, endpoint: str, metric: str, *, since: datetime, until: datetime, step: Literal["hour", "day"]
    ) -> list[Rollup]:
        """Hours or days of one metric, oldest first: see `ports.HistoryReader.rollups`."""
        begin, end = widened(since, until, step)
        return list(rolled(self.history(endpoint, metric, since=begin, until=end), step))

    def statuses(self, endpoint: str, *, since: datetime, until: datetime) -> list[dict[str, Any]]:
        """Every observation: at, status, fault code, duration_ms."""
        return [
            {
                "at": o.observed_at,
                "status": o.status,
                "fault": o.fault.code if o.fault else "",
                "duration_ms": round(o.duration_s * 1000, 3),
            }
            for o in self._of(endpoint, since, until)
        ]

    def metrics(self, endpoint: str, *, since: datetime, until: datetime) -> list[str]:
        """Names of all metrics that have samples in this time."""
        names: set[str] = set()
        for observation in self._of(endpoint, since, until):
            for name, result in observation.collectors.items():
                known = self._fields.get(name)
                if known is None:
                    continue
                for key in [row_key(row, known.key) for row in result.readings]:
                    names.update(f"{name}.{field}[{key}]" if key else f"{name}.{field}" for field in known.samples)
        return sorted(names)

    def changes(self, endpoint: str, *, since: datetime, until: datetime) -> list[dict[str, Any]]:
        """Every change: at, collector, key, field, before, value, first; see `ColdReader.changes`."""
        known: dict[str, changes.Values] = {}
        told: list[dict[str, Any]] = []
        for observation in self._of(endpoint, datetime.min.replace(tzinfo=until.tzinfo), until):
            for name, result in sorted(observation.collectors.items()):
                fields = self._fields.get(name)
                if fields is None or not fields.changes or result.outcome not in ("ok", "partial"):
                    continue
                first = name not in known
                before, known[name] = known.get(name, {}), changes.values_of(result.readings, fields)
                told += [
                    {"at": observation.observed_at, "collector": name, "key": key, "field": field}
                    | {"before": old, "value": value, "first": first}
                    for key, field, old, value in changes.told(before, known[name])
                ]
        return [change for change in told if change["at"] >= since]

    def values(self, endpoint: str, metric: str, *, since: datetime, until: datetime) -> list[tuple[datetime, Any]]:
        """What a text, state, boolean or time was; see `ColdReader.values`."""
        collector, field, key = metric_parts(metric)
        found: list[tuple[datetime, Any]] = []
        for change in self.changes(endpoint, since=datetime.min.replace(tzinfo=until.tzinfo), until=until):
            gone = change["field"] == "" and change["value"] is None
            if change["collector"] == collector and change["key"] == key and (gone or change["field"] == field):
                if change["at"] <= since:
                    found.clear()
                found.append((change["at"], change["value"]))
        return found
