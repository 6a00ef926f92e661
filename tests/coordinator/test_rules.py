"""Conditions on rows, and the life of an alert, as pure functions."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from folding import CPU, KEYS, START, observation
from hypothesis import given
from hypothesis import strategies as st

from rmm.core.alerting.lifecycle import FIRING, PENDING, RESOLVED, Change, evaluate
from rmm.core.health import fleet_score, health
from rmm.core.rules import CLEAR, UNKNOWN, compile_rules
from rmm.model.rule import Alert, Rule

pytestmark = pytest.mark.databases("sqlite", "postgres")


def severity(rule: Rule, row: dict[str, Any], held: str = CLEAR) -> str:
    return compile_rules([rule])[rule.collector][0].severity(row, held)


@pytest.mark.parametrize(
    ("op", "value", "expected"),
    [
        (">", 80, ""), (">", 81, "warning"), (">", 96, "critical"), (">=", 80, "warning"), ("<", 79, "critical"),
        ("<", 95, CLEAR), ("<=", 95, "critical"), ("==", 80, "warning"), ("!=", 80, "critical"), (">", None, UNKNOWN),
        (">", "a text", UNKNOWN),
    ],
)  # fmt: skip
def test_operators(op: str, value: Any, expected: str) -> None:
    assert severity(Rule(id="x", collector="c", field="v", op=op, warning=80, critical=95), {"v": value}) == expected


def test_a_threshold_of_none_is_none() -> None:
    assert severity(Rule(id="x", collector="c", field="v", warning=80), {"v": 1e9}) == "warning"
    assert severity(Rule(id="x", collector="c", field="v", op="in", critical=["A"]), {"v": "A"}) == "critical"


def test_hysteresis_eases_the_way_back_only() -> None:
    assert severity(CPU, {"util_pct": 78}) == CLEAR
    assert severity(CPU, {"util_pct": 78}, "warning") == "warning"
    assert severity(CPU, {"util_pct": 75}, "warning") == CLEAR
    # 92 is above 95 - 5, and yet what is a warning does not become critical by it.
    assert severity(CPU, {"util_pct": 92}, "warning") == "warning"
    assert severity(CPU, {"util_pct": 92}, "critical") == "critical"


def test_where_and_unless() -> None:
    rule = Rule(id="x", collector="s", field="v", where={"mode": ["Auto"]}, unless={"name": ["a", "b"]}, critical=1)
    matches = compile_rules([rule])["s"][0].matches
    assert matches({"mode": "Auto", "name": "c"}) is True
    assert matches({"mode": "Manual", "name": "c"}) is False
    assert matches({"mode": "Auto", "name": "a"}) is False
    assert matches({"mode": None, "name": "c"}) is None  # not known
    assert matches({"mode": None, "name": "a"}) is False


class Life:
    """One endpoint whose processor is polled every minute."""

    def __init__(self) -> None:
        self.live: dict[str, Alert] = {}
        self.minute = 0

    def poll(self, value: float | None, rows: int = 1, **changed: Any) -> list[Change]:
        at = START + timedelta(minutes=self.minute)
        self.minute += 1
        readings = [{"core": "_Total", "util_pct": value}] * rows
        seen = observation("a", at, self.minute, **{"cpu": readings, **changed})
        changes = evaluate(seen, self.live, compile_rules([CPU]), KEYS)
        for change in changes:
            if change.dropped or change.alert.state == RESOLVED:
                self.live.pop(change.alert.key, None)
            else:
                self.live[change.alert.key] = change.alert
        return changes

    def states(self) -> list[str]:
        return [alert.state for alert in self.live.values()]


def test_pending_firing_resolved() -> None:
    life = Life()
    assert [change.tell for change in life.poll(85)] == [""]
    for _ in range(4):
        assert [change.tell for change in life.poll(85)] == [""]
        assert life.states() == [PENDING]
    assert [change.tell for change in life.poll(85)] == [FIRING]
    assert [change.tell for change in life.poll(78)] == [""]  # hysteresis
    assert next(iter(life.live.values())).count == 7
    assert [change.tell for change in life.poll(99)] == [FIRING]  # worse is news
    assert [change.tell for change in life.poll(60)] == [RESOLVED]
    assert life.live == {}
    assert life.poll(60) == []


def test_what_goes_away_while_pending_was_never_there() -> None:
    life = Life()
    life.poll(85)
    (change,) = life.poll(78)  # below the threshold itself: hysteresis is for what fires
    assert change.dropped and not change.tell
    assert life.live == {}


def test_what_is_not_known_changes_nothing() -> None:
    life = Life()
    assert life.poll(None) == []
    for _ in range(6):
        life.poll(99)
    assert life.poll(None) == []
    assert life.states() == [FIRING]
    assert life.poll(99, rows=2)[0].alert.count == 7


def test_a_row_of_which_too_little_is_known_changes_nothing() -> None:
    rule = Rule(id="r", collector="services", field="state", where={"mode": "Auto"}, op="!=", warning="Running")
    rules, keys = compile_rules([rule]), {"services": ("service",)}

    def poll(mode: str | None, live: dict[str, Alert]) -> list[Change]:
        row = {"service": "x", "mode": mode, "state": "Stopped"}
        return evaluate(observation("a", START, 1, services=[row]), live, rules, keys)

    (fired,) = poll("Auto", {})
    assert poll(None, {}) == []
    assert poll(None, {fired.alert.key: fired.alert}) == []
    assert [change.tell for change in poll("Manual", {fired.alert.key: fired.alert})] == [RESOLVED]


def test_a_row_that_is_gone_resolves() -> None:
    life = Life()
    for _ in range(6):
        life.poll(99)
    assert [change.tell for change in life.poll(99, cpu=[])] == [RESOLVED]


@pytest.mark.parametrize("status", ["AUTH_HELD", "COLLECTOR_FAULT", "SITE_DOWN"])
def test_statuses_that_say_nothing_of_the_endpoint(status: str) -> None:
    rule = Rule(id="r", field="status", op="!=", critical="OK")
    rules = compile_rules([rule])
    assert evaluate(observation("a", START, 1, status), {}, rules, {}) == []
    (fired,) = evaluate(observation("a", START, 1, "TIMEOUT"), {}, rules, {})
    assert evaluate(observation("a", START, 2, status), {fired.alert.key: fired.alert}, rules, {}) == []


@given(st.lists(st.one_of(st.none(), st.floats(0, 100)), max_size=60))
def test_every_alert_that_is_told_is_ended_once(values: list[float | None]) -> None:
    life = Life()
    told = [change.tell for value in values for change in life.poll(value) if change.tell]
    firing = False
    for tell in told:
        assert tell == FIRING or firing  # nothing is resolved that did not fire
        firing = tell == FIRING
    assert len(life.live) <= 1
    assert firing == (life.states() == [FIRING])


@given(st.permutations(range(8)), st.floats(81, 100))
def test_the_order_of_rows_does_not_matter(order: list[int], value: float) -> None:
    rule = Rule(id="r", collector="volumes", field="used_pct", warning=80, critical=90)
    rows = [{"volume": f"{number}:", "used_pct": value - number} for number in range(8)]
    changes = [
        evaluate(observation("a", START, 1, volumes=listed), {}, compile_rules([rule]), KEYS)
        for listed in (rows, [rows[number] for number in order])
    ]
    assert sorted(changes[0], key=str) == sorted(changes[1], key=str)


def test_health() -> None:
    rules = {"cpu": Rule(id="cpu", points=10), "net": Rule(id="net", points=99, quarter="availability")}

    def alert(rule: str, severity: str) -> Alert:
        return Alert(
            key=rule, rule=rule, endpoint="a", name="A", site="s", severity=severity, state="firing", summary=rule,
            value=1, first_at=START, last_at=START,
        )  # fmt: skip

    assert health("OK", [], rules) == (100, "Healthy", [])
    assert health("OK", [alert("cpu", "critical")], rules)[:2] == (90, "Healthy")
    assert health("OK", [alert("cpu", "warning")], rules)[0] == 95
    assert health("OK", [alert("net", "critical")], rules)[:2] == (75, "Warning")  # no quarter below nothing
    assert health("OK", [alert("cpu", "critical")] * 9, rules)[0] == 75
    assert health("OK", [alert("gone", "critical")], rules)[0] == 100
    assert health("UNREACHABLE", [], rules) == (0, "Offline", ["UNREACHABLE"])
    for status in ("", "AUTH_HELD", "COLLECTOR_FAULT", "SITE_DOWN", "CONFIG"):
        assert health(status, [], rules)[:2] == (0, "Unknown")
    assert fleet_score([]) is None
    assert fleet_score([100, 51]) == 76
