"""Shares of a common rate: who takes more than its own waits, and the others do not. Pure."""

from __future__ import annotations

from collections.abc import Callable

BURST_S = 10.0  # how much may be saved up
MOST_WAIT_S = 30.0


class Shares:
    """A token bucket for each name; what is taken is known only afterwards, so one may go into debt once.

    `rate_of` is how much of whatever is counted a name may take per second, above 0. Times are in seconds of any clock
    that does not go back.
    """

    def __init__(self, rate_of: Callable[[str], float]) -> None:
        self._rate_of = rate_of
        self._left: dict[str, tuple[float, float]] = {}  # name -> left, as of

    def _now(self, name: str, at: float) -> float:
        rate = self._rate_of(name)
        left, since = self._left.get(name, (rate * BURST_S, at))
        return min(rate * BURST_S, left + max(0.0, at - since) * rate)

    def wait(self, name: str, at: float) -> float:
        """For how many seconds it has to wait until it may take something; 0: it may now."""
        left = self._now(name, at)
        return 0.0 if left > 0 else min(MOST_WAIT_S, (1.0 - left) / self._rate_of(name))

    def spend(self, name: str, amount: float, at: float) -> None:
        """It has taken so much."""
        self._left[name] = self._now(name, at) - amount, at
