"""What is due, and how long a failing endpoint is left alone."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmm.core import schedule
from rmm.model.state import CollectorState, EndpointState

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
INTERVALS = {"cpu": 60, "services": 300, "pending_reboot": 3600, "software": 86_400}


def state(**ages: float) -> EndpointState:
    """An endpoint whose collectors were attempted so many seconds before NOW."""
    return EndpointState(
        endpoint="srv-1",
        name="SRV-1",
        site="hq",
        observed_at=NOW,
        status="OK",
        fault=None,
        duration_s=1.0,
        epoch="e",
        seq=1,
        collectors={name: CollectorState(attempted_at=NOW - timedelta(seconds=age)) for name, age in ages.items()},
    )


def due(known: EndpointState | None, mode: str, now: datetime = NOW) -> tuple[str, ...]:
    return schedule.due(INTERVALS, known, now, mode=mode, endpoint="srv-1")


def test_everything_is_due_on_a_new_endpoint() -> None:
    assert due(None, "due") == tuple(INTERVALS)


def test_a_round_by_hand_runs_the_fast_ones_always() -> None:
    known = state(cpu=5, services=5, pending_reboot=5, software=5)
    assert due(known, "round") == ("cpu", "services")
    assert due(known, "due") == ()
    assert due(known, "all") == tuple(INTERVALS)


def test_a_timer_some_seconds_early_still_counts() -> None:
    assert due(state(cpu=50, services=287, pending_reboot=0, software=0), "due") == ("cpu", "services")
    assert due(state(cpu=40, services=280, pending_reboot=0, software=0), "due") == ()


def test_a_collector_that_was_never_tried_is_due() -> None:
    assert due(state(cpu=5, services=5, pending_reboot=5), "due") == ("software",)


def test_a_clock_that_was_set_back_does_not_stop_polling() -> None:
    assert "cpu" in due(state(cpu=-86_400, services=0, pending_reboot=0, software=0), "due")


@given(
    st.text(min_size=1, max_size=20),
    st.integers(3600, 7 * 86_400),
    st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1)),
)
def test_slow_collectors_come_once_per_interval_in_their_own_slot(name: str, interval: int, last: datetime) -> None:
    first = schedule.next_due(last.replace(tzinfo=UTC), interval, name)
    second = schedule.next_due(first + timedelta(seconds=1), interval, name)
    assert interval / 2 - 1 <= (first - last.replace(tzinfo=UTC)).total_seconds() <= 1.5 * interval + 1
    assert (second - first).total_seconds() == pytest.approx(interval, abs=2)


def test_daily_collectors_of_a_fleet_do_not_fall_together() -> None:
    hours = {schedule.next_due(NOW, 86_400, f"srv-{n}").hour for n in range(500)}
    assert len(hours) == 24


@pytest.mark.parametrize(
    ("failures", "low", "high"), [(0, 0, 0), (1, 30, 60), (2, 60, 120), (5, 480, 960), (50, 1800, 3600)]
)
def test_backoff_grows_to_an_hour(failures: int, low: float, high: float) -> None:
    assert schedule.backoff(failures, 0.0).total_seconds() == low
    assert schedule.backoff(failures, 0.999999).total_seconds() == pytest.approx(high, abs=0.01)


def test_backoff_holds_scheduled_rounds_only() -> None:
    failing = msgspec.structs.replace(state(cpu=500), not_before=NOW + timedelta(minutes=5))
    assert schedule.held_back(failing, NOW, mode="due")
    assert not schedule.held_back(failing, NOW, mode="round")
    assert not schedule.held_back(failing, NOW + timedelta(minutes=6), mode="due")
    before, after = failing.observed_at - timedelta(seconds=1), failing.observed_at + timedelta(seconds=1)
    assert schedule.held_back(failing, NOW, mode="due", changed_at=before)
    assert not schedule.held_back(failing, NOW + timedelta(seconds=2), mode="due", changed_at=after)
    assert schedule.held_back(failing, NOW, mode="due", changed_at=NOW + timedelta(days=1))  # a clock was set back
    stuck = msgspec.structs.replace(failing, not_before=NOW + timedelta(days=300))
    assert not schedule.held_back(stuck, NOW, mode="due")


@pytest.mark.parametrize(
    ("retry", "failures", "low", "high"),
    [("R0", 9, 0, 0), ("R1", 1, 30, 60), ("RB", 2, 60, 120), ("RB", 50, 1800, 3600), ("RH", 1, 3600, 3600)],
)
def test_each_retry_word_rests_as_it_says(retry: str, failures: int, low: float, high: float) -> None:
    assert schedule.rest_after(retry, failures, 0.0).total_seconds() == low
    assert schedule.rest_after(retry, failures, 0.999999).total_seconds() == pytest.approx(high, abs=0.01)
