"""Which sequence numbers of one site and epoch are committed: a high-water mark, and spans beyond it. Pure.

As in TCP with selective acknowledgement (RFC 2018): the newest state goes before the history behind it, so what comes
beyond a gap is remembered too, and nothing is sent twice for it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from operator import itemgetter

from rmm.model.envelope import Marks, Span

MOST_SPANS = 4096  # beyond the high-water mark; a span that does not fit is forgotten, and is sent again

_begin, _end = itemgetter(0), itemgetter(1)


def covers(marks: Marks, number: int) -> bool:
    """Whether the number is committed."""
    if number <= marks.high or not marks.above:
        return 1 <= number <= marks.high
    place = bisect_right(marks.above, number, key=_begin)
    return place > 0 and number <= marks.above[place - 1][1]


def includes(marks: Marks, first: int, last: int) -> bool:
    """Whether all numbers of a span are committed."""
    if last <= marks.high or not marks.above:
        return first >= 1 and last <= marks.high
    place = bisect_right(marks.above, first, key=_begin)
    return place > 0 and last <= marks.above[place - 1][1]


def spans(marks: Marks) -> Iterator[Span]:
    """All that is committed, ascending."""
    if marks.high:
        yield 1, marks.high
    yield from marks.above


def minus(marks: Marks, other: Marks) -> Iterator[Span]:
    """What is committed by `marks` and not by `other`, ascending."""
    marks, other = _apart(marks, other)
    missing = gaps(other, last_of(marks))
    gap = next(missing, None)
    for first, last in spans(marks):
        while gap is not None and gap[1] < first:
            gap = next(missing, None)
        while gap is not None and gap[0] <= last:
            yield max(first, gap[0]), min(last, gap[1])
            if gap[1] > last:
                break
            gap = next(missing, None)


def _apart(marks: Marks, other: Marks) -> tuple[Marks, Marks]:
    """Without the last spans where both have the same: mostly only the first of many have changed."""
    same = min(len(marks.above), len(other.above))
    if same and marks.above[-same:] == other.above[-same:]:
        return Marks(marks.high, marks.above[:-same]), Marks(other.high, other.above[:-same])
    return marks, other


def clipped(marks: Marks, last: int) -> Marks:
    """Without the numbers behind `last`."""
    if last_of(marks) <= last:
        return marks
    above = tuple((begin, min(end, last)) for begin, end in marks.above if begin <= last)
    return Marks(min(marks.high, last), above)


def last_of(marks: Marks) -> int:
    """The highest number that is committed; 0 without any."""
    return marks.above[-1][1] if marks.above else marks.high


def gaps(marks: Marks, up_to: int = 0) -> Iterator[Span]:
    """What is missing below the last number that is known to exist, oldest first.

    `up_to`: a number that is known to exist although it is not committed.
    """
    begin = marks.high + 1
    for first, last in marks.above:
        yield begin, first - 1
        begin = last + 1
    if begin <= up_to:
        yield begin, up_to


def added(marks: Marks, first: int, last: int) -> Marks:
    """With the numbers from `first` to `last` as well. ValueError for a span that is none."""
    if not 1 <= first <= last:
        raise ValueError(f"no span: {first} to {last}")
    if includes(marks, first, last):
        return marks
    above = marks.above
    # Those that it touches; a site that catches up has thousands, so the others are not looked at.
    begin = bisect_left(above, first - 1, key=_end)
    end = bisect_right(above, last + 1, key=_begin)
    if begin < end:
        first, last = min(first, above[begin][0]), max(last, above[end - 1][1])
    if first <= marks.high + 1:
        return Marks(max(marks.high, last), above[end:])
    return Marks(marks.high, (*above[:begin], (first, last), *above[end:])[:MOST_SPANS])
