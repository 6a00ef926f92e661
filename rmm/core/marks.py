"""Which sequence numbers of one site and epoch are committed: a high-water mark, and spans beyond it. Pure.

As in TCP with selective acknowledgement (RFC 2018): the newest state goes before the history behind it, so what comes
beyond a gap is remembered too, and nothing is sent twice for it.
"""

from __future__ import annotations

from collections.abc import Iterator

from rmm.model.envelope import Marks, Span

MOST_SPANS = 4096  # beyond the high-water mark; a span that does not fit is forgotten, and is sent again


def covers(marks: Marks, number: int) -> bool:
    """Whether the number is committed."""
    return 1 <= number <= marks.high or any(first <= number <= last for first, last in marks.above)


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
    spans: list[Span] = []
    for one in sorted((*marks.above, (first, last))):
        if spans and one[0] <= spans[-1][1] + 1:
            spans[-1] = (spans[-1][0], max(spans[-1][1], one[1]))
        else:
            spans.append(one)
    high = marks.high
    while spans and spans[0][0] <= high + 1:
        high = max(high, spans.pop(0)[1])
    return Marks(high, tuple(spans[:MOST_SPANS]))
