"""Event logs: the script in real PowerShell over logs of the test's own, and the bookmarks that the poller keeps."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rmm.core import journal
from rmm.core.normalize import Normalizer
from rmm.core.rules import compile_rules
from rmm.model.collector import Collector, Journal
from rmm.model.observation import CollectorResult
from tests.collectors.executor import Executor, Job

NOW = datetime(2026, 11, 20, 10, 0, tzinfo=UTC)
LAST, RESET, YOUNGER = "2026-11-20T09:00:00Z", "2026-11-20T09:30:00Z", "2026-11-20T09:45:00Z"


def event(record: int, number: int = 7031, time: str = LAST, **more: Any) -> dict[str, Any]:
    provider = {7031: "Service Control Manager", 4740: "Microsoft-Windows-Security-Auditing"}.get(number, "disk")
    return {
        "record": record,
        "id": number,
        "provider": provider,
        "level": 2,
        "time": time,
        "data": {"a": "Spooler"},
    } | more


@pytest.fixture
def ask(executor: Executor, catalog: dict[str, Collector]) -> Callable[..., dict[str, Any]]:
    """Runs the script on a machine with these event logs; gives its document."""

    def run(
        events: dict[str, list[dict[str, Any]]], arguments: dict[str, Any] | None = None, *, mode: str = "FullLanguage",
        denied: Iterable[str] = ("Security",),
    ) -> dict[str, Any]:  # fmt: skip
        state = {"format": 1, "now": NOW.isoformat(), "events": events, "denied": [f"log:{name}" for name in denied]}
        job = Job(catalog["events"].windows, mode, "de-DE", arguments or {})
        (result,) = executor.run(state, [job])
        assert result.error is None, result.error
        assert not result.refusals
        return dict(json.loads(result.output[-1]))

    return run


@pytest.mark.parametrize("mode", ["FullLanguage", "ConstrainedLanguage"])
def test_the_first_poll_reads_a_window_and_says_what_it_could_not(ask: Any, mode: str) -> None:
    events = {
        "System": [
            event(1, time="2026-11-20T08:30:00Z"), event(2, time=RESET), event(3, 153, level=3, time=YOUNGER, data={}),
            event(4, 7036, level=4, time=YOUNGER), event(5, 1074, level=None, time=YOUNGER, provider="User32"),
        ],
        "Application": [],
    }  # fmt: skip
    document = ask(events, mode=mode)
    assert [(one["Record"], one["Level"], one["Detail"]) for one in document["event"]] == [
        (5, 0, "Spooler"), (3, 3, ""), (2, 2, "Spooler"),
    ]  # fmt: skip
    assert document["event"][2]["Kind"] == "Service Control Manager/7031"
    assert document["event"][2]["Time"] == "2026-11-20T09:30:00.0000000Z"
    access = {one["Log"]: (one["Access"], one.get("Record")) for one in document["log"]}
    assert access == {
        "System": ("ok", 5), "Application": ("ok", None), "Security": ("access_denied", None),
        "Microsoft-Windows-PowerShell/Operational": ("absent", None), "Microsoft-Windows-Backup": ("absent", None),
    }  # fmt: skip


def test_a_bookmark_reads_on_from_where_it_stands(ask: Any) -> None:
    events = {
        "System": [event(n, time="2026-11-20T05:00:00Z") for n in range(1, 8)],
        "Application": [event(9, time=YOUNGER)],
    }
    given = {"Bookmarks": {"System": 4, "Application": 9}, "Seconds": 1800, "MostEvents": 200}
    document = ask(events, given)
    # Nothing was written to Application since: it is not even searched, or its event would be found by its time.
    assert [(one["Log"], one["Record"]) for one in document["event"]] == [("System", n) for n in (7, 6, 5)]
    assert not any(one["More"] for one in document["log"])


def test_a_budget_bounds_what_is_read_and_says_so(ask: Any) -> None:
    events = {"System": [event(n) for n in range(1, 50)]}
    document = ask(events, {"Bookmarks": {"System": 1}, "Seconds": 420, "MostEvents": 5})
    assert [one["Record"] for one in document["event"]] == [49, 48, 47, 46, 45]
    assert {one["Log"] for one in document["log"] if one["More"]} == {"System"}


def test_a_log_that_was_cleared_is_read_from_its_beginning(ask: Any) -> None:
    events = {"System": [event(n, time=YOUNGER) for n in (1, 2, 3)]}
    document = ask(events, {"Bookmarks": {"System": 4711}, "Seconds": 1800, "MostEvents": 200})
    assert [one["Record"] for one in document["event"]] == [3, 2, 1]


def test_values_are_chosen_and_shortened(ask: Any) -> None:
    failed = {f"v{n}": f"value{n}" for n in range(21)}
    events = {
        "Security": [event(1, 4625, level=0, data=failed, time=YOUNGER)],
        "System": [event(1, data={"a": "x" * 500}, time=YOUNGER)],
        "Microsoft-Windows-PowerShell/Operational": [event(1, 4104, level=3, data={"a": "secret"}, time=YOUNGER)],
    }
    document = ask(events, denied=())
    details = {one["Id"]: one["Detail"] for one in document["event"]}
    assert details == {4625: "value5, value6, value19", 7031: "x" * 200, 4104: ""}


# From here on without PowerShell: what the poller makes of it.
JOURNAL = Journal(records="event", logs="log", group=("Log", "Id"), keep_s=86_400, most=50)


def doc(*records: tuple[int, int, str], newest: tuple[int, str] | None = None) -> dict[str, Any]:
    rows = [{"Log": "System", "Record": n, "Id": i, "Time": at, "Detail": f"d{n}"} for n, i, at in records]
    log: dict[str, Any] = {"Log": "System", "Id": 0}
    if newest:
        log |= {"Record": newest[0], "Time": newest[1]}
    return {"event": rows, "log": [log]}


def counts(document: dict[str, Any]) -> dict[int, tuple[int, int, int]]:
    return {row["Id"]: (row["New"], row["Hour"], row["Day"]) for row in document["event"]}


def test_what_came_twice_counts_once_and_rows_are_kept_for_a_day() -> None:
    first, kept = journal.fold(JOURNAL, doc((1, 41, LAST), (2, 7, LAST), (2, 7, LAST), newest=(2, LAST)), None, NOW)
    assert counts(first) == {41: (1, 1, 1), 7: (1, 1, 1), 0: (2, 2, 2)}
    # The same window once more, as a transport without arguments has it read, and one event that is new.
    window = doc((1, 41, LAST), (2, 7, LAST), (3, 7, RESET), newest=(3, RESET))
    kept = json.loads(json.dumps(kept))  # as the hot state has it
    second, kept = journal.fold(JOURNAL, window, kept, NOW + timedelta(minutes=5))
    assert counts(second) == {41: (0, 1, 1), 7: (1, 2, 2), 0: (1, 3, 3)}
    assert next(row for row in second["event"] if row["Id"] == 7)["Detail"] == "d3"
    third, kept = journal.fold(JOURNAL, doc(newest=(3, RESET)), kept, NOW + timedelta(hours=3))
    assert counts(third) == {41: (0, 0, 1), 7: (0, 0, 2), 0: (0, 0, 3)}
    last, kept = journal.fold(JOURNAL, doc(newest=(3, RESET)), kept, NOW + timedelta(hours=25))
    assert counts(last) == {0: (0, 0, 0)}
    assert kept["rows"] == []


def test_numbers_that_begin_again_are_news() -> None:
    _, kept = journal.fold(JOURNAL, doc((900, 7, LAST), newest=(900, LAST)), None, NOW)
    cleared, kept = journal.fold(JOURNAL, doc((1, 104, RESET), (2, 7, RESET), newest=(2, RESET)), kept, NOW)
    assert counts(cleared) == {104: (1, 1, 1), 7: (1, 2, 2), 0: (2, 3, 3)}
    assert journal.arguments(kept, NOW)["Bookmarks"] == {"System": 2}
    again, kept = journal.fold(JOURNAL, doc((2, 7, RESET), (3, 7, YOUNGER), newest=(3, YOUNGER)), kept, NOW)
    assert counts(again)[7] == (1, 3, 3)
    # It grew above the old bookmark before anybody looked: their time tells.
    regrown, _ = journal.fold(
        JOURNAL, doc((1, 51, "2026-11-20T09:50:00Z"), newest=(1, "2026-11-20T09:50:00Z")), kept, NOW
    )
    assert counts(regrown)[51] == (1, 1, 1)


def test_a_log_that_cannot_be_read_keeps_its_bookmark_and_the_window_grows_with_the_gap() -> None:
    _, kept = journal.fold(JOURNAL, doc((5, 7, LAST), newest=(5, LAST)), None, NOW)
    _, kept = journal.fold(JOURNAL, doc(), kept, NOW + timedelta(minutes=5))
    assert journal.arguments(kept, NOW + timedelta(minutes=15)) == {"Bookmarks": {"System": 5}, "Seconds": 720}
    assert journal.arguments(None, NOW) == {"Bookmarks": {}, "Seconds": 3600}
    assert journal.arguments(kept, NOW + timedelta(days=30))["Seconds"] == 86_400


@pytest.mark.parametrize(
    "kept",
    [{}, {"logs": 1, "rows": 2, "at": 3}, {"logs": {"System": [1]}}, {"logs": {"System": ["x", "y"]}},
     {"rows": [{"last": {"Id": 1}, "slots": {"x": 1, "9": "n"}}, 7]}],
)  # fmt: skip
def test_what_was_damaged_while_it_was_kept_is_forgotten(kept: dict[str, Any]) -> None:
    read, _ = journal.fold(JOURNAL, doc((5, 7, LAST), newest=(5, LAST)), kept, NOW)
    assert counts(read)[7] == (1, 1, 1)


def test_hostile_records_cost_themselves_and_nothing_grows_without_bound() -> None:
    records: list[Any] = [{"Log": "System", "Record": n, "Id": n, "Time": LAST, "X": "y" * 9000} for n in range(1, 500)]
    records += [None, 7, {"Log": 1}, {"Log": "System", "Record": True, "Time": LAST}, {"Log": "System", "Record": 1.5}]
    records += [
        {"Log": "System", "Record": 600, "Time": "soon"},
        {"Log": "System", "Record": 601, "Time": LAST, "N": {"a": 1}},
    ]
    logs = [{"Log": f"L{n}", "Record": n, "Time": LAST} for n in range(500)]
    read, kept = journal.fold(
        JOURNAL, {"event": records, "log": [*logs, {"Log": "System", "Record": 2**70, "Time": LAST}]}, None, NOW
    )
    assert len(kept["rows"]) == 50
    assert len(kept["logs"]) <= 64
    assert len(json.dumps(kept)) < 50_000
    assert len(read["event"]) <= 50 + 64


def test_the_collectors_rules_speak_of_what_happened_within_a_day(catalog: dict[str, Collector]) -> None:
    manifest = catalog["events"].manifest
    rules = {one.rule.id: one for one in compile_rules(manifest.rules)["events"]}

    def read(before: CollectorResult | None, at: datetime, *records: tuple[int, str, str]) -> CollectorResult:
        rows = [
            {"Log": "System", "Record": n, "Time": LAST, "Provider": kind.split("/")[0], "Id": int(kind.split("/")[1]),
             "Level": 2, "Kind": kind, "Detail": detail}
            for n, kind, detail in records
        ]  # fmt: skip
        log = {
            "Log": "System",
            "Provider": "*",
            "Id": 0,
            "Level": -1,
            "Access": "ok",
            "More": False,
            "Record": 9,
            "Time": LAST,
        }
        document = {"event": rows, "log": [log]}
        return Normalizer(manifest).read(document, counters=before.counters if before else None, observed_at=at)

    def fired(result: CollectorResult) -> set[str]:
        return {
            name for name, one in rules.items() for row in result.readings if one.matches(row) and one.severity(row, "")
        }

    first = read(None, NOW, (8, "Service Control Manager/7031", "Spooler"), (9, "Application Error/1000", "x.exe"))
    assert fired(first) == {"event_service_crashed"}
    assert fired(read(first, NOW + timedelta(minutes=5))) == {"event_service_crashed"}, "it stays for a day"
    assert fired(read(first, NOW + timedelta(hours=25))) == set()
    other = read(None, NOW, (8, "Somebody/7031", "x"))
    assert fired(other) == set(), "ids repeat across providers"
    row = next(row for row in first.readings if row["event_id"] == 7031)
    assert (row["signal"], row["level"], row["new"], row["detail"]) == ("service_crashed", "error", 1, "Spooler")
    assert first.outcome == "ok"
