"""What the readers of one document share while its rows are made: `Context`, and why a value is missing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NamedTuple

from rmm.core import coerce
from rmm.core.rates import Change, Sample
from rmm.model.collector import Field

NO_DATA, UNSUPPORTED, DENIED, UNKNOWN, INVALID = "no_data_yet", "unsupported", "access_denied", "unknown", "invalid"

Instance = dict[str, Any]
Reader = Callable[["Context", Instance], Any]
Slot = Callable[[str, int], int]  # (counter property, width in bits if it wraps) -> its place in `Change.growth`


class Site(NamedTuple):
    """Where a formula is used: the field, the source it reads, and where to reserve counters."""

    field: Field
    source: str
    slot: Slot


class Missing(Exception):
    """A field has no value; `reason` is the word that goes into the result's notes."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Context:
    """One document being read. `row` is the row so far, `changes` the counters' growth per source."""

    __slots__ = ("_clocks", "_indexes", "changes", "lists", "observed_at", "reasons", "row", "samples", "told")

    def __init__(
        self,
        lists: dict[str, list[Instance]],
        reasons: dict[str, str],
        observed_at: datetime,
        told: frozenset[str] = frozenset(),
    ) -> None:
        self.lists = lists
        self.told = told  # sources whose reason the endpoint itself gave
        self.reasons = reasons  # source -> why it has no instances
        self.told = told  # sources of which the script itself says why they are empty
        self.observed_at = observed_at
        self.row: Instance = {}
        self.changes: dict[str, Change | None] = {}
        self.samples: dict[str, Sample] = {}
        self._indexes: dict[tuple[str, str], dict[Any, Instance]] = {}
        self._clocks: dict[str, datetime] = {}

    def first(self, source: str) -> Instance:
        """The first instance of a source; raises Missing."""
        instances = self.lists[source]
        if instances:
            return instances[0]
        raise Missing(self.reasons[source])

    def index(self, source: str, prop: str) -> dict[Any, Instance]:
        """The instances of a source by the text of one property, without case."""
        found = self._indexes.get((source, prop))
        if found is None:
            found = {}
            for instance in self.lists[source]:
                value = instance.get(prop)
                if value is not None and type(value) is not list:
                    found.setdefault(str(value).casefold(), instance)
            self._indexes[source, prop] = found
        return found

    def clock(self, source: str) -> datetime:
        """The endpoint's own UTC time, from an instance of Win32_UTCTime."""
        found = self._clocks.get(source)
        if found is None:
            found = self._clocks[source] = _utc(self.first(source))
        return found


def _utc(instance: Instance) -> datetime:
    values = [coerce.integer(instance.get(part)) for part in ("Year", "Month", "Day", "Hour", "Minute", "Second")]
    if None in values:
        raise Missing(UNKNOWN)
    year, month, day, hour, minute, second = (value or 0 for value in values)
    milliseconds = coerce.integer(instance.get("Milliseconds")) or 0
    try:
        return datetime(year, month, day, hour, minute, min(second, 59), milliseconds * 1000, tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise Missing(INVALID) from error
