"""Clocks that are set: what comes back from the future, and when an age can be believed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from rmm.core.clock import KEPT, brought_back, noted, settled
from rmm.core.merge import merge
from rmm.model.observation import CollectorResult, Fault, Observation

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def observe(at: datetime, value: int, *, fault: Fault | None = None) -> Observation:
    return Observation(
        endpoint="srv-1", name="SRV-1", site="hq", shard=0, observed_at=at, duration_s=1.0,
        status="TIMEOUT" if fault else "OK", fault=fault, epoch="e", seq=1, identity={"name": str(value)},
        collectors={} if fault else {"os": CollectorResult(outcome="ok", readings=({"build": value},))},
    )  # fmt: skip


@pytest.mark.parametrize("step", [timedelta(hours=1), timedelta(days=365)])
def test_what_is_observed_after_the_clock_was_set_back_is_the_last_state(step: timedelta) -> None:
    state = merge(merge(None, observe(NOW - timedelta(minutes=5), 1)), observe(NOW + step, 2))
    assert merge(state, observe(NOW, 3)).collectors["os"].result == state.collectors["os"].result  # as it would be
    back = brought_back(state, NOW)
    after = merge(back, observe(NOW, 3))
    assert msgspec.json.decode(bytes(after.collectors["os"].result))["readings"] == [{"build": 3}]
    assert (after.observed_at, after.identity, after.succeeded_at) == (NOW, {"name": "3"}, NOW)
    assert after.ahead == {"os": NOW + step}
    assert merge(after, observe(NOW + step + timedelta(minutes=1), 4)).ahead == {}
    assert brought_back(after, NOW) is after


def test_failures_count_on_after_the_clock_was_set_back() -> None:
    state = None
    for minute in range(3):
        state = merge(state, observe(NOW + timedelta(hours=1, minutes=minute), 0, fault=Fault("timeout")))
    assert state is not None
    after = merge(brought_back(state, NOW), observe(NOW, 0, fault=Fault("timeout")))
    assert (after.failures, after.failed_at[-1]) == (2, NOW)  # those of the future are one moment now


def test_a_state_of_the_present_is_left_alone() -> None:
    state = merge(None, observe(NOW + timedelta(seconds=30), 1))
    assert brought_back(state, NOW) is state


def test_an_age_is_believed_after_a_day_of_work() -> None:
    today = 20_000
    assert not settled((), today)
    assert not settled(noted((), today), today)
    assert not settled(noted((), today), today + 1)
    assert settled(noted((), today), today + 2)
    assert not settled(noted((today,), today + 365), today + 365)  # a year ahead
    assert not settled(noted((today, today + 365), today + 366), today + 366)  # over a midnight
    assert settled(noted((today, today + 365), today + 367), today + 367)
    assert settled(noted((today - 2, today + 365), today), today)  # and back again
    days: tuple[int, ...] = ()
    for day in range(40):
        days = noted(noted(days, day), day)
    assert days == tuple(range(40 - KEPT, 40))
