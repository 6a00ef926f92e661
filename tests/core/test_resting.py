"""A collector that hangs, or that an endpoint cannot serve, rests: how long, and what ends it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmm.core.merge import merge
from rmm.core.resting import HUNG_LONGEST, LACKING, LACKING_FOR, build_changed
from rmm.core.schedule import due
from rmm.model.observation import CollectorResult, Fault, Observation
from rmm.model.state import CollectorState, EndpointState

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
INTERVALS = {"cpu": 60}


def observed(minute: int, code: str = "", **rest: object) -> Observation:
    failed = CollectorResult(outcome="fault", fault=Fault(code))
    values: dict[str, object] = {
        "endpoint": "a", "name": "A", "site": "s", "shard": 0, "observed_at": NOW + timedelta(minutes=minute),
        "duration_s": 1.0, "status": "OK", "fault": None, "epoch": "e", "seq": minute + 1,
        "collectors": {"cpu": failed if code else CollectorResult(outcome="ok", readings=({"v": minute},))},
    }  # fmt: skip
    return Observation(**(values | rest))  # type: ignore[arg-type]


def folded(*observations: Observation) -> EndpointState:
    state = None
    for one in observations:
        state = merge(state, one)
    assert state is not None
    return state


def asked(state: EndpointState, after: timedelta, mode: str = "round") -> bool:
    return due(INTERVALS, state, state.observed_at + after, mode=mode, endpoint="a") == ("cpu",)


@pytest.mark.parametrize("mode", ["round", "due"])
@pytest.mark.parametrize(("times", "minutes"), [(1, 15), (2, 30), (3, 60), (5, 240), (6, 360), (8, 360)])
def test_what_hangs_again_rests_longer(mode: str, times: int, minutes: int) -> None:
    state = folded(*(observed(minute, "script.timeout") for minute in range(times)))
    assert not asked(state, timedelta(minutes=minutes, seconds=-30), mode)
    assert asked(state, timedelta(minutes=minutes), mode)
    assert asked(state, timedelta(seconds=1), "all")


def test_a_reading_ends_it_and_another_fault_does_not_rest() -> None:
    hung = [observed(minute, "script.timeout") for minute in range(4)]
    assert asked(folded(*hung, observed(5)), timedelta(minutes=1))
    assert folded(*hung, observed(5)).collectors["cpu"].hung_at == ()
    assert asked(folded(*hung, observed(5, "script.failed")), timedelta(minutes=1))
    assert len(folded(*hung, observed(5), observed(6, "script.timeout")).collectors["cpu"].hung_at) == 1


CODES = ("script.timeout", "", "script.timeout", "x", "quota.shell")


@given(st.permutations([observed(minute, code) for minute, code in enumerate(CODES)]))
def test_the_count_does_not_depend_on_the_order(items: list[Observation]) -> None:
    state = folded(*items, *items)
    assert state.collectors["cpu"].hung_at == (NOW + timedelta(minutes=2), NOW + timedelta(minutes=4))


@pytest.mark.parametrize("code", sorted(LACKING))
def test_what_an_endpoint_lacks_is_asked_for_after_a_day(code: str) -> None:
    state = folded(observed(0, code))
    assert not asked(state, LACKING_FOR - timedelta(seconds=1))
    assert asked(state, LACKING_FOR)
    assert asked(state, timedelta(seconds=1), "all")


@pytest.mark.parametrize("code", ["wmi.class", "wmi.not_found"])
def test_what_was_there_a_day_ago_is_asked_for_after_an_hour(code: str) -> None:
    state = folded(observed(0), observed(5, code))
    assert not asked(state, timedelta(minutes=59))
    assert asked(state, timedelta(hours=1))
    gone = folded(observed(0), observed(24 * 60, code))
    assert not asked(gone, timedelta(hours=23))
    assert asked(gone, timedelta(days=1))


def test_or_when_the_build_of_its_system_changed() -> None:
    os = CollectorResult(outcome="ok", readings=({"build": 17763},))
    state = folded(observed(0, "wmi.class", collectors={"os": os, "cpu": observed(0, "wmi.class").collectors["cpu"]}))
    now = NOW + timedelta(hours=2)
    assert build_changed(state, None, now) == {}
    assert build_changed(state, os, now) == {}
    newer = CollectorResult(outcome="ok", readings=({"build": 20348},))
    found = build_changed(state, newer, now)
    assert found == {"build_at": now.isoformat()}
    after = merge(state, observed(120, collectors={"os": newer}, identity=found))
    assert asked(after, timedelta(minutes=1))
    assert build_changed(after, None, now + timedelta(hours=23)) == found
    assert build_changed(after, None, now + timedelta(days=2)) == {}


def test_a_state_of_an_older_version_is_read_and_rests_shortly() -> None:
    old = (
        b'{"attempted_at":"2026-11-24T12:00:00Z","at":null,"result":null,'
        b'"fault":{"code":"script.timeout","retry":"RB","hint":"","message":""},"digest":""}'
    )
    state = msgspec.json.decode(old, type=CollectorState)
    assert state.hung_at == ()
    whole = msgspec.structs.replace(folded(observed(0)), collectors={"cpu": state}, observed_at=NOW)
    assert not asked(whole, timedelta(minutes=14))
    assert asked(whole, timedelta(minutes=15))


def test_nothing_rests_for_ever() -> None:
    assert timedelta(0) < HUNG_LONGEST < LACKING_FOR <= timedelta(days=7)
