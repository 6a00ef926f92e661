"""What a site collector sends next: the newest state first, history behind it, all of it until the hub has it. Pure.

Events go in (`appended`, `receipt`, `online`, ...), `next` says what to do. Four ways lead to the hub, in this order:

    live      what was just written; it never waits behind history, and is bounded by the window alone
    again     what was sent and got lost
    newest    after a time without a link: the newest observation of each endpoint
    graded    then what has alerts, changes and acts of people
    history   then everything, oldest first

The last three are `catching up`: they go at a bounded rate, and no more of them is on its way than the hub takes in a
moment, so that what is new does not wait in the hub's queue either (as in LEDBAT, RFC 6817, the delay is what is
measured). What is on its way is lost when something that was sent later has come (as in RFC 5681's fast retransmit), or
when a receipt that was heard after its time does not have it: never because the hub is silent.

A place is that of `rmm.model.outgoing`. Times are seconds of a clock that is not set.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from rmm.core.outgoing import is_committed, number_of
from rmm.model.envelope import Marks
from rmm.model.outgoing import Row

MESSAGE = 200_000  # bytes of entries, compressed, in a message; more only where one entry has more
ENTRIES = 64  # in a message
MESSAGES = 64  # that are on their way
WINDOW = 4_000_000  # bytes that are on their way
BEHIND_S = 5.0  # what is new and has waited longer is history
MOST_LIVE = 4096  # new entries that wait
LOOK = 512  # entries that are looked at in one go
LEAST_AHEAD, MOST_AHEAD = 4, 2048  # entries on their way while catching up
MOST_SPANS = 1024  # beyond the hub's high-water mark; then history goes first
DELAY_S = 1.0  # that a receipt may take longer than the quickest, while catching up; twice that is too much
REORDERED_S = 1.0  # what is overtaken in less may be on its way, also in less than most take
TIMEOUT_S, LONGEST_S = 5.0, 300.0
ASK_S, ASK_LONGEST_S = 2.0, 60.0

ENOUGH = 1 - 1e-6  # of a token: what is waited for is not missed by a rounding

LIVE, AGAIN, NEWEST, GRADED, HISTORY = "live", "again", "newest", "graded", "history"


class Look(msgspec.Struct, frozen=True):
    """Look into the log, and tell `found`: rows behind a place, or the newest of each endpoint."""

    way: str  # newest | graded | history
    after: int = 0
    most: int = LOOK


class Send(msgspec.Struct, frozen=True):
    """Send these entries, ascending, all of one epoch; then tell `sent` or `kept_back`."""

    number: int
    places: tuple[int, ...]
    way: str


class Ask(msgspec.Struct, frozen=True):
    """Ask for a receipt."""


class Wait(msgspec.Struct, frozen=True):
    """Nothing to do before this time, or the next event."""

    until: float = math.inf


class _Flight(msgspec.Struct):
    rows: tuple[Row, ...]
    way: str
    size: int
    tries: int
    sent_at: float
    due: float


class Forwarding:
    """One per opening of the outgoing log."""

    def __init__(self, rate: float, now: float) -> None:
        self._rate = max(rate, 0.1)
        self._tokens, self._counted_at = self._rate, now
        self._marks: dict[int, Marks] = {}
        self._spans = 0
        self._online = self._synced = False
        self._heard_at = -math.inf
        self._live: deque[tuple[Row, float]] = deque()
        self._again: deque[_Flight] = deque()
        self._flying: dict[int, _Flight] = {}
        self._busy: set[int] = set()  # places on their way, or to be sent again
        self._bytes = 0
        self._ahead = 0  # entries on their way while catching up
        self._allowed = float(LEAST_AHEAD * 4)  # of them
        self._cut_at = -math.inf
        self._trip, self._base = 0.0, math.inf  # time until a receipt: smoothed, and the least on this link
        self._patience, self._raised_at = TIMEOUT_S, -math.inf
        self._number = 0
        self._newest: deque[Row] = deque()
        self._rows: dict[str, deque[Row]] = {GRADED: deque(), HISTORY: deque()}
        self._after = {GRADED: -1, HISTORY: -1}
        self._open = {NEWEST: False, GRADED: False, HISTORY: False}  # there may be more in the log
        self._paused_until = -math.inf
        self._ask_at, self._ask_s = -math.inf, ASK_S

    @property
    def catching_up(self) -> bool:
        """Whether there is more than what is new and what is on its way."""
        return not self._synced or any(self._open.values()) or bool(self._newest) or any(map(bool, self._rows.values()))

    @property
    def flying(self) -> int:
        """Messages on their way."""
        return len(self._flying)

    def online(self, now: float) -> None:
        """The bus can be reached; what was on its way may be lost, which a receipt will show."""
        self._online, self._synced = True, False
        self._forget_flights()
        self._ask_at, self._ask_s = now, ASK_S
        self._paused_until, self._base = -math.inf, math.inf

    def offline(self) -> None:
        """The bus cannot be reached: what is new is history by the time it can."""
        self._online = self._synced = False
        self._forget_flights()
        self._live.clear()

    def appended(self, rows: Iterable[Row], now: float) -> None:
        """New entries of the log."""
        if self._online:
            self._live.extend((row, now) for row in rows)
            if len(self._live) > MOST_LIVE:
                self._fall_behind()

    def receipt(self, marks: dict[int, Marks], first: int, now: float, *, again: bool) -> None:
        """A receipt that is not older than another. `marks` by epoch; `first`: all before this place is committed.

        `again`: nothing can be said of what is on its way, and it is sent again where it is not committed.
        """
        self._marks = marks
        self._spans = sum(len(one.above) for one in marks.values())
        self._heard_at = now
        self._ask_s = ASK_S
        if again:
            self._forget_flights()
        if again or not self._synced:
            self._synced = True
            self._restart(first - 1)
        landed = [number for number, flight in self._flying.items() if not any(self._missing(flight.rows))]
        # What was sent again says nothing: it may be the first of the two that has come (Karn's algorithm).
        newest = max((number for number in landed if not self._flying[number].tries), default=0)
        for number in landed:
            self._landed(self._take(number), now)
        soonest = now - max(REORDERED_S, 1.5 * self._trip)
        for number in [n for n, one in self._flying.items() if n < newest and one.sent_at <= soonest]:
            self._lost(number, now)

    def sent(self, number: int, now: float) -> None:
        """The bus has the message."""
        flight = self._flying.get(number)
        if flight is not None:
            flight.sent_at = now
            flight.due = now + min(max(self._patience, TIMEOUT_S * 2.0**flight.tries), LONGEST_S)

    def kept_back(self, number: int, now: float, pause_s: float) -> None:
        """The bus has no room for the message, or it could not be read: it is sent again after a pause."""
        if number in self._flying:
            flight = self._take(number)
            self._busy.update(row.place for row in flight.rows)
            self._again.append(flight)
        self._paused_until = now + pause_s

    def gone(self, number: int, places: Iterable[int]) -> None:
        """These entries of a message are not in the log any more: what stands for them is history's."""
        gone = set(places)
        flight = self._flying.get(number)
        if flight is not None and gone:
            flight.rows = tuple(row for row in flight.rows if row.place not in gone)
            self._busy -= gone
            if flight.way not in (LIVE, AGAIN):
                self._ahead -= len(gone)
            if not flight.rows:
                self._take(number)
        if gone:
            self._back_to(HISTORY, min(gone) - 1)

    def found(self, look: Look, rows: Sequence[Row]) -> None:
        """What is in the log."""
        self._open[look.way] = False
        if look.way == NEWEST:
            self._newest = deque(rows)
        elif self._after[look.way] == look.after:  # not begun anew meanwhile
            self._rows[look.way] = deque(rows)
            if rows:
                self._after[look.way] = rows[-1].place + rows[-1].span - 1
            self._open[look.way] = len(rows) >= look.most
        else:
            self._open[look.way] = True

    def next(self, now: float) -> Look | Send | Ask | Wait:
        """What to do now."""
        if not self._online:
            return Wait()
        self._expire(now)
        if self._asks(now) and now >= self._ask_at:
            self._ask_at = now + self._ask_s
            self._ask_s = min(2 * self._ask_s, ASK_LONGEST_S)
            return Ask()
        if now >= self._paused_until and self._has_room(1.0):
            rows, tries, way = self._urgent()
            if rows:
                return self._send(rows, way, tries, now)
            found = self._catch_up(now)
            if found is not None:
                return found
        if self._live and now >= self._live[0][1] + BEHIND_S:
            self._fall_behind()
        return Wait(self._until(now))

    # What is said of messages on their way.

    def _forget_flights(self) -> None:
        self._flying.clear()
        self._again.clear()
        self._busy.clear()
        self._bytes = self._ahead = 0

    def _take(self, number: int) -> _Flight:
        flight = self._flying.pop(number)
        self._busy.difference_update(row.place for row in flight.rows)
        self._bytes -= flight.size
        if flight.way not in (LIVE, AGAIN):
            self._ahead -= len(flight.rows)
        return flight

    def _landed(self, flight: _Flight, now: float) -> None:
        if flight.tries:
            return
        trip = now - flight.sent_at
        self._trip = trip if not self._trip else 0.8 * self._trip + 0.2 * trip
        self._base = min(self._base, trip)
        self._patience = max(TIMEOUT_S, 4 * self._trip)
        if flight.way in (LIVE, AGAIN):
            return
        if trip <= self._base + DELAY_S:
            self._allowed = min(self._allowed + len(flight.rows), MOST_AHEAD)
        elif trip > self._base + 2 * DELAY_S:
            self._cut(flight, now)

    def _cut(self, flight: _Flight, now: float) -> None:
        """Less on its way; once for all that was sent before the last time."""
        if flight.sent_at > self._cut_at:
            self._allowed = max(self._allowed * 0.6, LEAST_AHEAD)
            self._cut_at = now

    def _expire(self, now: float) -> None:
        late = [n for n, one in self._flying.items() if one.due <= now and self._heard_at >= one.due]
        for number in late:
            if self._flying[number].sent_at > self._raised_at:  # the link may be slower than anybody knows yet
                self._patience, self._raised_at = min(2 * self._patience, LONGEST_S), now
            self._lost(number, now)

    def _lost(self, number: int, now: float) -> None:
        flight = self._take(number)
        self._cut(flight, now)
        flight.rows = tuple(self._missing(flight.rows))
        flight.tries += 1
        if flight.rows:
            self._busy.update(row.place for row in flight.rows)
            self._again.append(flight)

    def _missing(self, rows: Iterable[Row]) -> Iterator[Row]:
        return (row for row in rows if not is_committed(self._marks, row.place, row.span))

    def _asks(self, now: float) -> bool:
        """Whether a receipt is missed: none since the bus can be reached, or something is overdue."""
        return not self._synced or any(one.due <= now for one in self._flying.values())

    # What is sent.

    def _has_room(self, share: float) -> bool:
        return len(self._flying) < MESSAGES * share and self._bytes < WINDOW * share

    def _urgent(self) -> tuple[list[Row], int, str]:
        rows = self._message((row for row, _ in self._live), ENTRIES)
        if rows:
            last = rows[-1].place
            while self._live and self._live[0][0].place <= last:
                self._live.popleft()
            return rows, 0, LIVE
        self._live.clear()
        while self._again:
            flight = self._again.popleft()
            self._busy.difference_update(row.place for row in flight.rows)
            if rows := list(self._missing(flight.rows)):
                return rows, flight.tries, AGAIN
        return [], 0, AGAIN

    def _catch_up(self, now: float) -> Look | Send | None:
        if not self._may_catch_up() or self._refill(now) < ENOUGH:
            return None
        most = min(ENTRIES, max(1, int(min(self._allowed / 4, self._tokens))))
        for way in (NEWEST, GRADED, HISTORY):
            if way == GRADED and self._spans >= MOST_SPANS:
                continue
            waiting = self._newest if way == NEWEST else self._rows[way]
            while waiting and not self._is_due(waiting[0]):
                waiting.popleft()
            if rows := self._message(iter(waiting), most):
                taken = set(rows)
                while waiting and waiting[0] in taken:
                    waiting.popleft()
                self._tokens -= len(rows)
                return self._send(sorted(rows), way, 0, now)
            if self._open[way]:
                return Look(way, self._after.get(way, 0))
        return None

    def _is_due(self, row: Row) -> bool:
        return row.place not in self._busy and not is_committed(self._marks, row.place, row.span)

    def _message(self, rows: Iterator[Row], most: int) -> list[Row]:
        """The first that are due, as many as fit, of one epoch."""
        taken: list[Row] = []
        size = epoch = 0
        for row in rows:
            if not self._is_due(row):
                continue
            if taken and (len(taken) >= most or size + row.size > MESSAGE or number_of(row.place)[0] != epoch):
                break
            taken.append(row)
            size += row.size
            epoch = number_of(row.place)[0]
        return taken

    def _send(self, rows: Sequence[Row], way: str, tries: int, now: float) -> Send:
        self._number += 1
        size = sum(row.size for row in rows)
        self._flying[self._number] = _Flight(tuple(rows), way, size, tries, now, math.inf)
        self._busy.update(row.place for row in rows)
        self._bytes += size
        if way not in (LIVE, AGAIN):
            self._ahead += len(rows)
        return Send(self._number, tuple(row.place for row in rows), way)

    def _may_catch_up(self) -> bool:
        return self._synced and self._has_room(0.5) and self._ahead < self._allowed

    def _refill(self, now: float) -> float:
        """Of the token bucket, which holds a second's worth."""
        self._tokens = min(self._tokens + (now - self._counted_at) * self._rate, max(self._rate, 1.0))
        self._counted_at = now
        return self._tokens

    def _until(self, now: float) -> float:
        times = [one.due for one in self._flying.values() if one.due > now]
        if self._asks(now):
            times.append(self._ask_at)
        if self._paused_until > now:
            times.append(self._paused_until)
        elif self._tokens < ENOUGH and self._may_catch_up() and self.catching_up:
            times.append(now + (1 - self._tokens) / self._rate)
        if self._live:
            times.append(self._live[0][1] + BEHIND_S)
        return max(min(times, default=math.inf), now)

    # Where it begins.

    def _fall_behind(self) -> None:
        """What is new has waited for too long: it is history, and the newest of it goes first."""
        first = self._live[0][0].place
        self._live.clear()
        self._restart(first - 1)

    def _restart(self, after: int) -> None:
        """Everything behind a place that is not on its way has to be sent, the newest of each endpoint first."""
        for way in (GRADED, HISTORY):
            self._back_to(way, after)
        self._newest.clear()
        self._open[NEWEST] = True

    def _back_to(self, way: str, after: int) -> None:
        rows = self._rows[way]
        if not rows and not self._open[way]:  # it had come to the end
            self._after[way] = after
        elif after < self._after[way]:
            self._after[way] = min(after, rows[0].place - 1) if rows else after
            rows.clear()
        self._open[way] = True
