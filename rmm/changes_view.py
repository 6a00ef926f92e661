"""What has changed in inventories over some time, as rows: for `rmm changes` and for reports."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from rmm.core.change import changing
from rmm.model.collector import Collector
from rmm.model.endpoint import Endpoint
from rmm.model.identity import Acceptance
from rmm.tiers.cold_sqlite import ColdReader
from rmm.tiers.fleet_sqlite import FleetFile, Place

Row = dict[str, Any]
EVIDENCE = ("name", "uuid", "serial", "machine")


def changed(
    data: Path, chosen: Sequence[Endpoint], wanted: Mapping[str, Collector], begin: datetime, end: datetime,
    *, everything: bool = False, identity: bool = True, where: Place | None = None,
) -> list[Row]:  # fmt: skip
    """Rows by time: at, endpoint (its name), collector, what, row, field, from, to.

    `everything`: states that come and go too. `identity`: and who accepted another machine for an endpoint, which the
    fleet's database knows: that of the data folder, or at `where`. Raises TierError.
    """
    rows: list[Row] = []
    for site in sorted({one.site for one in chosen}):
        names = {one.id: one.name for one in chosen if one.site == site}
        rows += _of_site(data, site, names, wanted, begin, end, everything=everything)
    if identity:
        names = {one.id: one.name for one in chosen}
        rows += acceptances(names, [one for one in FleetFile(where or data).acceptances(begin) if one.at <= end])
    rows.sort(key=lambda row: (row["at"], row["endpoint"]))
    return rows


def acceptances(names: Mapping[str, str], accepted: Sequence[Acceptance]) -> Iterator[dict[str, Any]]:
    """Rows of `rmm changes`: one for each evidence that differed. `names` are the endpoints that are wanted, by id."""
    for one in accepted:
        if one.endpoint not in names:
            continue
        head = {"at": one.at.isoformat(timespec="seconds"), "endpoint": names[one.endpoint], "collector": "identity"}
        by = f"{one.who}: {one.reason}" if one.reason else one.who
        for kind in EVIDENCE:
            before, text = one.refusal.expected.get(kind), one.refusal.seen.get(kind)
            if text and before != text:
                yield {**head, "what": "accepted", "row": by, "field": kind, "from": before, "to": text}


def _of_site(
    data: Path, site: str, names: Mapping[str, str], wanted: Mapping[str, Collector], begin: datetime, end: datetime,
    *, everything: bool,
) -> Iterator[Row]:  # fmt: skip
    reader = ColdReader(data, site)
    fields = {name: set(changing(one.manifest)) for name, one in wanted.items()}
    for identity, touched in sorted(reader.changed(since=begin, until=end).items()):
        if identity not in names or not touched & wanted.keys():
            continue
        found = [
            change
            for change in reader.changes(identity, since=begin, until=end)
            if change["collector"] in wanted and not change["first"]
        ]
        for row in _rows(found, None if everything else fields):
            yield {"at": row.pop("at").isoformat(timespec="seconds"), "endpoint": names[identity], **row}


def _rows(found: Sequence[Row], fields: dict[str, set[str]] | None) -> Iterator[Row]:
    """One row per row that came or went, with its values together, and one per field that changed."""
    came: dict[tuple[Any, ...], Row] = {}
    for change in found:
        place = (change["at"], change["collector"], change["key"])
        head = {"at": change["at"], "collector": change["collector"], "row": change["key"]}
        if not change["field"]:
            what = "removed" if change["value"] is None else "added"
            row = {**head, "what": what, "field": "", "from": None, "to": None}
            if what == "added":
                came[place] = row = {**row, "to": {}}
            yield row
        elif place in came:
            if change["value"] is not None:
                came[place]["to"][change["field"]] = change["value"]
        elif fields is None or change["field"] in fields[change["collector"]]:
            changed: Row = {"what": "changed", "field": change["field"]}
            yield {**head, **changed, "from": change["before"], "to": change["value"]}
