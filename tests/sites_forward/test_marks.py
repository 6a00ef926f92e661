"""Marks against sets of numbers."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmm.core import marks as m
from rmm.model.envelope import Marks, Span

NUMBERS = st.integers(1, 40)
SPANS = st.lists(st.tuples(NUMBERS, st.integers(0, 6)).map(lambda one: (one[0], one[0] + one[1])), max_size=12)


def of(spans: list[Span]) -> Marks:
    marks = Marks()
    for first, last in spans:
        marks = m.added(marks, first, last)
    return marks


def numbers(marks: Marks) -> set[int]:
    return {number for first, last in m.spans(marks) for number in range(first, last + 1)}


def meant(spans: list[Span]) -> set[int]:
    return {number for first, last in spans for number in range(first, last + 1)}


@given(SPANS, st.randoms())
def test_they_are_the_numbers_that_were_added_in_any_order(spans: list[Span], chance: object) -> None:
    shuffled = list(spans)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    assert of(spans) == of(shuffled) == of([*spans, *shuffled])
    assert numbers(of(spans)) == meant(spans)


@given(SPANS)
def test_their_form_is_one(spans: list[Span]) -> None:
    marks = of(spans)
    end = marks.high
    for first, last in marks.above:
        assert end + 1 < first <= last
        end = last
    assert marks.high == max((n for n in range(80) if set(range(1, n + 1)) <= meant(spans)), default=0)


@given(SPANS, st.integers(-2, 60))
def test_covers(spans: list[Span], number: int) -> None:
    assert m.covers(of(spans), number) == (number in meant(spans))


@given(SPANS, NUMBERS, st.integers(0, 8))
def test_includes(spans: list[Span], first: int, more: int) -> None:
    wanted = set(range(first, first + more + 1))
    assert m.includes(of(spans), first, first + more) == (wanted <= meant(spans))


def test_nothing_before_the_first_number_is_included() -> None:
    assert not m.includes(of([(1, 5)]), 0, 3)
    assert not m.includes(of([(1, 5), (7, 9)]), 0, 3)


@given(SPANS, st.integers(0, 60))
def test_gaps(spans: list[Span], up_to: int) -> None:
    marks = of(spans)
    found = list(m.gaps(marks, up_to))
    end = max(m.last_of(marks), up_to)
    assert meant(found) == set(range(1, end + 1)) - meant(spans)
    assert all(first <= last for first, last in found)
    assert found == sorted(found)


@given(SPANS)
def test_last(spans: list[Span]) -> None:
    assert m.last_of(of(spans)) == max(meant(spans), default=0)


@given(SPANS, SPANS)
def test_minus(spans: list[Span], others: list[Span]) -> None:
    found = list(m.minus(of(spans), of(others)))
    assert meant(found) == meant(spans) - meant(others)
    assert all(before[1] < after[0] for before, after in pairwise(found))


@given(SPANS, st.integers(0, 60))
def test_clipped(spans: list[Span], last: int) -> None:
    marks = m.clipped(of(spans), last)
    assert numbers(marks) == {number for number in meant(spans) if number <= last}
    assert marks == of(list(m.spans(marks)))


@pytest.mark.parametrize("span", [(0, 1), (3, 2), (-1, -1)])
def test_a_span_that_is_none(span: Span) -> None:
    with pytest.raises(ValueError, match="no span"):
        m.added(Marks(), *span)


def test_too_many_spans_forget_the_newest_which_is_sent_again() -> None:
    marks = Marks()
    for number in range(m.MOST_SPANS + 10):
        marks = m.added(marks, 2 * number + 2, 2 * number + 2)
    assert len(marks.above) == m.MOST_SPANS
    assert m.covers(marks, 2)
    assert not m.covers(marks, 2 * (m.MOST_SPANS + 10))
    assert m.added(marks, 1, 2 * m.MOST_SPANS) == Marks(2 * m.MOST_SPANS)
