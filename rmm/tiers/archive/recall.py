"""What the archive answers to readers and to merging: one endpoint's day, or one metric over days."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from rmm.core.columns import Number
from rmm.errors import DamagedFile
from rmm.tiers.archive import files
from rmm.tiers.cold_sqlite.segment import Name, Samples

log = logging.getLogger(__name__)

T = TypeVar("T")


def day(folder: Path, endpoint: str, number: int) -> Samples | None:
    """Everything of one endpoint and day; None where the archive has none, or cannot be asked. Raises TierError."""
    path = files.path_of(folder, number)
    if not path.exists() or not files.available():
        return None
    from rmm.tiers.archive import parquet

    try:
        found = parquet.read(path, [endpoint])
    except DamagedFile as error:
        log.warning("the archive: %s", error)
        return None
    return found[0][1] if found else None


class Recall:
    """Reads days of one endpoint. What is damaged is left out, told in the log and counted.

    Days that cannot be asked for because DuckDB is not installed are told once.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._told = False
        self.damaged = 0

    def days(self, first: int, last: int) -> set[int]:
        """The days from `first` to `last` that are archived and can be read."""
        found = {day for day in files.days(self.folder) if first <= day <= last}
        if found and not files.available():
            if not self._told:
                log.warning("%d days are in the archive, which is not read. %s", len(found), files.INSTALL)
                self._told = True
            return set()
        return found

    def samples(self, endpoint: str, days: Iterable[int], collector: str = "", field: str = "") -> list[Samples]:
        """What these days hold of the endpoint, of one field's series alone where one is named. Raises TierError."""
        found = []
        for number in sorted(days):
            found += self._one(files.path_of(self.folder, number), endpoint, collector, field)
        return found

    def endpoints(self, day: int) -> list[str]:
        """Those that a day has anything of. Raises TierError."""
        from rmm.tiers.archive import parquet

        return self._unless_damaged(lambda: parquet.endpoints(files.path_of(self.folder, day)))

    def together(self, day: int, endpoints: Sequence[str]) -> dict[str, Samples]:
        """Everything that a day has of these. Raises TierError."""
        from rmm.tiers.archive import parquet

        return dict(self._unless_damaged(lambda: parquet.read(files.path_of(self.folder, day), endpoints)))

    def _one(self, path: Path, endpoint: str, collector: str, field: str) -> list[Samples]:
        from rmm.tiers.archive import parquet

        found = self._unless_damaged(lambda: parquet.read(path, [endpoint], collector, field))
        return [samples for _, samples in found]

    def _unless_damaged(self, read: Callable[[], list[T]]) -> list[T]:
        try:
            return read()
        except DamagedFile as error:
            self.damaged += 1
            log.warning("%s: a day of the archive cannot be read, and is left out: %s", self.folder, error)
            return []


def series_of(samples: Samples, name: Name) -> tuple[list[int], list[Number]]:
    """(times, values) of one series."""
    series = samples.series[name]
    return [samples.seen[place].at for place in series.places], series.values
