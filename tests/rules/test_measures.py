"""Rates, sums, absence, comparison with the fleet and free conditions, through the evaluation that alerts use."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmm.core.alerting.lifecycle import Change, evaluate
from rmm.core.measures import Context
from rmm.core.peers import Peers, spread
from rmm.core.query.schema import ENDPOINT, ENDPOINT_FIELDS, READING_FIELDS, Kind, Schema
from rmm.core.rules import compile_rules
from rmm.model.observation import CollectorResult, Fault, Observation
from rmm.model.rule import Alert, Rule

START = datetime(2026, 3, 2, tzinfo=UTC)  # a Monday
KEYS = {"volumes": ("volume",), "events": ("channel", "level")}
NUMBER, TEXT = Kind("number"), Kind("text")
SCHEMA = Schema(
    {
        ENDPOINT: ENDPOINT_FIELDS,
        "volumes": {"volume": TEXT, "used_pct": NUMBER, "free_b": Kind("number", "B"), **READING_FIELDS},
        "cpu": {"util_pct": NUMBER, **READING_FIELDS},
    },
    {"volumes": ("volume",), "cpu": ()},
)


class Line:
    """One endpoint's time line."""

    def __init__(self, rule: Rule, endpoint: str = "a", peers: dict[tuple[str, str], Peers] | None = None) -> None:
        self.rules = compile_rules([rule], SCHEMA)
        self.live: dict[str, Alert] = {}
        self.memory: dict[str, Any] = {}
        self.endpoint, self.peers = endpoint, peers

    def poll(self, at: float, status: str = "OK", fault: str = "", **rows: list[dict[str, Any]] | None) -> list[Change]:
        """At so many seconds; None for rows is a collector's fault."""
        parts = {
            name: CollectorResult(outcome="ok", readings=tuple(found))
            if found is not None
            else CollectorResult(outcome="fault", fault=Fault("x"))
            for name, found in rows.items()
        }
        seen = Observation(
            endpoint=self.endpoint, name=self.endpoint.upper(), site="hq", shard=0, duration_s=1, status=status,
            observed_at=START + timedelta(seconds=at), fault=Fault(fault) if fault else None, collectors=parts,
            epoch="e", seq=int(at),
        )  # fmt: skip
        facts = {"name": self.endpoint.upper(), "group": "sql"}
        context = Context(self.endpoint, START.timestamp() + at, self.memory, set(), self.peers, {}, facts)
        changes = evaluate(seen, self.live, self.rules, KEYS, context)
        for change in changes:
            if change.dropped or change.alert.state == "resolved":
                self.live.pop(change.alert.key, None)
            else:
                self.live[change.alert.key] = change.alert
        return changes

    def firing(self) -> dict[str, Any]:
        return {alert.row: alert.value for alert in self.live.values() if alert.state == "firing"}


def volume(**values: float) -> list[dict[str, Any]]:
    return [{"volume": name, "used_pct": value, "free_b": 1000.0} for name, value in values.items()]


def test_a_rate_is_of_the_window() -> None:
    line = Line(Rule(id="r", collector="volumes", field="used_pct", measure="rate", per="h", window_s=3600, warning=10))
    for minute in range(0, 30, 5):
        line.poll(minute * 60, volumes=volume(C=50 + minute))
    assert line.firing() == {}  # 60 in an hour, but less than half the window is known
    line.poll(1800, volumes=volume(C=80))
    assert line.firing() == {"C": pytest.approx(60)}
    for minute in range(35, 125, 5):
        line.poll(minute * 60, volumes=volume(C=80))
    assert line.firing() == {}


def test_a_clock_that_was_set_back_begins_the_window_anew() -> None:
    line = Line(Rule(id="r", collector="volumes", field="used_pct", measure="rate", per="h", window_s=3600, warning=10))
    line.poll(7200, volumes=volume(C=0))
    line.poll(3600, volumes=volume(C=99))
    line.poll(3600 + 1800, volumes=volume(C=99))
    assert line.firing() == {}


def test_a_sum_is_over_all_rows_that_match() -> None:
    rule = Rule(id="e", collector="events", field="n", over="sum", where={"level": ["error"]}, op=">=", warning=10)
    line = Line(rule)

    def logs(*counts: int | None, level: str = "error") -> list[dict[str, Any]]:
        return [{"channel": str(place), "level": level, "n": count} for place, count in enumerate(counts)]

    line.poll(0, events=logs(4, 5))
    assert line.firing() == {}
    line.poll(60, events=logs(4, 6))
    assert line.firing() == {"": 10}
    line.poll(120, events=logs(400, level="warning"))
    assert line.firing() == {}
    line.poll(180, events=logs(11, None))
    assert line.firing() == {"": 11}
    line.poll(240, events=logs(None))
    assert line.firing() == {"": 11}  # not known
    line.poll(300, events=[])
    assert line.firing() == {}


def test_a_row_that_stopped_reporting() -> None:
    line = Line(
        Rule(id="r", collector="volumes", measure="absence", where={"volume": ["D", "E"]}, warning=600, hold_s=3600)
    )
    line.poll(0, volumes=volume(C=1, D=1))
    line.poll(300, volumes=volume(C=1))
    line.poll(600, volumes=volume(D=1))  # C is none of its
    assert line.firing() == {}
    line.poll(900, volumes=volume(C=1))
    assert line.firing() == {}
    line.poll(1260, volumes=volume(C=1))
    assert line.firing() == {"D": 660}
    line.poll(1320, volumes=volume(C=1, D=1))
    assert line.firing() == {}
    line.poll(2000, volumes=volume(C=1))
    assert line.firing() == {"D": 680}
    line.poll(1320 + 600 + 3601, volumes=volume(C=1))  # it is not coming back
    assert line.firing() == {} and line.memory["r absence "] == {}


