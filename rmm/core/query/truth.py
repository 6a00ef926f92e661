"""Three-valued logic over functions: True, False, and None for unknown.

What is compared with nothing known is unknown; so is what depends on it, unless the rest decides.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

MOST_KNOWN = 10_000  # texts

Row = Sequence[Any]
Test = Callable[["Places"], bool | None]


class Part(NamedTuple):
    """What is known of one collector of one endpoint: the rows of its reading, None where it has none.

    `blank` stands for its row where there is no row: it says at most something about the reading.
    """

    rows: Sequence[Row] | None
    blank: Row


class Facts(NamedTuple):
    """Of one endpoint: its parts, and what any, all and count found out of them."""

    parts: Mapping[str, Part]
    told: dict[int, Any]


Places = list[Any]  # [the endpoint's row, Facts, then one row for each collector that is not inside any, all or count]
FIRST = 2


class Bound(NamedTuple):
    """A test, and the places that it looks at beside the endpoint."""

    test: Test
    places: frozenset[int]


def text_test(place: int, position: int, fits: Callable[[str], bool]) -> Test:
    """Whether a text fits. A fleet has few different ones, so each is asked once."""
    known: dict[str, bool] = {}

    def test(at: Places) -> bool | None:
        value = at[place][position]
        if type(value) is not str:
            return None
        found = known.get(value)
        if found is None:
            if len(known) >= MOST_KNOWN:
                known.clear()
            found = known[value] = fits(value)
        return found

    return test


def value_test(get: Callable[[Places], Any], fits: Callable[[Any], bool]) -> Test:
    """Whether a value fits."""

    def test(at: Places) -> bool | None:
        value = get(at)
        return None if value is None else fits(value)

    return test


def opposite(test: Test) -> Test:
    """True where the test is false."""

    def other(at: Places) -> bool | None:
        found = test(at)
        return None if found is None else not found

    return other


def joined(parts: Sequence[Bound], *, every: bool) -> Bound:
    """Whether all of them are true, or one is; the first that decides is the last that is asked."""
    tests, decides = [part.test for part in parts], not every

    def test(at: Places) -> bool | None:
        known: bool | None = every
        for one in tests:
            found = one(at)
            if found is decides:
                return decides
            if found is None:
                known = None
        return known

    return Bound(test, frozenset[int]().union(*(part.places for part in parts)))


def any_of(test: Test, at: Places, rows: Sequence[Row]) -> bool | None:
    """Whether the test is true of a row; `at` has a place for it."""
    known: bool | None = False
    for row in rows:
        at[FIRST] = row
        found = test(at)
        if found:
            return True
        if found is None:
            known = None
    return known


def all_of(test: Test, at: Places, rows: Sequence[Row]) -> bool | None:
    """Whether the test is true of every row."""
    found = any_of(opposite(test), at, rows)
    return None if found is None else not found


def count_of(test: Test, at: Places, rows: Sequence[Row]) -> int:
    """Of how many rows the test is true."""
    found = 0
    for row in rows:
        at[FIRST] = row
        found += test(at) is True
    return found
