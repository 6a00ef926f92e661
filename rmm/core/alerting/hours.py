"""Business hours: whether something is open, and how a delay runs that counts open time alone. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date, datetime, time, timedelta, tzinfo
from typing import NamedTuple

from rmm.core.walltime import instant, shown
from rmm.model.escalation import Slot

DAY = timedelta(days=1)
AHEAD = 800  # days that are looked through for open time: what has none in two years has none

Holiday = Callable[[date], str]  # the name of a closed day, empty for others


class OpenHours(NamedTuple):
    """Hours with their time zone and holidays looked up."""

    zone: tzinfo
    week: tuple[tuple[Slot, ...], ...]
    holiday: Holiday

    def is_open(self, at: datetime) -> bool:
        """Whether it is open at this moment."""
        return any(begin <= at < end for begin, end in self._from(at, 1))

    def after(self, at: datetime, delay: timedelta) -> datetime | None:
        """The moment at which it has been open for `delay` since `at`; None where that never comes.

        Without a delay: `at` where it is open, else the next opening.
        """
        left = delay
        for begin, end in self._from(at, AHEAD):
            begin = max(begin, at)
            if begin + left < end or (left and begin + left == end):
                return begin + left
            left -= end - begin
        return None

    def changes(self, since: datetime, until: datetime) -> Iterator[datetime]:
        """Moments after `since` and before `until` at which it may open or close."""
        days = (until - since).days + 2
        for span in self._from(since, days):
            yield from (at for at in span if since < at < until)

    def _from(self, at: datetime, days: int) -> Iterator[tuple[datetime, datetime]]:
        """Open spans that end after `at`, in order, of the local day before it and `days` from then on."""
        first = shown(at, self.zone).date() - DAY
        reached = at  # slots that overlap, such as one over midnight and the next day's, are not counted twice
        for number in range(days + 1):
            day = first + number * DAY
            if self.holiday(day):
                continue
            midnight = datetime.combine(day, time())
            for slot in self.week[day.weekday()]:
                begin = instant(midnight + timedelta(minutes=slot.begin), self.zone)
                end = instant(midnight + timedelta(minutes=slot.end), self.zone)
                if end > reached:
                    yield (begin if reached == at else max(begin, reached)), end
                    reached = end
