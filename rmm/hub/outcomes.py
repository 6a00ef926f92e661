"""What came of enrolments and renewals goes into the fleet's database: the audit log, and what was refused by site.

Whoever asks in a loop costs a number in memory and a transaction a second, not one for each question.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import datetime

from rmm.errors import RmmError
from rmm.hub.enrolment import Outcome
from rmm.hub.ingest import UNKNOWN
from rmm.model.incident import Act
from rmm.model.sites import Refused

log = logging.getLogger(__name__)

PACE_S = 1.0  # between two transactions
RETRY_S = 5.0  # after one that failed
END_S = 5.0  # for the last one
MOST = 1000  # acts that wait; the log has them all

Write = Callable[[Sequence[Act], Sequence[Refused]], Awaitable[None]]


class Outcomes:
    """`hear` in the loop's thread, `run` in a task beside it.

    Args:
        sites: the sites of the hub's configuration; a refusal that is about none of them counts for `unknown`.
        write: keeps acts and counts, both or neither; raises RmmError.
    """

    def __init__(self, sites: Collection[str], write: Write) -> None:
        self._sites = sites
        self._write = write
        self._acts: list[Act] = []
        self._counts: Counter[tuple[str, str]] = Counter()  # (site, reason)
        self._newest: dict[tuple[str, str], datetime] = {}
        self._news = asyncio.Event()

    def hear(self, one: Outcome) -> None:
        """One more. What the audit log had within the hour is only counted."""
        if one.refused:
            place = (one.site if one.site in self._sites else UNKNOWN, one.refused)
            self._counts[place] += 1
            self._newest[place] = one.at
        if not one.again and len(self._acts) < MOST:
            self._acts.append(_act(one))
        self._news.set()

    async def run(self) -> None:
        """Until cancelled, and then what was heard until then. What cannot be written is tried again."""
        writing: asyncio.Task[bool] | None = None
        try:
            while True:
                await self._news.wait()
                writing = asyncio.create_task(self._try())
                # A cancellation between the commit and what follows it would have all of it written twice.
                await asyncio.sleep(PACE_S if await asyncio.shield(writing) else RETRY_S)
        finally:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(END_S):
                    if writing is not None:
                        await writing
                    if self._news.is_set():
                        await self._try()

    async def _try(self) -> bool:
        self._news.clear()
        try:
            await self.flush()
        except RmmError as error:
            self._news.set()
            log.warning("enrolments and renewals are not in the audit log yet: %s", error)
            return False
        return True

    async def flush(self) -> None:
        """Write what was heard. Raises RmmError, and then it is still there."""
        acts, counts = tuple(self._acts), Counter(self._counts)
        await self._write(acts, [Refused(*place, self._newest[place], number) for place, number in counts.items()])
        del self._acts[: len(acts)]
        self._counts -= counts
        self._newest = {place: at for place, at in self._newest.items() if place in self._counts}


def _act(one: Outcome) -> Act:
    what = f"refuse {one.what}" if one.refused else one.what
    detail = " ".join(filter(None, (one.refused, one.detail)))
    return Act(at=one.at, who=f"{one.site}/{one.collector}".rstrip("/"), what=what, detail=detail)
