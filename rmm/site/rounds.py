"""What a site collector hands on beside observations: the end of each round, and what people did at the site."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from rmm.core.outgoing import act_item, round_item
from rmm.durable import replace_file
from rmm.errors import TierError
from rmm.model.envelope import RoundEnd
from rmm.model.incident import Act
from rmm.model.outgoing import Item
from rmm.model.round import PollSummary
from rmm.ports import Clock
from rmm.site.control import folder_of
from rmm.tiers.fleet_sqlite import FleetFile

ACTS = timedelta(hours=24)  # how far back the first start looks for what people did
MOST_REFUSED = 16  # configurations that were refused and are not in the outgoing log yet

Append = Callable[[Sequence[Item]], Awaitable[None]]


class Mark(msgspec.Struct, frozen=True):
    """The newest act that is in the outgoing log: what is after it is handed on, however long nothing ran here.

    Before the first act, `number` is 0, and `at` is from when on acts are handed on.
    """

    number: int
    at: datetime


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
        self._refused: list[Item] = []  # that is not in the outgoing log yet
        self._file = folder_of(data) / "acts.json"
        self._mark = self._read() or self._written(Mark(0, clock.now() - ACTS))

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
            self._keep(acts)

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
        """What people did at this site since it was handed on last."""
        mark, most = self._mark, 100
        # A clock that was ahead at the first start must not hide what is done after it was set right.
        since = mark.at if mark.number else min(mark.at, self._clock.now() - ACTS)
        while True:
            acts = FleetFile(self._data).acts(most=most)  # newest first
            # In a database that was begun anew or restored, other acts have the numbers up to the mark's.
            here = any(one.number == mark.number and one.at == mark.at for one in acts)
            found = [one for one in acts if (one.number > mark.number if here else one.at >= since)]
            behind = not here and mark.number and acts and acts[-1].number > mark.number
            if len(acts) < most or (len(found) < most and not behind):
                return found
            most *= 10

    def _keep(self, acts: Sequence[Act]) -> None:
        """They are in the outgoing log, which knows them for two days should the mark not get to the disk."""
        if acts:
            newest = max(acts, key=lambda one: one.number)
            self._mark = self._written(Mark(newest.number, newest.at))

    def _written(self, mark: Mark) -> Mark:
        with contextlib.suppress(TierError):
            replace_file(self._file, msgspec.json.encode(mark))
        return mark

    def _read(self) -> Mark | None:
        try:
            return msgspec.json.decode(self._file.read_bytes(), type=Mark)
        except (OSError, msgspec.MsgspecError):
            return None
