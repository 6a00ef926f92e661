"""What counts as a change of an inventory, and what rules make of one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from rmm.core.alerting.lifecycle import FIRING, RESOLVED, evaluate
from rmm.core.change import MOST, changes
from rmm.core.rules import compile_rules
from rmm.model.collector import Field, Manifest
from rmm.model.observation import Change, CollectorResult, Observation
from rmm.model.rule import Alert, Rule

ADMINS = Manifest(
    name="admins", title="a", schema=1, interval=86_400, timeout=5, cost="C2", owner="t", unchanged_ttl=1, key=("sid",),
    fields={
        "sid": Field(type="text", kind="text"), "name": Field(type="text", kind="text"),
        "enabled": Field(type="bool", kind="bool"), "logons": Field(type="int", kind="gauge"),
        "seen": Field(type="time", kind="time"),
    },
)  # fmt: skip
MACHINE = msgspec.structs.replace(ADMINS, key=(), fields={"memory_b": Field(type="int", kind="state")})


def row(sid: str, **values: Any) -> dict[str, Any]:
    return {"sid": sid, "name": "n", "enabled": True, "logons": 1, "seen": "2026-01-01T00:00:00Z"} | values


def result(*rows: dict[str, Any], **values: Any) -> CollectorResult:
    return CollectorResult(outcome="ok", readings=rows, **values)


def test_rows_come_and_go_and_fields_change() -> None:
    before = result(row("s-1"), row("s-2"), row("s-3", enabled=None))
    after = result(
        row("s-1", name="other", logons=9, seen="2026-02-01T00:00:00Z"), row("s-3", enabled=False), row("s-4")
    )
    assert changes(ADMINS, before, after) == (
        Change("added", "s-4", row=row("s-4")),
        Change("removed", "s-2", row=row("s-2")),
        Change("changed", "s-1", "name", "n", "other", row=after.readings[0]),
    )
    assert changes(ADMINS, before, before) == ()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {"outcome": "fault"}),
        ({"outcome": "unsupported"}, {}),
        ({}, {"outcome": "partial", "notes": {"sid": "access_denied"}}),
        ({"outcome": "partial", "notes": {"rows": "invalid"}}, {}),
    ],
)
def test_a_gap_is_no_change(before: dict[str, Any], after: dict[str, Any]) -> None:
    ok = result(row("s-1"), row("s-2"))
    fewer = result(row("s-1"))
    assert changes(ADMINS, ok, fewer)
    assert not changes(ADMINS, msgspec.structs.replace(ok, **before), msgspec.structs.replace(fewer, **after))


def test_a_flood_of_changes_is_bounded() -> None:
    assert len(changes(ADMINS, result(), result(*(row(f"s-{n}") for n in range(5 * MOST))))) == MOST


AT = datetime(2026, 11, 25, 12, tzinfo=UTC)
NEW = Rule(id="new_admin", collector="admins", op="added", critical=True, where={"enabled": True}, hold_s=3600)
GONE = Rule(id="gone", collector="admins", op="removed", warning=True, summary="{name} went from {endpoint}")
SHRANK = Rule(
    id="shrank", collector="machine", field="memory_b", op="decreased", warning=True, summary="{before}>{after}"
)
RENAMED = Rule(id="renamed", collector="admins", field="name", op="changed", warning=True)


def fold(live: dict[str, Alert], at: datetime, **parts: CollectorResult) -> list[tuple[str, str]]:
    """(tell, key) of what an observation does to `live`, which is brought up to date."""
    observation = Observation(
        endpoint="e", name="E", site="hq", shard=0, observed_at=at, duration_s=0.1, status="OK", fault=None,
        collectors=parts, epoch="a", seq=1,
    )  # fmt: skip
    made = evaluate(observation, live, compile_rules([NEW, GONE, SHRANK, RENAMED]), {"admins": ("sid",)})
    for change in made:
        if change.alert.state == RESOLVED:
            live.pop(change.alert.key)
        else:
            live[change.alert.key] = change.alert
    return [(change.tell, change.alert.key) for change in made]


def test_an_event_fires_once_and_resolves_by_itself() -> None:
    live: dict[str, Alert] = {}
    new = Change("added", "s-4", row=row("s-4"))
    assert fold(live, AT, admins=result(row("s-4"), changes=(new,))) == [(FIRING, "new_admin|e|s-4")]
    assert live["new_admin|e|s-4"].severity == "critical"
    assert fold(live, AT + timedelta(minutes=30), admins=result(row("s-4"))) == []
    assert fold(live, AT + timedelta(minutes=50), admins=result(row("s-4"), changes=(new,))) == [
        (FIRING, "new_admin|e|s-4")
    ]
    assert live["new_admin|e|s-4"].count == 2
    # The collector need not be due for its alert to end.
    assert fold(live, AT + timedelta(minutes=100)) == []
    assert fold(live, AT + timedelta(minutes=110)) == [(RESOLVED, "new_admin|e|s-4")]
    assert not live


def test_what_a_rule_is_about() -> None:
    live: dict[str, Alert] = {}
    off = Change("added", "s-5", row=row("s-5", enabled=False))
    went = Change("removed", "s-2", row=row("s-2", name="bob"))
    named = Change("changed", "s-1", "name", "a", "b", row=row("s-1"))
    switched = Change("changed", "s-1", "enabled", True, False, row=row("s-1"))
    told = fold(live, AT, admins=result(changes=(off, went, named, switched)))
    assert told == [(FIRING, "gone|e|s-2"), (FIRING, "renamed|e|s-1")]
    assert live["gone|e|s-2"].summary == "bob went from E"


@pytest.mark.parametrize(("before", "after", "fires"), [(8, 4, True), (4, 8, False), ("8", 4, False)])
def test_a_number_that_went_down(before: Any, after: Any, fires: bool) -> None:
    live: dict[str, Alert] = {}
    fold(live, AT, machine=result(changes=(Change("changed", "", "memory_b", before, after),)))
    assert [alert.summary for alert in live.values()] == (["8>4"] if fires else [])
