"""What a site collector hands on beside observations: the end of each round, and what people did at the site."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from rmm.core.outgoing import act_item, round_item
from rmm.model.envelope import RoundEnd
from rmm.model.incident import Act
from rmm.model.outgoing import Item
from rmm.model.round import PollSummary
from rmm.ports import Clock
from rmm.tiers.fleet_sqlite import FleetFile

ACTS = timedelta(hours=24)  # how far back a start looks for what people did; what was handed on is not twice
MOST_REFUSED = 16  # configurations that were refused and are not in the outgoing log yet

Append = Callable[[Sequence[Item]], Awaitable[None]]


class Rounds:
    """One per start.

    Args:
        data: the data folder, whose fleet database has what people did.
        who: this collector, in the hub's audit log.
        clock: for wall time.
        say: tells people.
    """

    def __init__(self, data: Path, who: str, clock: Clock, say: Callable[[str], None]) -> None:
        self._data = data
        self._who = who
        self._clock = clock
        self._say = say
        self._since = clock.now() - ACTS
        self._refused: list[Item] = []  # that is not in the outgoing log yet
        self._seen = 0  # the number of the newest act that is in it

    def refused(self, why: str) -> None:
        """A configuration is refused: that goes into the hub's audit log with the end of the next round."""
        act = Act(at=self._clock.now(), who=self._who, what="refuse", detail=why)
        self._refused.append(act_item(act, act.at))
        del self._refused[:-MOST_REFUSED]

    async def ended(self, append: Append, summary: PollSummary, began: datetime) -> None:
        """The end of a round goes to the hub, and what people did here.

        Raises TierError where `append` could not keep it; then it goes with the end of the next round.
        """
        acts, refused = self._acts(), list(self._refused)
        items = [*refused, *(act_item(one, one.at) for one in acts)]
        if summary.tried or summary.faults:
            items.append(self._end(summary, began))
        if items:
            await append(items)
            self._refused = [one for one in self._refused if one not in refused]
            self._seen = max((one.number for one in acts), default=self._seen)

    def _end(self, summary: PollSummary, began: datetime) -> Item:
        faults = tuple((one.code, one.retry, one.hint, one.message) for one in summary.faults)
        end = RoundEnd(
            began=began, ended=self._clock.now(), planned=summary.planned, tried=summary.tried, faults=faults
        )
        self._say(
            f"{end.ended:%H:%M:%S} {summary.polled} of {summary.tried} endpoints polled in "
            f"{summary.duration_s:.1f} s; {summary.firing} alerts new, {summary.resolved} resolved"
        )
        return round_item(end, end.ended)

    def _acts(self) -> list[Act]:
        """What people did at this site since it was handed on last; at a start, in the last ACTS."""
        return [one for one in FleetFile(self._data).acts() if one.number > self._seen and one.at >= self._since]
