"""How the data folder grows, and when it reaches its budget or the end of its disk. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rmm.model.settings import DiskSettings

GB = 1_000_000_000
FAR = 3650  # days; a forecast beyond says nothing


class Part(NamedTuple):
    """Bytes of one kind that came in so many days, of which `keep` days are kept (0: all); days 0: it does not grow."""

    kind: str
    bytes: int
    days: int
    keep: int

    def at(self, later: int) -> float:
        """Its bytes so many days later: as much a day as so far, until as many days are there as are kept."""
        if not self.days:
            return self.bytes
        days = min(self.days + later, max(self.keep, self.days)) if self.keep else self.days + later
        return self.bytes / self.days * days

    def growth(self) -> float:
        """Bytes a day, now."""
        return self.at(1) - self.at(0)


class Forecast(NamedTuple):
    """Bytes, and days until a limit is reached; -1 where it is not reached in ten years."""

    total: int
    free: int
    growth: float | None  # a day, now; None while nothing is known of it
    levels_out: int | None  # bytes, when everything that is kept for a time is there; None: it grows for ever
    budget_days: int
    disk_days: int
    kept: int  # bytes of the disk that history leaves free
    trouble: str  # what to tell; empty while both are far


def floor(disk: DiskSettings, size: int) -> int:
    """Bytes of a disk of this size that are kept free; of a small one a twentieth."""
    return min(round(disk.keep_free_gb * GB), size // 20)


def forecast(parts: Sequence[Part], disk: DiskSettings, *, free: int, size: int) -> Forecast:
    """What becomes of a store that consists of these parts, on a disk of this size with so many free bytes."""
    total = sum(part.bytes for part in parts)
    budget = _days(parts, round(disk.budget_gb * GB)) if disk.budget_gb else -1
    room = _days(parts, total + free - floor(disk, size))
    for_ever = any(part.days and not part.keep for part in parts)
    level = None if for_ever else round(sum(part.at(100 * 366) for part in parts))
    growth = sum(part.growth() for part in parts) if any(part.days for part in parts) else None
    told = Forecast(total, free, growth, level, budget, room, floor(disk, size), "")
    return told._replace(trouble=_trouble(told, disk))


def _days(parts: Sequence[Part], limit: int) -> int:
    """Days until all parts together reach the limit; 0 when they have, -1 when they do not in ten years."""
    if sum(part.at(FAR) for part in parts) < limit:
        return -1
    low, high = 0, FAR  # parts never shrink
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if sum(part.at(middle) for part in parts) >= limit else (middle + 1, high)
    return low


def _trouble(told: Forecast, disk: DiskSettings) -> str:
    said = []
    for days, limit in (
        (told.budget_days, f"its budget of {disk.budget_gb:g} GB"),
        (told.disk_days, f"the last {sized(told.kept)} of its disk"),
    ):
        if days == 0:
            said.append(f"has reached {limit}")
        elif 0 < days <= disk.warn_days:
            said.append(f"reaches {limit} in {days} day{'s' if days > 1 else ''}")
    if not said:
        return ""
    size = f"{sized(told.total)}, {sized(told.growth or 0)} more a day, {sized(told.free)} free"
    return f"the data folder {' and '.join(said)} ({size})"


def sized(number: float) -> str:
    """Bytes for people."""
    for unit, factor in (("GB", GB), ("MB", 1_000_000), ("kB", 1000)):
        if number >= factor:
            return f"{number / factor:.1f} {unit}"
    return f"{number:.0f} B"
