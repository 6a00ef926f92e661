"""What grows on an endpoint - event logs - read on from bookmarks that the poller keeps. Pure.

A record is new when its number is above the bookmark, or, where numbers began again since (the log was cleared, a
machine set back), when it was written after the newest that was known. What an endpoint sends twice counts once, so a
transport that cannot give a script its bookmark only costs the reading of a longer window.

New records are counted in rows, one for each group of equal properties. A row is the group's newest record with `New`
(since the last poll), `Hour` and `Day` (what came within 3,600 and 86,400 s, by our clock: when it was read), `Last`.
It is kept for `keep_s`, so that what happened once can be seen, and alerted on, for longer than until the next poll.
Instances of the logs' source become rows as well, with the counts of their log where its `Access` is ok.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from rmm.core.coerce import Invalid, moment
from rmm.model.collector import Journal

BOOKMARKS, SECONDS = "Bookmarks", "Seconds"  # the script's arguments
KEPT = "#journal"  # its place among a result's counters; no source has such a name
SLOT_S = 600
SLACK_S = 120  # by which the window overlaps the time that is known: clocks, and records that come late
FIRST_S, LONGEST_S = 3600, 86_400
MOST_LOGS, MOST_TEXT, MOST_PROPERTIES = 64, 300, 24

Instance = dict[str, Any]


class _Log:
    """How far one log is known."""

    __slots__ = ("at", "record")

    def __init__(self, record: int, at: datetime) -> None:
        self.record = record
        self.at = at

    def is_news(self, record: int, at: datetime) -> bool:
        return record > self.record or at > self.at


def arguments(kept: Mapping[str, Any] | None, now: datetime) -> dict[str, Any]:
    """What the script is given: the bookmark of each log that is known, and how far back to look beside it."""
    known = _known(kept)
    since = _moment((kept or {}).get("at"))
    seconds = FIRST_S if since is None else (now - since).total_seconds() + SLACK_S
    return {
        BOOKMARKS: {name: log.record for name, log in known.items()},
        SECONDS: round(min(max(seconds, SLACK_S), LONGEST_S)),
    }


def fold(
    journal: Journal, document: Mapping[str, Any], kept: Mapping[str, Any] | None, now: datetime
) -> tuple[dict[str, Any], dict[str, Any]]:
    """(the document with rows in the place of records, what to keep for the next poll).

    Args:
        journal: of the manifest.
        document: as it came; nothing in it is trusted.
        kept: what the last reading left, if there was one.
        now: when the poll began.
    """
    logs, rows = _known(kept), _rows(journal, kept, now)
    fresh, marks = _news(_instances(document.get(journal.records)), logs)
    named = [one for one in _instances(document.get(journal.logs)) if _name(one)][:MOST_LOGS]
    for one in named:
        _advance(logs, marks, one)
    for record in fresh:
        _count(rows, journal, record, now)
    kept_rows = sorted(rows.values(), key=lambda row: str(row["last"].get("Time")), reverse=True)[: journal.most]
    shown = [_shown(row, now) for row in kept_rows]
    shown += [{**_bounded(one), **_summed(one, shown), "Last": one.get("Time")} for one in named]
    after = {
        "at": now.isoformat(),
        "logs": {name: [log.record, log.at.isoformat()] for name, log in list(logs.items())[:MOST_LOGS]},
        "rows": [{"last": row["last"], "slots": row["slots"]} for row in kept_rows if row["slots"]],
    }
    if type(document.get(journal.records)) is not list:
        return dict(document), after
    return {**document, journal.records: shown}, after


def _news(records: Iterable[Instance], logs: Mapping[str, _Log]) -> tuple[list[Instance], dict[str, _Log]]:
    """(the records that are new, each once; the newest of them by log)."""
    seen: set[tuple[str, int]] = set()
    fresh: list[Instance] = []
    marks: dict[str, _Log] = {}
    for one in records:
        name, number, at = _name(one), one.get("Record"), _moment(one.get("Time"))
        if not name or type(number) is not int or at is None or (name, number) in seen:
            continue
        seen.add((name, number))
        if name in logs and not logs[name].is_news(number, at):
            continue
        fresh.append(one)
        mark = marks.setdefault(name, _Log(number, at))
        mark.record, mark.at = max(mark.record, number), max(mark.at, at)
    return fresh, marks


def _advance(logs: dict[str, _Log], marks: Mapping[str, _Log], one: Instance) -> None:
    """Move a log's bookmark to its newest record, backwards too; a log that could not be read keeps it."""
    name, number, at = _name(one), one.get("Record"), _moment(one.get("Time"))
    if type(number) is not int or at is None or not 0 <= number < 2**63:
        return
    mark = marks.get(name, _Log(number, at))  # what was written while the script ran is news only once
    logs[name] = _Log(max(number, mark.record), max(at, mark.at))


