"""What `rmm.yaml` says of the store: how long history is kept, and how much room it may take."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from rmm.document import Document, Problem
from rmm.model.settings import DiskSettings, Retention

LONGEST = 36_500  # days
SHORTHAND = "retention_days"


def whole_retention(document: Document, days: int | None, given: Retention, problems: list[Problem]) -> Retention:
    """`retention` with `retention_days` laid under it, which stands for samples and changes alike."""
    if days is None:
        return given
    line = document.line((SHORTHAND,))
    if not 1 <= days <= LONGEST:
        problems.append(Problem(line, SHORTHAND, f"1 to {LONGEST} are allowed"))
    for name in ("samples", "changes"):
        if ("retention", name) in document.lines:
            text = f"line {line} says it already: {SHORTHAND} stands for samples and changes"
            problems.append(Problem(document.line(("retention", name)), f"retention.{name}", text))
    return msgspec.structs.replace(given, samples=days, changes=days)


def store_problems(document: Document, retention: Retention, disk: DiskSettings) -> Iterable[Problem]:
    """What is out of its limits."""
    for name in retention.__struct_fields__:
        place = ("retention", name)
        if place in document.lines and not 0 <= getattr(retention, name) <= LONGEST:
            yield Problem(document.line(place), f"retention.{name}", f"1 to {LONGEST} days are allowed, or 0 for ever")
    for name, high in (("budget_gb", 1_000_000), ("keep_free_gb", 1_000_000), ("warn_days", 3650)):
        if not 0 <= getattr(disk, name) <= high:
            yield Problem(document.line(("disk", name)), f"disk.{name}", f"0 to {high} are allowed")
