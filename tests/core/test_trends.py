"""Samples taken together, against the plainest computation of the same."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rmm.core.trends import points, rolled, step_for, together, widened

START = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
numbers = st.floats(-1e12, 1e12) | st.floats(allow_nan=False, allow_infinity=False)
samples = st.dictionaries(st.integers(0, 10**6), numbers, max_size=60).map(
    lambda found: [(START + timedelta(seconds=at), value) for at, value in sorted(found.items())]
)


@settings(max_examples=300, deadline=None)
@given(samples, st.sampled_from(["hour", "day"]))
def test_hours_and_days(found: list[tuple[datetime, float]], step: str) -> None:
    made = list(rolled(found, step))
    form = "%Y-%m-%d %H" if step == "hour" else "%Y-%m-%d"
    by: dict[str, list[float]] = {}
    for at, value in found:
        by.setdefault(at.strftime(form), []).append(value)
    assert [one.at.strftime(form) for one in made] == list(by)
    for one, values in zip(made, by.values(), strict=True):
        assert (one.at.minute, one.at.second, one.at.microsecond) == (0, 0, 0)
        assert (one.samples, one.min, one.max, one.last) == (len(values), min(values), max(values), values[-1])
        largest = max(abs(one.min), abs(one.max))  # large ones may cancel each other, and leave what they were off by
        assert math.isclose(
            one.mean, sum(value / len(values) for value in values), rel_tol=1e-9, abs_tol=1e-9 * largest
        )
        assert one.min <= one.mean <= one.max


@settings(max_examples=300, deadline=None)
@given(samples.filter(bool), st.sampled_from(["hour", "day"]))
def test_the_whole_is_the_same_from_samples_and_from_steps(found: list[tuple[datetime, float]], step: str) -> None:
    one, other = together(points(found)), together(list(rolled(found, step)))
    assert (one.samples, one.min, one.max, one.last) == (other.samples, other.min, other.max, other.last)
    assert math.isclose(one.mean, other.mean, rel_tol=1e-9, abs_tol=1e-9 * max(abs(one.min), abs(one.max)))


@given(st.datetimes(timezones=st.just(UTC)), st.datetimes(timezones=st.just(UTC)), st.sampled_from(["hour", "day"]))
def test_a_span_is_widened_to_whole_steps(since: datetime, until: datetime, step: str) -> None:
    begin, end = widened(since, until, step)
    length = timedelta(hours=1) if step == "hour" else timedelta(days=1)
    assert timedelta(0) <= since - begin < length
    assert timedelta(0) <= end - until < length
    assert widened(begin, end, step) == (begin, end)
    assert (begin.minute, begin.second, end.minute, end.second) == (0, 0, 59, 59)


def test_a_sum_that_is_no_number_any_more() -> None:
    (one,) = rolled([(START + timedelta(seconds=n), 1.6e308) for n in range(10)], "hour")
    assert one.mean == pytest.approx(1.6e308)
    assert together([one, one]).mean == pytest.approx(1.6e308)


def test_what_a_span_is_told_in() -> None:
    spans = ((1, "raw"), (2, "raw"), (3, "hour"), (60, "hour"), (61, "day"), (5000, "day"))
    assert [step_for(START - timedelta(days=days), START) for days, _ in spans] == [step for _, step in spans]


def test_a_mean_is_never_outside_by_the_rounding_of_a_division() -> None:
    for value in (0.1, 1 / 3, 1e-320, 4.35):
        for count in range(1, 200):
            (one,) = rolled([(START + timedelta(seconds=n), value) for n in range(count)], "hour")
            assert (one.min, one.mean, one.max) == (value, value, value)