def _count(rows: dict[str, dict[str, Any]], journal: Journal, record: Instance, now: datetime) -> None:
    row = rows.setdefault(_key(journal, record), {"last": {}, "slots": {}, "new": 0})
    slot = str(int(now.timestamp()) // SLOT_S)
    row["slots"][slot] = row["slots"].get(slot, 0) + 1
    row["new"] += 1
    if str(record.get("Time")) >= str(row["last"].get("Time", "")):
        row["last"] = _bounded(record)


def _shown(row: Mapping[str, Any], now: datetime) -> Instance:
    hour, day = (_within(row["slots"], now, seconds) for seconds in (3600, 86_400))
    return {**row["last"], "New": row["new"], "Hour": hour, "Day": day, "Last": row["last"].get("Time")}


def _within(slots: Mapping[str, int], now: datetime, seconds: int) -> int:
    oldest = (int(now.timestamp()) - seconds) // SLOT_S
    return sum(count for slot, count in slots.items() if int(slot) > oldest)


def _summed(log: Instance, rows: Iterable[Instance]) -> dict[str, int]:
    """The counts of a log; none where it could not be read."""
    if log.get("Access", "ok") != "ok":
        return {}
    found = [row for row in rows if _name(row) == _name(log)]
    return {name: sum(row[name] for row in found) for name in ("New", "Hour", "Day")}


def _key(journal: Journal, record: Mapping[str, Any]) -> str:
    return "|".join(str(record.get(prop))[:MOST_TEXT] for prop in journal.group)


def _name(one: Mapping[str, Any]) -> str:
    name = one.get("Log")
    return name[:MOST_TEXT] if type(name) is str else ""


def _bounded(one: Mapping[str, Any]) -> Instance:
    """What is kept of an instance: scalars, short."""
    pairs = list(one.items())[:MOST_PROPERTIES]
    return {
        name[:MOST_TEXT]: value[:MOST_TEXT] if type(value) is str else value
        for name, value in pairs
        if value is None or type(value) in (str, int, float, bool)
    }


def _instances(value: Any) -> list[Instance]:
    return [one for one in value if type(one) is dict] if type(value) is list else []


def _moment(value: Any) -> datetime | None:
    try:
        return moment(value)
    except Invalid:
        return None


def _known(kept: Mapping[str, Any] | None) -> dict[str, _Log]:
    """The bookmarks. What was kept is ours, but a file may have been damaged."""
    found: dict[str, _Log] = {}
    logs = (kept or {}).get("logs")
    for name, mark in (logs if type(logs) is dict else {}).items():
        if type(mark) is list and len(mark) == 2 and type(mark[0]) is int and (at := _moment(mark[1])) is not None:
            found[name] = _Log(mark[0], at)
    return found


def _rows(journal: Journal, kept: Mapping[str, Any] | None, now: datetime) -> dict[str, dict[str, Any]]:
    oldest = (int(now.timestamp()) - journal.keep_s) // SLOT_S
    rows: dict[str, dict[str, Any]] = {}
    for one in _instances((kept or {}).get("rows")):
        last, slots = one.get("last"), one.get("slots")
        if type(last) is not dict or type(slots) is not dict:
            continue
        counts = {slot: n for slot, n in slots.items() if slot.isdigit() and type(n) is int and int(slot) > oldest}
        if counts:
            rows[_key(journal, last)] = {"last": last, "slots": counts, "new": 0}
    return rows


__all__ = ["BOOKMARKS", "KEPT", "SECONDS", "arguments", "fold"]
