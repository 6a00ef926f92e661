"""What the hub remembers of each site: what is committed, fences, what was refused. As the database has it.

The database has the numbers of an epoch for as long as there is room for its row, so that what somebody has recorded
is known whenever it is sent again. No age is looked at: clocks of sites may be wrong by years, and a site that was
away for longer than anything is kept has to be heard. In memory, and in receipts, is what grew within RECENT, and of
that the newest: a site may make up as many epochs as it likes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import NamedTuple

import msgspec

from rmm.core.fences import Fences
from rmm.core.marks import added, covers, gaps
from rmm.errors import EnvelopeError
from rmm.hub.folding import Folding
from rmm.model.envelope import Entry, Marks, Span
from rmm.model.incident import Act
from rmm.model.sites import EpochMarks, Refused
from rmm.tiers.fleet_sqlite import FleetStore
from rmm.tiers.fleet_sqlite.sites import RECENT, SiteStore

MOST_KEPT = 100_000  # epochs of a site that the database remembers
MOST_EPOCHS = 1000  # of a site, in memory and in a receipt
MOST_WANTED = 64  # gaps of an epoch, in a receipt
MOST_SPANS, MOST_GAPS = 16_384, 4096  # of all epochs in a receipt: at 19 bytes each they are three quarters of it
EARLIEST, LATEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)  # of what is taken

HUB = "hub"  # who, in the audit log
REFUSED = "refused"

Epoch = tuple[str, str]  # site, epoch


class Numbered(NamedTuple):
    """An entry with the epoch that its number is of."""

    site: str
    epoch: str
    entry: Entry
    act: Act | None = None  # that is in it


class Books:
    """One per process. `commit` writes in the transaction of the caller; `committed` is for after it."""

    def __init__(self) -> None:
        self._marks: dict[str, dict[str, EpochMarks]] = {}
        self._fences = Fences()
        self._refused: dict[str, Counter[str]] = {}
        self._uncounted: Counter[tuple[str, str]] = Counter()  # (site, reason), not written yet
        self._acts: list[Act] = []
        self._told: dict[tuple[str, str], datetime] = {}  # when the audit log last had that reason of that site
        self._new: set[Epoch] = set()  # of which the database has nothing
        self._fresh: list[EpochMarks] = []  # what the last commit wrote: marks, fences, counts, how many acts
        self._fenced = 0, 0  # how many of them are being written
        self._counted: Counter[tuple[str, str]] = Counter()
        self._acted = 0

    async def load(self, store: FleetStore, sites: Iterable[str], now: datetime) -> None:
        """What the database has. Inside a transaction."""
        database = SiteStore(store)
        self._put(await database.marks(sites, now - RECENT))
        self._trim()
        self._fences = Fences(await database.fences())
        for one in await database.refused():
            self._refused.setdefault(one.site, Counter())[one.reason] = one.number

    def _put(self, rows: Iterable[EpochMarks]) -> None:
        for one in rows:
            epochs = self._marks.setdefault(one.site, {})
            epochs.pop(one.epoch, None)  # what grew last is at the end
            epochs[one.epoch] = one
            self._new.discard((one.site, one.epoch))

    def _trim(self) -> None:
        for site, epochs in self._marks.items():
            if len(epochs) > MOST_EPOCHS:
                self._marks[site] = dict(list(epochs.items())[-MOST_EPOCHS:])

    def holds(self, site: str, epoch: str) -> bool:
        """Whether it is known what is committed of an epoch; if not, `recall` it before `has` is asked."""
        return epoch in self._marks.get(site, {}) or (site, epoch) in self._new

    async def recall(self, store: FleetStore, epochs: Iterable[Epoch], now: datetime) -> None:
        """What the database has of those of which nothing came for long; of new ones it is known that it has nothing.

        Inside a transaction. They count as recent then: their site is told of them, and sends nothing in vain. All of
        these are held until others are recalled or something is committed.
        """
        held = [one for one in epochs if self.holds(*one)]
        unknown = set(epochs) - {*held}
        found = await SiteStore(store).marks_of(unknown)
        for site, epoch in held:
            if (known := self._marks.get(site, {}).get(epoch)) is not None:
                self._put([known])  # again, as the newest
        self._trim()
        self._put(msgspec.structs.replace(one, at=now) for one in found)
        self._new = self._new.intersection(held) | (unknown - {(one.site, one.epoch) for one in found})

    def has(self, site: str, epoch: str, number: int) -> bool:
        """Whether the entry of this number is committed."""
        known = self._marks.get(site, {}).get(epoch)
        return known is not None and covers(known.marks, number)

    def knows(self, site: str) -> bool:
        """Whether anything came of a site within RECENT."""
        return bool(self._marks.get(site))

    def marks(self, site: str) -> dict[str, Marks]:
        """What is committed of each epoch, of the newest ones.

        Spans beyond MOST_SPANS are left out, the newest epoch's last: what they cover comes again, and is known.
        """
        epochs = self._marks.get(site, {})
        left, found = MOST_SPANS, {}
        for epoch in list(epochs)[: -MOST_EPOCHS - 1 : -1]:
            marks = epochs[epoch].marks
            if len(marks.above) > left:
                marks = Marks(marks.high, marks.above[:left])
            left -= len(marks.above)
            found[epoch] = marks
        return dict(reversed(found.items()))

    def wanted(self, site: str) -> dict[str, tuple[Span, ...]]:
        """The gaps of these epochs, oldest first."""
        left, found = MOST_GAPS, {}
        for epoch, marks in reversed(self.marks(site).items()):
            if spans := tuple(islice(gaps(marks), min(left, MOST_WANTED))):
                left -= len(spans)
                found[epoch] = spans
        return dict(reversed(found.items()))

    def refused(self, site: str) -> Mapping[str, int]:
        """Reason -> how often."""
        return self._refused.get(site, {})

    def refuse(self, site: str, reason: str, text: str, now: datetime, count: int = 1) -> bool:
        """Count what is refused; whether nothing was said of that reason of that site in this hour."""
        self._refused.setdefault(site, Counter())[reason] += count
        self._uncounted[site, reason] += count
        before = self._told.get((site, reason))
        if before is not None and timedelta(0) <= now - before < timedelta(hours=1):
            return False
        self._told[site, reason] = now
        detail = f"of site {site}: {text}"[:500]
        self._acts.append(Act(at=now, who=HUB, what=REFUSED, reason=reason, detail=detail))
        return True

    @property
    def unwritten(self) -> bool:
        """Whether something was refused that the database does not know of."""
        return bool(self._uncounted)

    def is_stale(self, site: str, collector: str, entry: Entry) -> bool:
        """Whether it was written under a lease after another collector had begun under a later one."""
        return self._fences.is_stale(site, collector, entry)

    async def commit(self, store: FleetStore, entries: Collection[Numbered], now: datetime) -> None:
        """Write the numbers of these entries, what people did at the site, and what was refused meanwhile."""
        database = SiteStore(store)
        places = {(one.site, one.epoch) for one in entries}
        known = {(one.site, one.epoch): one.marks for one in await database.marks_of(places)} if places else {}
        grown: dict[Epoch, list[Span]] = {}
        acts: list[Act] = []
        for one in entries:
            entry, place = one.entry, (one.site, one.epoch)
            if one.act is not None and not covers(known.get(place, Marks()), entry.seq):
                acts.append(one.act)
            grown.setdefault(place, []).append((entry.seq, entry.seq + entry.count - 1))
        fresh = [
            EpochMarks(site, epoch, now, _with(known.get((site, epoch), Marks()), spans))
            for (site, epoch), spans in grown.items()
        ]
        await database.put_marks(fresh)
        self._fenced = len(self._fences.moved), len(self._fences.dropped)
        await database.put_fences(self._fences.moved)
        await database.drop_fences(self._fences.dropped)
        self._fresh, self._counted, self._acted = fresh, Counter(self._uncounted), len(self._acts)
        acts += self._acts
        await database.add_refused(Refused(*place, now, count) for place, count in self._counted.items())
        await store.add_acts(acts)

    def give_up(self) -> None:
        """What would be written beside entries is not: it may be what cannot be written."""
        self._fences.written(len(self._fences.moved), len(self._fences.dropped))
        self._uncounted.clear()
        self._acts.clear()

    def committed(self) -> None:
        """The transaction of the last `commit` is durable."""
        self._put(self._fresh)
        self._trim()
        self._uncounted -= self._counted
        del self._acts[: self._acted]
        self._fences.written(*self._fenced)
        self._fresh, self._fenced, self._counted, self._acted = [], (0, 0), Counter(), 0

    async def flush(self, coordinator: Folding, now: datetime) -> None:
        """Write what was refused, where nothing is taken with which it would be. Raises TierError and LeaseLost."""
        if self._uncounted:
            await coordinator.change(lambda _: (), lambda store: self.commit(store, (), now))
            self.committed()

    async def forget(self, store: FleetStore, now: datetime) -> None:
        """Put epochs of which nothing came for RECENT out of mind; `recall` brings them back. Inside a transaction."""
        await SiteStore(store).trim_marks(self._marks, MOST_KEPT)
        for site, epochs in self._marks.items():
            self._marks[site] = {name: one for name, one in epochs.items() if one.at >= now - RECENT}


def _with(marks: Marks, spans: list[Span]) -> Marks:
    """With all of these spans, of which those that touch are put together first."""
    joined: list[Span] = []
    for first, last in sorted(spans):
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = joined[-1][0], max(last, joined[-1][1])
        else:
            joined.append((first, last))
    for first, last in joined:
        marks = added(marks, first, last)
    return marks


_act = msgspec.json.Decoder(Act).decode


def check_time(at: datetime) -> None:
    """EnvelopeError for a time that nothing can be of: with one at the end of the calendar no computing is safe."""
    if at.tzinfo is None or not EARLIEST <= at <= LATEST:
        raise EnvelopeError(f"a time that is none: {at}", code="entry.format")


def act_of(site: str, entry: Entry) -> Act:
    """What somebody did at a site, as the hub's audit log has it: it concerns no alert of the hub.

    Raises msgspec.MsgspecError, and EnvelopeError for a time at which nobody can have done anything.
    """
    one = _act(entry.body)
    check_time(one.at)
    return Act(
        at=one.at, who=f"{one.who[:100]} at {site}", what=f"{one.what[:40]} (site)", reason=one.reason[:500],
        detail=" ".join(filter(None, (one.key[:300], one.detail[:500]))),
    )  # fmt: skip
