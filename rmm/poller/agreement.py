"""What an account of this process has agreed on with the other collectors of the site; nothing, without them."""

from __future__ import annotations

import time

from rmm.core.authguard import CANARY, HELD, Answer, Guard
from rmm.core.escrow import Need
from rmm.poller.colleagues import Colleagues
from rmm.poller.guardfile import GuardFile

WANT_S = 10.0  # how long logons wait for a right that another collector has ...
HOPELESS_S = 60.0  # ... and how long none is asked for after that was in vain
LENT = frozenset({"budget", "allowance"})  # reasons of a hold which another right may end


class Agreement:
    """Between two bursts it is asked for; within one it says when the burst has to end for that."""

    def __init__(self, colleagues: Colleagues | None, key: str) -> None:
        self.colleagues = colleagues
        self.share: int | None = None if colleagues is None else 0
        self.asks = False  # the burst has to end, because something has to be asked first
        self._key = key
        self._trying = ""  # the version that this collector alone may try now
        self._asked = False  # for a right that it has not got
        self._told: Guard | None = None
        self._wants_since: float | None = None
        self._hopeless_until = 0.0

    def load(self, file: GuardFile) -> None:
        """At the beginning of a turn, with the account's lock."""
        share = file.share()
        self.share = 0 if share is None and self.colleagues is not None else share
        self.asks = False
        self._trying = ""

    def may_help(self, answer: Answer) -> bool:
        """Whether another right would end this hold, and there is hope for one."""
        if self.colleagues is None or answer.word != HELD or answer.reason not in LENT:
            return False
        return self.colleagues.reachable and time.monotonic() >= self._hopeless_until

    def has_to_ask(self, answer: Answer, version: str) -> bool:
        """Whether this logon has to wait until the others have been asked."""
        if self.colleagues is None:
            return False
        trial = answer.word == CANARY and self._trying != version and self.colleagues.reachable
        if trial or self.may_help(answer):
            self.asks = True
            return True
        return False

    def has_news(self, guard: Guard) -> bool:
        """Whether the others should be told of what came of a burst, or wait for what this collector has."""
        if self.colleagues is None:
            return False
        return bool(self._trying) or self._asked or guard != self._told or self.colleagues.wanted(self._key)

    async def settle(self, file: GuardFile, guard: Guard, flights: int, need: Need) -> tuple[Guard, bool]:
        """Ask the others. Returns the guard with what they know, and whether logons may leave now."""
        if self.colleagues is None or not (need.trying or need.right or self.has_news(guard)):
            return guard, True
        merged, go = await self.colleagues.agree(self._key, file, guard, flights, need)
        had, self.share = self.share or 0, file.share() or 0
        self._asked = need.right and self.share <= had
        self._trying = need.trying if go else ""
        self._told = merged
        if not need.right:
            self._wants_since = None
            return merged, go
        if self.share > had or not self.colleagues.reachable:
            self._wants_since = None
            return merged, True  # with the new right, or to hear that there is none
        return merged, self._waited_in_vain()

    def _waited_in_vain(self) -> bool:
        now = time.monotonic()
        self._wants_since = self._wants_since if self._wants_since is not None else now
        if now - self._wants_since < WANT_S:
            return False
        self._wants_since, self._hopeless_until = None, now + HOPELESS_S
        return True
