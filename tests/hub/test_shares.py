"""Shares of a rate, and whether what waits gets less."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rmm.core.alerting.link import Lags
from rmm.core.share import BURST_S, MOST_WAIT_S, Shares

RATES = {"slow": 2.0, "fast": 50.0}
steps = st.lists(st.tuples(st.floats(0, 5), st.sampled_from(sorted(RATES)), st.floats(0.1, 40)), max_size=200)


@given(steps)
def test_nobody_takes_more_than_its_share_and_one_debt(taken: list[tuple[float, str, float]]) -> None:
    shares, now = Shares(RATES.__getitem__), 0.0
    sums, largest = dict.fromkeys(RATES, 0.0), dict.fromkeys(RATES, 0.0)
    for passed, name, amount in taken:
        now += passed
        wait = shares.wait(name, now)
        assert 0 <= wait <= MOST_WAIT_S
        if wait == 0:
            shares.spend(name, amount, now)
            sums[name] += amount
            largest[name] = max(largest[name], amount)
        for each, rate in RATES.items():
            assert sums[each] <= rate * (now + BURST_S) + largest[each] + 1e-6


@given(st.floats(0.1, 1000))
def test_who_has_waited_may_take_again(amount: float) -> None:
    shares, now = Shares(RATES.__getitem__), 100.0
    shares.spend("slow", amount, now)
    waited = 0.0
    while wait := shares.wait("slow", now + waited):
        waited += wait
        assert waited < amount / RATES["slow"] + 2 * MOST_WAIT_S
    assert waited >= (amount - RATES["slow"] * BURST_S) / RATES["slow"] - 1e-6


def test_a_clock_that_goes_back_gives_nothing_and_takes_nothing() -> None:
    shares = Shares(RATES.__getitem__)
    shares.spend("slow", 100.0, 50.0)
    before = shares.wait("slow", 50.0)
    assert shares.wait("slow", 10.0) == before > 0


def lags(*seen: tuple[float, float]) -> Lags:
    made = Lags(120.0)
    for at, lag in seen:
        made.note(at, lag)
    return made


def test_what_waits_too_long_for_half_a_minute_is_not_slow_yet() -> None:
    assert not lags((0, 200), (30, 230)).is_slow(120)
    assert lags((0, 200), (60, 260)).is_slow(120)
    assert not lags((0, 90), (60, 110)).is_slow(120)
    assert not lags().is_slow(120)


def test_what_gets_less_by_half_of_the_time_that_passes_is_on_its_way() -> None:
    assert not lags((0, 900), (60, 860)).is_slow(120)
    assert lags((0, 900), (60, 880)).is_slow(120)
    assert not lags((0, 900), (60, 960), (200, 800)).is_slow(120)  # the first is too long ago, and one says nothing