def test_a_collector_that_stopped_reporting() -> None:
    line = Line(Rule(id="r", collector="cpu", field="util_pct", measure="absence", critical=600))
    line.poll(0, cpu=None)
    line.poll(900, cpu=None)
    assert line.firing() == {}  # it never was there
    line.poll(1000, cpu=[{"util_pct": 5}])
    line.poll(1300, cpu=None)
    line.poll(1601, cpu=[{"util_pct": None}])
    assert line.firing() == {"": 601}
    line.poll(1700, cpu=[{"util_pct": 5}])
    assert line.firing() == {}


def test_an_endpoint_that_gives_nothing() -> None:
    line = Line(Rule(id="r", measure="absence", warning=1800))
    line.poll(0)
    for at in range(60, 1800, 60):
        line.poll(at, "UNREACHABLE", "tcp.timeout")
    assert line.firing() == {}
    line.poll(1860, "AUTH_HELD", "auth.held")
    assert line.firing() == {"": 1860}
    line.poll(1900)
    assert line.firing() == {}


FLEET = Rule(
    id="f", collector="cpu", field="util_pct", measure="fleet", warning=6, critical=50, least=10, window_s=3600, floor=1
)


def test_one_that_is_unlike_its_peers() -> None:
    peers: dict[tuple[str, str], Peers] = {}
    dice = random.Random(5)
    lines = [Line(FLEET, f"e{number}", peers) for number in range(40)]
    for round_ in range(5):
        for number, line in enumerate(lines):
            value = 95 if number == 7 and round_ >= 2 else dice.gauss(20, 2)
            line.poll(round_ * 300 + number, cpu=[{"util_pct": value}])
    assert [line.endpoint for line in lines if line.firing()] == ["e7"]
    assert next(iter(lines[7].live.values())).value > 20


def test_too_few_peers_and_peers_that_are_gone_say_nothing() -> None:
    peers: dict[tuple[str, str], Peers] = {}
    lines = [Line(FLEET, f"e{number}", peers) for number in range(12)]
    for number, line in enumerate(lines):
        line.poll(number, cpu=[{"util_pct": 20.0}])
    odd = Line(FLEET, "odd", peers)
    odd.poll(60, cpu=[{"util_pct": 90.0}])
    assert odd.firing()
    late = Line(FLEET, "late", peers)
    late.poll(60 + 3700, cpu=[{"util_pct": 90.0}])
    assert not late.firing()  # the others' values are old by then


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60))
def test_the_spread_is_the_median_distance(values: list[float]) -> None:
    values.sort()
    middle = median(values)
    distances = sorted(abs(value - middle) for value in values)
    assert spread(values, middle) == distances[(len(values) + 1) // 2 - 1]


@given(st.lists(st.tuples(st.integers(0, 5), st.floats(0, 100)), min_size=1, max_size=80))
def test_peers_have_the_newest_value_of_each(polls: list[tuple[int, float]]) -> None:
    peers, newest = Peers(10), dict[int, tuple[float, float]]()
    for at, (member, value) in enumerate(polls):
        peers.put((str(member), ""), at, value)
        newest[member] = at, value
    last = len(polls) - 1
    assert sorted(peers._sorted) == sorted(value for at, value in newest.values() if at >= last - 10)


def test_a_free_condition() -> None:
    rule = Rule(
        id="w", collector="volumes", when='volumes.used_pct > 90 and volumes.volume != "X" and endpoint.group == "sql"',
        critical=True, summary="{volume}: {used_pct}",
    )  # fmt: skip
    line = Line(rule)
    line.poll(0, volumes=volume(C=95, D=50, X=99))
    assert [alert.summary for alert in line.live.values()] == ["C: 95"]
    line.poll(60, volumes=[{"volume": "C", "used_pct": None}])
    assert line.firing() == {"C": True}  # not known
    line.poll(120, volumes=volume(C=80, D=91))
    assert line.firing() == {"D": True}
    line.poll(180, cpu=[{"util_pct": 1}])
    assert line.firing() == {"D": True}


def test_a_free_condition_over_several_collectors_remembers_them() -> None:
    rule = Rule(id="w", collector="cpu", when="cpu.util_pct > 90 and any(volumes.used_pct > 90)", warning=True, for_s=0)
    line = Line(rule)
    line.poll(0, cpu=[{"util_pct": 99}])
    assert line.firing() == {}  # of volumes nothing is known
    line.poll(60, volumes=volume(C=95))
    assert line.firing() == {"": True}
    line.poll(120, cpu=[{"util_pct": 10}])
    assert line.firing() == {}


def test_a_time_in_a_condition_moves_with_the_clock() -> None:
    rule = Rule(id="w", collector="cpu", when="cpu.@at < -1h", warning=True)
    line = Line(rule)
    for hour in (0, 5, 24):
        line.poll(hour * 3600 + 1800, cpu=[{"util_pct": 1}])
    assert line.firing() == {}  # a reading is never an hour older than itself
