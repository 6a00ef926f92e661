"""Faults of sites that several collectors share: the one that holds most dies, stands still, or loses its link."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from rmm.model.lease import Terms
from tests.fleet.fleet import Collector, Fleet
from tests.fleet.pieces import wait_for
from tests.fleet.verdict import INTERVAL_S

PAST_S = Terms().ttl + 5.0  # longer than the broker remembers a lease
TAKEN_S = 90.0  # for the others to have all shards; a busy machine


class Shared:
    """The faults; `took` has how long the others needed to hold all shards, in seconds."""

    def __init__(self, fleet: Fleet, share: float = 0.2) -> None:
        """`share`: of the sites that one fault is for."""
        self._fleet = fleet
        self._share = share
        self.took: list[float] = []

    def plan(self) -> list[Callable[[float], None]]:
        """All of them, in an order by chance."""
        kinds: list[Callable[[float], None]] = [self.kill_holders, self.pause_holders, self.cut_holders]
        self._fleet.random.shuffle(kinds)
        return kinds

    def kill_holders(self, seconds: float) -> None:
        """kill -9; the others take its shards; then it is started again."""
        self._break("holders killed", seconds, lambda one: one.process.kill(), lambda one: one.process.start())

    def pause_holders(self, seconds: float) -> None:
        """SIGSTOP until the others have its shards, and SIGCONT in the middle of whatever it did."""
        self._break(
            "holders paused", seconds, lambda one: one.process.signal(signal.SIGSTOP),
            lambda one: one.process.signal(signal.SIGCONT), polling=True,
        )  # fmt: skip

    def cut_holders(self, seconds: float) -> None:
        """The link of one of several: it goes on with what it held, and the others take that as well."""
        self._break("links of holders cut", seconds, lambda one: one.link.cut(), lambda one: one.link.mend())

    def _break(
        self, what: str, seconds: float, down: Callable[[Collector], None], up: Callable[[Collector], None], *,
        polling: bool = False,
    ) -> None:  # fmt: skip
        """`seconds`: at least; it lasts until the shards are held by others. `polling`: begin in the middle of that."""
        fleet = self._fleet
        chosen = [_holder(own) for own in self._some()]
        fleet.faults[what] += 1
        fleet.say(f"{what}: " + ", ".join(one.name for one in chosen))
        began: dict[str, float] = {}
        for one in chosen:
            if polling:
                _wait_for_a_visit(one)
            down(one)
            began[one.name] = time.monotonic()
        since = datetime.now(UTC)
        for one in chosen:
            others = [other for other in fleet.sites[one.site] if other is not one]
            wait_for(f"others hold the shards of {one.name}", lambda others=others: fleet.held(others, since), TAKEN_S)
            self.took.append(time.monotonic() - began[one.name])
        time.sleep(max(0.0, max(began.values()) + max(seconds, PAST_S) - time.monotonic()))
        for one in chosen:
            up(one)

    def _some(self) -> list[list[Collector]]:
        """A few sites by chance, one at least."""
        sites = list(self._fleet.sites.values())
        for one in self._fleet.collectors:
            wait_for(f"{one.name} runs", lambda one=one: one.status is not None, TAKEN_S)
        return self._fleet.random.sample(sites, max(1, round(self._share * len(sites))))


def _holder(collectors: Sequence[Collector]) -> Collector:
    return max(collectors, key=lambda one: len(one.shards))


def _wait_for_a_visit(one: Collector) -> None:
    """Until it begins to poll an endpoint, for a round at most."""

    def written() -> list[int]:
        return [path.stat().st_mtime_ns for path in (one.data / "locks").glob("*.visits")]

    before, end = written(), time.monotonic() + INTERVAL_S + 5.0
    while written() == before and time.monotonic() < end:
        time.sleep(0.005)
