"""The outgoing log of a site collector: what the hub has not committed yet, and what it has, for a while.

The rules are here; a `Shelf` keeps entries, in a file or in memory. Not for several threads at once.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from itertools import islice

import msgspec

from rmm.core.clock import noted, settled
from rmm.core.marks import gaps
from rmm.core.outgoing import NOTHING, accept, is_committed, number_of, place, runs, spooled_facts
from rmm.model.envelope import DROPPED, Entry, Receipt
from rmm.model.outgoing import METRICS, Books, Item, News, Row, Spooled
from rmm.model.settings import SiteSettings
from rmm.tiers.outgoing.entries import SINCE, entry_of, micros, stored_of
from rmm.tiers.outgoing.shelf import Shelf, Stored

log = logging.getLogger(__name__)

GB = 10**9
DROPPED_AT_ONCE = 1024  # entries
FORGOTTEN_AT_ONCE = 4096  # entries
SLACK = 200  # of so many parts of a full log one is given up at once
NOTED_EVERY = timedelta(hours=1)  # how far the hub had everything
MOST_GAPS = 64  # that are looked into for the oldest entry
CALM, CALM_SHARE = timedelta(hours=1), 0.7  # nothing given up for so long, and so little waits: there is room again


class Log:
    """One opening of it is one epoch, named by `epoch` (16 hex digits, random)."""

    def __init__(self, shelf: Shelf, settings: SiteSettings, epoch: str) -> None:
        self._shelf = shelf
        self._most = max(1, int(settings.spool_gb * GB))
        self._days = timedelta(days=settings.spool_days)
        self._keep = timedelta(hours=settings.keep_hours)
        self._books = shelf.books()
        self._dropped_before = self._books.dropped
        self._name = epoch
        self._number = self._books.epoch + 1  # it is in the books with the first entry
        self._dropped_up_to = 0
        self._saved = self._books

    @property
    def books(self) -> Books:
        """As they stand; the marks may be newer than those that are stored."""
        return self._books

    @property
    def end(self) -> int:
        """The place of the newest entry."""
        return place(self._books.epoch, self._books.last.get(self._books.epoch, 0))

    def append(self, items: Sequence[Item], now: datetime | None = None) -> list[Row]:
        """Durable on return; what is kept already by its id is passed over. Returns what is new.

        What waited in a spool may be older than `now`, by which the log is full; without one it is the newest item.
        Raises TierError, and then nothing of it is promised.
        """
        entries = [stored_of(item) for item in items]
        books = self._books
        number = books.last.get(self._number, 0)
        kept: list[Row] = []
        given_up = size = 0
        with self._change():
            for entry in entries:
                row = entry.row._replace(place=place(self._number, number + 1))
                if self._shelf.put(msgspec.structs.replace(entry, row=row)):
                    number += 1
                    kept.append(row)
                    given_up += entry.kind == DROPPED
                    size += row.size
            if kept:
                books = msgspec.structs.replace(
                    books,
                    epoch=self._number,
                    names={**books.names, self._number: self._name},
                    last={**books.last, self._number: number},
                    entries=books.entries + len(kept) - given_up,
                    bytes=books.bytes + size,
                    dropped=books.dropped + given_up,
                )
                books = self._in_bounds(books, now or max(item.at for item in items))
                self._shelf.save(books)
        before, self._books, self._saved = self._books, books, books
        self._tell(before)
        return kept

    def rows(self, after: int, most: int, *, graded: bool = False) -> list[Row]:
        """Entries behind a place, in order, committed ones too; `graded`: without METRICS."""
        rows = self._shelf.rows(after, most, graded=graded)
        if not graded and (found := self._shelf.before(after)) and found[0].place + found[0].span - 1 > after:
            rows.insert(0, found[0])  # what was given up, of which the hub knows the beginning
        return rows

    def newest(self) -> list[Row]:
        """The newest observation of each endpoint that is not committed, the newest of all first."""
        return [row for row in self._shelf.newest() if not is_committed(self._books.marks, row.place)]

    def read(self, places: Sequence[int]) -> list[tuple[int, str, Entry]]:
        """Entries with their places and the names of their epochs, in order; what is not there any more is left out.

        One that cannot be read is given up here, and nothing else stops.
        """
        found = self._shelf.read(places)
        return [(one.row.place, self._books.names[number_of(one.row.place)[0]], entry_of(one)) for one in found]

    def cover(self, receipt: Receipt) -> News | None:
        """What a receipt says; None for one that is older than what is known. Stored with the next change."""
        found = accept(self._books, receipt)
        if found is None:
            return None
        books, news = found
        moved = [self._shelf.sum(*span) for span in news.come]
        lost = [self._shelf.sum(*span) for span in news.gone]
        count, size = (sum(one[n] for one in moved) - sum(one[n] for one in lost) for n in (0, 1))
        self._books = msgspec.structs.replace(
            books,
            entries=books.entries - count,
            bytes=books.bytes - size,
            kept=books.kept + count,
            kept_bytes=books.kept_bytes + size,
        )
        if news.gone:
            self._dropped_up_to = 0
            with self._shelf.transaction():
                self._shelf.forget_notes(1 << 62, 0)
                self._shelf.save(self._books)
            self._saved = self._books
        return news

    def tend(self, now: datetime) -> bool:
        """Give up and forget what is too old or too much, some of it at a time; True when there is more to do."""
        books = msgspec.structs.replace(self._books, days=noted(self._books.days, _day(now)))
        known = settled(books.days, _day(now))
        with self._change():
            before = books.dropped
            if known:
                books = self._drop(books, 0, (now - self._days).timestamp(), now)
            books = self._calmed(self._in_bounds(books, now), now)
            more = books.dropped - before >= DROPPED_AT_ONCE
            books, gone = self._forget(books, self._note(books, now) if known else {}, now)
            books = self._forgotten_epochs(books)
            if books != self._saved:
                self._shelf.save(books)
        was, self._books, self._saved = self._books, books, books
        self._tell(was)
        return more or gone >= FORGOTTEN_AT_ONCE

    def spooled(self) -> Spooled:
        """How it stands."""
        return msgspec.structs.replace(
            spooled(self._shelf, self._books),
            lost=self._books.dropped - self._dropped_before,
            limit=self._most,
            problems=tuple(text for at, text in self._problems(self._books) if at is not None),
        )

    def _problems(self, books: Books) -> list[tuple[datetime | None, str]]:
        """When it was seen last, if it is not over, and how it is told."""
        gb, days = f"{self._most / GB:g} GB", f"{self._days / timedelta(days=1):g} days"
        full = (
            f"more waits for the hub than may wait here ({gb}, {days}): the oldest metrics are given up, counted, and "
            "stay in the history of this site; see to the link, or raise `forward.spool_gb` or `forward.spool_days` in "
            "rmm.yaml"
        )
        short = (
            f"what the hub has is kept here for less than {self._keep / timedelta(hours=1):g} hours, as it takes more "
            f"than {gb}: a hub that is restored from a backup may lack some of it; raise `forward.spool_gb` in rmm.yaml"
        )
        return [(books.full_at, full), (books.short_at, short)]

    def close(self) -> None:
        """Store what is only in memory, and let go."""
        try:
            if self._books != self._saved:
                with self._shelf.transaction():
                    self._shelf.save(self._books)
        finally:
            self._shelf.close()

    @contextmanager
    def _change(self) -> Iterator[None]:
        try:
            with self._shelf.transaction():
                yield
        except BaseException:
            self._dropped_up_to = 0  # it was not, after all
            raise

    def _in_bounds(self, books: Books, now: datetime) -> Books:
        excess = books.bytes - self._most
        if excess > 0:
            books = self._drop(books, excess + self._most // SLACK, 0.0, now)
        return books

    def _calmed(self, books: Books, now: datetime) -> Books:
        """What people were told of is over."""
        full, short = books.full_at, books.short_at
        if full is not None and not _within(CALM, full, now) and books.bytes <= CALM_SHARE * self._most:
            full = None
        if short is not None and not _within(self._keep, short, now):
            short = None
        return msgspec.structs.replace(books, full_at=full, short_at=short)

    def _tell(self, before: Books) -> None:
        """What was not wrong before, to the log: once, until it is over."""
        for (was, _), (at, text) in zip(self._problems(before), self._problems(self._books), strict=True):
            if at is not None and was is None:
                log.warning("the outgoing log: %s", text)

    def _drop(self, books: Books, size: int, before: float, now: datetime) -> Books:
        """Give up the oldest METRICS: so many bytes of them, and what was written before a time."""
        places: list[int] = []
        freed = 0
        for row in self._uncommitted_metrics(books):
            if len(places) >= DROPPED_AT_ONCE or (freed >= size and row.at >= before):
                break
            places.append(row.place)
            freed += row.size
        if not places:
            return books
        self._dropped_up_to = max(self._dropped_up_to, places[-1])
        for first, count in runs(places):
            self._give_up(first, count)
        return msgspec.structs.replace(
            books,
            entries=books.entries - len(places),
            bytes=books.bytes - freed,
            dropped=books.dropped + len(places),
            full_at=now,
        )

    def _uncommitted_metrics(self, books: Books) -> Iterator[Row]:
        """Oldest first. Where all of a part was taken or is committed, it is not looked at again."""
        after = self._dropped_up_to
        while rows := self._shelf.metrics(after, 256):
            yield from (row for row in rows if not is_committed(books.marks, row.place))
            after = self._dropped_up_to = rows[-1].place
        self._dropped_up_to = max(after, place(self._number, books.last.get(self._number, 0)))

    def _give_up(self, first: int, count: int) -> None:
        """Put one entry in place of a run, joined with those of the same kind beside it."""
        (found,) = self._shelf.read([first])[:1]
        at = found.at
        gone = list(range(first, first + count))
        before = self._shelf.before(first - 1)
        if before is not None and before[1] == DROPPED and before[0].place + before[0].span == first:
            row = before[0]
            gone.append(row.place)
            first, count, at = row.place, row.span + count, round(row.at * 1e6)
        behind = self._shelf.before(first + count)
        if behind is not None and behind[1] == DROPPED and behind[0].place == first + count:
            gone.append(first + count)
            count += behind[0].span
        self._shelf.remove(gone)
        self._shelf.put(Stored(Row(first, count, 0, at / 1e6, METRICS), DROPPED, at))

    def _note(self, books: Books, now: datetime) -> dict[int, int]:
        """Note how far the hub has everything; returns how far it had that, long enough ago."""
        at, keep = micros(now), round(self._keep.total_seconds() * 1e6)
        notes = self._shelf.notes()
        if not notes or not notes[-1][0] <= at < notes[-1][0] + round(NOTED_EVERY.total_seconds() * 1e6) or not keep:
            self._shelf.note(at, {epoch: marks.high for epoch, marks in books.marks.items()})
            notes = [*notes, (at, {epoch: marks.high for epoch, marks in books.marks.items()})]
        old = [one for one in notes if one[0] <= at - keep]
        self._shelf.forget_notes(old[-1][0] if old else 0, at)
        return old[-1][1] if old else {}

    def _forget(self, books: Books, up_to: dict[int, int], now: datetime) -> tuple[Books, int]:
        """Remove what is committed: up to these numbers, and the oldest where there is more of it than may be."""
        gone = 0
        for epoch in sorted(books.last):
            high = books.marks.get(epoch, NOTHING).high
            until = high if books.kept_bytes > self._most else min(high, up_to.get(epoch, 0))
            first, last = place(epoch, 1), place(epoch, until)
            left = FORGOTTEN_AT_ONCE - gone
            end = self._shelf.end_of(first, last, left) if until and left > 0 else None
            if end is None:
                continue
            count, size = self._shelf.sum(first, end)
            self._shelf.delete(first, end)
            gone += count
            early = self._keep and number_of(end)[1] > up_to.get(epoch, 0)
            books = msgspec.structs.replace(
                books, kept=books.kept - count, kept_bytes=books.kept_bytes - size,
                short_at=now if early else books.short_at,
            )  # fmt: skip
        return books, gone

    def _forgotten_epochs(self, books: Books) -> Books:
        """Epochs of which nothing is left go."""
        over = [
            epoch
            for epoch in books.names
            if epoch != self._number and not self._shelf.any(place(epoch, 0), place(epoch + 1, 0) - 1)
        ]
        if not over:
            return books
        self._shelf.tidy()
        return msgspec.structs.replace(
            books,
            names={epoch: name for epoch, name in books.names.items() if epoch not in over},
            last={epoch: last for epoch, last in books.last.items() if epoch not in over},
            marks={epoch: marks for epoch, marks in books.marks.items() if epoch not in over},
        )


def spooled(shelf: Shelf, books: Books) -> Spooled:
    """How a log stands, for its writer and for readers."""
    return Spooled(oldest=_oldest(shelf, books), **spooled_facts(books))


def _oldest(shelf: Shelf, books: Books) -> datetime | None:
    if not books.entries:
        return None
    missing = (
        (place(epoch, first), place(epoch, end))
        for epoch, last in sorted(books.last.items())
        for first, end in gaps(books.marks.get(epoch, NOTHING), last)
    )
    for first, last in islice(missing, MOST_GAPS):
        if (at := shelf.first_at(first, last)) is not None:
            return SINCE + timedelta(microseconds=at)
    return None


def _within(span: timedelta, since: datetime, now: datetime) -> bool:
    """Whether less than a span has passed; what is later than now comes from a clock that was set back."""
    return timedelta(0) <= now - since < span


def _day(at: datetime) -> int:
    return int(at.timestamp() // 86_400)
