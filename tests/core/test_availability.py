"""Uptime: seconds add up, gaps are never up, and pieces come to the same as the whole."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from rmm.core.availability import (
    DOWN,
    GAP,
    MAINTENANCE,
    UP,
    Except,
    Uptime,
    excepting,
    joined,
    kind_of,
    stretch,
    together,
    uptime,
)

LIMIT, END = 100, 2000
WORDS = ("OK", "PARTIAL", "UNREACHABLE", "TIMEOUT", "AUTH_HELD", "SITE_DOWN", "ACCESS_DENIED")
seen = st.dictionaries(st.integers(0, END), st.sampled_from(WORDS), min_size=1, max_size=60).map(
    lambda found: sorted(found.items())
)
cuts = st.lists(st.integers(0, END), max_size=8, unique=True).map(
    lambda edges: [
        Except(begin, end, (GAP, MAINTENANCE)[begin % 2])
        for begin, end in zip(sorted(edges)[::2], sorted(edges)[1::2], strict=False)
    ]
)


def plainly(found: list[tuple[int, str]], excepted: list[Except]) -> Uptime:
    """The same, moment by moment."""
    sums = {UP: 0, DOWN: 0, GAP: 0, MAINTENANCE: 0}
    times = [at for at, _ in found]
    for moment in range(END):
        before = [n for n, at in enumerate(times) if at <= moment]
        kind = GAP
        if before:
            following = times[before[-1] + 1] if before[-1] + 1 < len(times) else END
            if following - times[before[-1]] <= LIMIT:
                kind = kind_of(found[before[-1]][1])
        kind = next((one.what for one in excepted if one.begin <= moment < one.end), kind)
        sums[kind] += 1
    kinds = [kind_of(word) for _, word in found]
    outages = sum(a != DOWN and b == DOWN for a, b in pairwise(kinds))
    return Uptime(sums[UP], sums[DOWN], sums[GAP], sums[MAINTENANCE], outages)


@settings(max_examples=150, deadline=None)
@given(seen, cuts, st.lists(st.integers(1, 59), max_size=4))
def test_pieces_come_to_what_is_counted_moment_by_moment(
    found: list[tuple[int, str]], excepted: list[Except], edges: list[int]
) -> None:
    places = [0, *sorted({edge for edge in edges if edge < len(found)}), len(found)]
    pieces = [found[a:b] for a, b in pairwise(places)]
    parts = []
    for piece in pieces:
        words = [word for _, word in piece]
        alike = words[0] if len(set(words)) == 1 else words
        parts.append(stretch([at for at, _ in piece], alike, LIMIT, excepted))
    whole = joined(parts[::-1], LIMIT, excepted)
    assert whole is not None
    told = uptime(whole, 0, END, LIMIT, excepted)
    assert told == plainly(found, excepted)
    assert told.up + told.down + told.gap + told.maintenance == END


def test_what_overlaps_is_not_joined() -> None:
    one, two = stretch([0, 50, 100], "OK", LIMIT), stretch([100, 150], "OK", LIMIT)
    assert joined([one, two], LIMIT) is None


def test_nothing_seen_is_a_gap() -> None:
    told = uptime(None, 0, END, LIMIT)
    assert told == Uptime(0, 0, END, 0, 0)
    assert told.percent is None and together([]).percent is None


def test_maintenance_does_not_count() -> None:
    found = stretch(
        [0, 90, 180, 270], ["OK", "UNREACHABLE", "UNREACHABLE", "OK"], LIMIT, [Except(90, 270, MAINTENANCE)]
    )
    told = uptime(found, 0, 300, LIMIT, [Except(90, 270, MAINTENANCE)])
    assert told.percent == 100 and told.maintenance == 180


def test_of_what_is_unseen_and_maintained_it_is_maintenance() -> None:
    found = excepting([(0, 10), (20, 40), (50, 60)], [(5, 6), (8, 25), (30, 32), (58, 70)])
    assert found == [
        (0, 5, GAP), (5, 6, MAINTENANCE), (6, 8, GAP), (8, 25, MAINTENANCE), (25, 30, GAP), (30, 32, MAINTENANCE),
        (32, 40, GAP), (50, 58, GAP), (58, 70, MAINTENANCE),
    ]  # fmt: skip
