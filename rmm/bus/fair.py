"""Who has what share of a bus outside its stream: a site that floods loses of its own, and no other one waits for it.

What is not of a site (a question of somebody who is invited, the hub's own pulse) counts for its subject.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from types import TracebackType

from rmm.bus.subjects import site_of
from rmm.ports import Told

log = logging.getLogger(__name__)

MOST_TOLD, MOST_TOLD_BYTES = 128, 2 << 20  # of one site that a listener has not taken; the oldest of it are lost then
MOST_ANSWERS = 16  # in work at the same time
ANSWERS_EACH, QUESTIONS_EACH = 4, 16  # of one site in work, and waiting for that; more get no answer
SILENT_S = 60.0  # between two words about one site
MOST_KNOWN = 4096


def payer_of(subject: str) -> str:
    """Whose share it is."""
    return site_of(subject) or subject


class Seldom:
    """Says what is to be said once a minute."""

    def __init__(self) -> None:
        self._said: dict[str, float] = {}

    def due(self, what: str) -> bool:
        """Whether nothing was said of it in the last minute."""
        now = asyncio.get_running_loop().time()
        if now - self._said.get(what, float("-inf")) < SILENT_S:
            return False
        if len(self._said) >= MOST_KNOWN:
            self._said.clear()
        self._said[what] = now
        return True


class Heard:
    """What was told and is not taken yet: in order, and of each site no more than its share. Iterate over it.

    `closed`: whether nothing will come any more; `wake` says that this has changed.
    """

    def __init__(self, closed: Callable[[], bool]) -> None:
        self._closed = closed
        self._event = asyncio.Event()
        self._seldom = Seldom()
        self._told: OrderedDict[int, Told] = OrderedDict()
        self._lanes: dict[str, deque[int]] = {}  # whose numbers, oldest first
        self._bytes: Counter[str] = Counter()
        self._number = 0

    def put(self, told: Told) -> None:
        """The newest one; older ones of the same site may have to go for it."""
        payer = payer_of(told.subject)
        lane = self._lanes.setdefault(payer, deque())
        self._number += 1
        self._told[self._number] = told
        lane.append(self._number)
        self._bytes[payer] += len(told.data)
        lost = False
        while len(lane) > 1 and (len(lane) > MOST_TOLD or self._bytes[payer] > MOST_TOLD_BYTES):
            self._bytes[payer] -= len(self._told.pop(lane.popleft()).data)
            lost = True
        if lost and self._seldom.due(payer):
            log.warning("%s says more than is heard: the oldest of it is lost; said once a minute", payer)
        self._event.set()

    def wake(self) -> None:
        """Whoever waits looks again."""
        self._event.set()

    def __aiter__(self) -> Heard:
        return self

    async def __anext__(self) -> Told:
        while not self._told:
            if self._closed():
                raise StopAsyncIteration
            self._event.clear()
            await self._event.wait()
        return self._take()

    def _take(self) -> Told:
        """The oldest one."""
        _, told = self._told.popitem(last=False)
        payer = payer_of(told.subject)
        lane = self._lanes[payer]
        lane.popleft()
        self._bytes[payer] -= len(told.data)
        if not lane:
            del self._lanes[payer], self._bytes[payer]
        return told


class Turns:
    """Answers a few questions at a time, of each site in turn, so that neither a slow one nor many hold up others'."""

    def __init__(self) -> None:
        self._lanes: dict[str, deque[Turn]] = {}  # who waits; the first of these is the next
        self._busy: Counter[str] = Counter()

    def turn(self, payer: str) -> Turn | None:
        """A place in the queue, to be used as a context; None where this site has all its places."""
        lane = self._lanes.get(payer, ())
        if len(lane) >= QUESTIONS_EACH:
            return None
        return Turn(self, payer)

    def wait(self, turn: Turn) -> None:
        """It is in the queue from now on."""
        self._lanes.setdefault(turn.payer, deque()).append(turn)
        self._next()

    def leave(self, turn: Turn) -> None:
        """It is over, or not waited for any more."""
        if turn.begun.is_set():
            self._busy[turn.payer] -= 1
            if not self._busy[turn.payer]:
                del self._busy[turn.payer]
        elif turn in (lane := self._lanes.get(turn.payer, deque())):
            lane.remove(turn)
            if not lane:
                del self._lanes[turn.payer]
        self._next()

    def _next(self) -> None:
        for payer in list(self._lanes):
            if self._busy.total() >= MOST_ANSWERS:
                return
            if self._busy[payer] < ANSWERS_EACH:
                lane = self._lanes.pop(payer)
                self._busy[payer] += 1
                lane.popleft().begun.set()
                if lane:
                    self._lanes[payer] = lane  # behind the others


class Turn:
    """One question's."""

    def __init__(self, turns: Turns, payer: str) -> None:
        self._turns = turns
        self.payer = payer
        self.begun = asyncio.Event()
        turns.wait(self)

    async def __aenter__(self) -> None:
        try:
            await self.begun.wait()
        except BaseException:
            self._turns.leave(self)
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._turns.leave(self)
