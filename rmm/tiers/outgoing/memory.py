"""The twin of the file of the outgoing log: the same shelf in memory, for tests and simulations."""

from __future__ import annotations

import copy
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice

from rmm.model.envelope import DROPPED, OBSERVATION
from rmm.model.outgoing import METRICS, Books, Row
from rmm.tiers.outgoing.shelf import Stored


class MemoryShelf:
    """`log.Shelf`. A change that fails is not taken back: nothing here fails."""

    def __init__(self) -> None:
        self._places: list[int] = []  # ascending
        self._graded: list[int] = []
        self._entries: dict[int, Stored] = {}
        self._ids: dict[bytes, int] = {}
        self._newest: dict[str, int] = {}
        self._notes: dict[int, dict[int, int]] = {}
        self._books = Books()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        yield

    def books(self) -> Books:
        return copy.deepcopy(self._books)

    def save(self, books: Books) -> None:
        self._books = books

    def put(self, entry: Stored) -> bool:
        place = entry.row.place
        if entry.id is not None:
            if entry.id in self._ids:
                return False
            self._ids[entry.id] = place
        _add(self._places, place)
        if entry.row.grade != METRICS:
            _add(self._graded, place)
        self._entries[place] = entry
        if entry.endpoint:
            self._newest[entry.endpoint] = place
        return True

    def rows(self, after: int, most: int, *, graded: bool = False) -> list[Row]:
        places = self._graded if graded else self._places
        begin = bisect_right(places, after)
        return [self._entries[place].row for place in places[begin : begin + most]]

    def metrics(self, after: int, most: int) -> list[Row]:
        begin = bisect_right(self._places, after)
        behind = (self._entries[place] for place in islice(self._places, begin, None))
        return [one.row for one in islice((o for o in behind if o.row.grade == METRICS and o.kind != DROPPED), most)]

    def before(self, at: int) -> tuple[Row, str] | None:
        found = bisect_right(self._places, at)
        if not found:
            return None
        one = self._entries[self._places[found - 1]]
        return one.row, one.kind

    def newest(self) -> list[Row]:
        found = (self._entries.get(place) for place in sorted(self._newest.values(), reverse=True))
        return [one.row for one in found if one is not None and one.kind == OBSERVATION]

    def read(self, places: Sequence[int]) -> list[Stored]:
        return [self._entries[place] for place in sorted(places) if place in self._entries]

    def sum(self, first: int, last: int) -> tuple[int, int]:
        found = [self._entries[place] for place in self._between(first, last)]
        sizes = [one.row.size for one in found if one.kind != DROPPED]
        return len(sizes), sum(sizes)

    def first_at(self, first: int, last: int) -> int | None:
        found = (self._entries[place] for place in self._between(first, last))
        return next((one.at for one in found if one.kind != DROPPED), None)

    def any(self, first: int, last: int) -> bool:
        return bool(self._between(first, last))

    def end_of(self, first: int, last: int, most: int) -> int | None:
        found = self._between(first, last)[:most]
        return found[-1] if found else None

    def delete(self, first: int, last: int) -> None:
        self.remove(place for place in self._between(first, last) if place + self._entries[place].row.span - 1 <= last)

    def remove(self, places: Iterable[int]) -> None:
        gone = [place for place in places if place in self._entries]
        for place in gone:
            one = self._entries.pop(place)
            if one.id is not None:
                del self._ids[one.id]
        for listed in (self._places, self._graded):
            _cut(listed, gone)

    def note(self, at: int, highs: dict[int, int]) -> None:
        self._notes[at] = highs

    def notes(self) -> list[tuple[int, dict[int, int]]]:
        return sorted(self._notes.items())

    def forget_notes(self, before: int, behind: int) -> None:
        self._notes = {at: highs for at, highs in self._notes.items() if before <= at <= behind}

    def tidy(self) -> None:
        least = self._places[0] if self._places else 0
        self._newest = {endpoint: place for endpoint, place in self._newest.items() if place >= least}

    def close(self) -> None:
        pass

    def _between(self, first: int, last: int) -> list[int]:
        return self._places[bisect_left(self._places, first) : bisect_right(self._places, last)]


def _add(places: list[int], place: int) -> None:
    if not places or place > places[-1]:
        places.append(place)
    else:
        insort(places, place)


def _cut(places: list[int], gone: Sequence[int]) -> None:
    if not gone:
        return
    begin, end = bisect_left(places, min(gone)), bisect_right(places, max(gone))
    removed = set(gone)
    places[begin:end] = [place for place in places[begin:end] if place not in removed]
