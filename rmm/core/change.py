"""What has changed in an inventory between two readings of one collector. Pure.

Nothing is a change that may only be a gap: a field that one of the two readings does not know, or rows of a reading
that could not be told apart or were cut off.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rmm.core.rules import row_name
from rmm.model.collector import Manifest
from rmm.model.observation import Change, CollectorResult, Row

MOST = 200  # per reading; the cold tier has all of them
COMPARED = ("state", "text", "bool")  # kinds; gauges and times of an inventory change without anything being changed


def is_inventory(manifest: Manifest) -> bool:
    """Whether changes of this collector are worth telling one by one: what says that it stays as it is, mostly."""
    return manifest.unchanged_ttl > 0


def changing(manifest: Manifest) -> tuple[str, ...]:
    """The fields of an inventory that are compared: a number of kind `state` is, one that is a sample is not."""
    return tuple(name for name, field in manifest.fields.items() if field.kind in COMPARED and name not in manifest.key)


def changes(manifest: Manifest, before: CollectorResult, after: CollectorResult) -> tuple[Change, ...]:
    """What is different in `after`, by row and field; at most MOST, those of rows that came or went first."""
    whole = all(
        one.outcome in ("ok", "partial")
        and "rows" not in one.notes
        and not any(key in one.notes for key in manifest.key)
        for one in (before, after)
    )
    if not whole:
        return ()
    old, new = _by_key(manifest.key, before.readings), _by_key(manifest.key, after.readings)
    found: list[Change] = []
    if manifest.key:
        found += [Change("added", key, row=new[key]) for key in new if key not in old]
        found += [Change("removed", key, row=old[key]) for key in old if key not in new]
    for field in changing(manifest):
        for key in new:
            was, now = old.get(key, {}).get(field), new[key].get(field)
            if was is not None and now is not None and was != now:
                found.append(Change("changed", key, field, was, now, row=new[key]))
    return tuple(found[:MOST])


def _by_key(key: Sequence[str], rows: Iterable[Row]) -> dict[str, Row]:
    return {row_name(row, key): row for row in rows}
