"""Sites, links and a hub in virtual time: the real decisions, rules and books, without sockets and sleeping.

Run it for the long outage of a fleet:

    python tests/sites_forward/simulation.py --hours 72 --sites 50 --endpoints 10000

It prints what was lost, doubled and late, and how long catching up took, which may be a tenth of the outage.
"""

from __future__ import annotations

import argparse
import heapq
import math
import random
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from rmm.core.forwarding import NEWEST, Ask, Forwarding, Look, Send
from rmm.core.marks import added
from rmm.core.outgoing import uncommitted_from
from rmm.model.envelope import DROPPED, OBSERVATION, Entry, Marks, Receipt
from rmm.model.outgoing import ALERTS, METRICS, Item
from rmm.model.settings import SiteSettings
from rmm.tiers.outgoing import Log, MemoryShelf, Shelf

START = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)


class World:
    """What happens, in order of its time."""

    def __init__(self, seed: int = 0) -> None:
        self.now = 0.0
        self.chance = random.Random(seed)
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0

    def at(self, when: float, what: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._events, (max(when, self.now), self._count, what))

    def after(self, delay: float, what: Callable[[], None]) -> None:
        self.at(self.now + delay, what)

    def run(self, until: float, done: Callable[[], bool] = lambda: False) -> None:
        since, count = self.now, 0
        while self._events and self._events[0][0] <= until and not done():
            self.now, _, what = heapq.heappop(self._events)
            since, count = (since, count + 1) if since == self.now else (self.now, 0)
            if count > 10_000:
                raise RuntimeError(f"time stands still at {self.now}")
            what()
        if not done():
            self.now = until

    @property
    def wall(self) -> datetime:
        return START + timedelta(seconds=self.now)

    def name(self) -> str:
        return f"{self.chance.getrandbits(64):016x}"


@dataclass
class Link:
    """Between a site and the hub; a broker on the hub's side keeps what the hub has not taken."""

    up: bool = True
    loss: float = 0.0
    twice: float = 0.0
    delay: float = 0.05
    jitter: float = 0.0


@dataclass
class State:
    """What the hub's database has of a site."""

    marks: dict[str, Marks] = field(default_factory=dict)
    rows: set[str] = field(default_factory=set)
    given_up: int = 0

    def copy(self) -> State:
        return State(dict(self.marks), set(self.rows), self.given_up)


class HubOfSite:
    """The hub, as far as one site is concerned: it takes so many entries per second of this site, in order."""

    def __init__(self, world: World, link: Link, rate: float = math.inf) -> None:
        self._world, self._link, self._rate = world, link, rate
        self.state = State()
        self.doubled = self.messages = self.again = self.entries = 0
        self.folded: Callable[[Entry], None] = lambda _entry: None
        self.told: Callable[[Receipt], None] = lambda _receipt: None
        self._queue: list[tuple[str, list[Entry]]] = []  # of the broker
        self._busy = False
        self._life = 0
        self._up = True
        self._name, self._number = world.name(), 0
        self._next_receipt = 0.0

    def arrive(self, epoch: str, entries: list[Entry]) -> None:
        self._queue.append((epoch, entries))
        self._begin()

    def _begin(self) -> None:
        if self._queue and self._up and not self._busy:
            self._busy = True
            life = self._life
            self._world.after(len(self._queue[0][1]) / self._rate + 0.002, lambda: self._commit(life))

    def _commit(self, life: int) -> None:
        if life != self._life:
            return  # it was killed before: the broker has it
        self._busy = False
        epoch, entries = self._queue.pop(0)
        self.messages += 1
        marks = self.state.marks.get(epoch, Marks())
        for entry in entries:
            self.entries += 1
            before, marks = marks, added(marks, entry.seq, entry.seq + entry.count - 1)
            if before == marks:
                self.again += 1
            elif entry.kind == DROPPED:
                self.state.given_up += entry.count
            else:
                name = entry.body.decode()
                self.doubled += name in self.state.rows
                self.state.rows.add(name)
                self.folded(entry)
        self.state.marks[epoch] = marks
        self._world.at(self._next_receipt, self.tell)
        self._next_receipt = max(self._world.now, self._next_receipt) + 0.2
        self._begin()

    def tell(self) -> None:
        if not self._up or not self._link.up or self._world.chance.random() < self._link.loss:
            return
        self._number += 1
        receipt = Receipt(
            site="hq", hub=self._name, number=self._number, at=self._world.wall, marks=dict(self.state.marks)
        )
        jitter = self._world.chance.random() * self._link.jitter
        self._world.after(self._link.delay + jitter, lambda: self.told(receipt))

    def kill(self, *, down_s: float = 1.0, restored: State | None = None) -> None:
        self._life += 1
        self._up, self._busy = False, False
        self._world.after(down_s, lambda: self._start(restored))

    def _start(self, restored: State | None) -> None:
        self._up = True
        self._name, self._number = self._world.name(), 0
        if restored is not None:
            self.state = restored.copy()
        self.tell()
        self._begin()


class SimulatedSite:
    """The log with its rules and the decisions; the shell is a few lines."""

    def __init__(
        self, world: World, link: Link, hub: HubOfSite, settings: SiteSettings, shelf: Callable[[], Shelf]
    ) -> None:
        self._world, self._link, self._hub, self._settings, self._shelf = world, link, hub, settings, shelf
        self.appended = 0
        self.ways: dict[str, int] = {}
        self._life = 0
        self._wake = math.inf
        self._running = False
        hub.told = self._take
        self.start()

    def start(self) -> None:
        self.log = Log(self._shelf(), self._settings, self._world.name())
        self.core = Forwarding(self._settings.rate, self._world.now)
        self._running = True
        if self._link.up:
            self.core.online(self._world.now)
        self.pump()

    def kill(self, *, down_s: float = 1.0) -> None:
        """The process: what it had in memory is gone."""
        self._life += 1
        self._running, self._wake = False, math.inf
        self._world.after(down_s, self.start)

    def append(self, *items: Item) -> bool:
        if not self._running:
            return False
        rows = self.log.append(items)
        self.appended += len(rows)
        self.core.appended(rows, self._world.now)
        self.pump()
        return True

    def connect(self, up: bool) -> None:
        self._link.up = up
        if not self._running:
            return
        if up:
            self.core.online(self._world.now)
        else:
            self.core.offline()
        self.pump()

    def pump(self) -> None:
        while self._running:
            step = self.core.next(self._world.now)
            if isinstance(step, Send):
                self._send(step)
            elif isinstance(step, Look):
                log = self.log
                newest = step.way == NEWEST
                rows = log.newest() if newest else log.rows(step.after, step.most, graded=step.way == "graded")
                self.core.found(step, rows)
            elif isinstance(step, Ask):
                self._world.after(2 * self._link.delay, self._hub.tell)
            else:
                self._sleep(step.until)
                return

    def _sleep(self, until: float) -> None:
        if until < self._wake:
            self._wake = until
            life = self._life
            self._world.at(until, lambda: self._woken(until, life))

    def _woken(self, until: float, life: int) -> None:
        if life == self._life and self._wake == until:
            self._wake = math.inf
            self.pump()

    def _send(self, step: Send) -> None:
        found = self.log.read(step.places)
        self.core.gone(step.number, set(step.places) - {place for place, _, _ in found})
        self.core.sent(step.number, self._world.now)
        if not found:
            return
        self.ways[step.way] = self.ways.get(step.way, 0) + len(found)
        epoch, entries = found[0][1], [entry for _, _, entry in found]
        chance = self._world.chance
        for _ in range(2 if chance.random() < self._link.twice else 1):
            if chance.random() >= self._link.loss:
                delay = self._link.delay + chance.random() * self._link.jitter
                self._world.after(delay, lambda: self._hub.arrive(epoch, entries))

    def _take(self, receipt: Receipt) -> None:
        if not self._running or not self._link.up:
            return
        news = self.log.cover(receipt)
        if news is not None:
            books = self.log.books
            self.core.receipt(books.marks, uncommitted_from(books), self._world.now, again=news.again)
            self.pump()


def item(name: str, world: World, endpoint: str = "", grade: int = METRICS) -> Item:
    return Item(id=name, body=name.encode(), at=world.wall, kind=OBSERVATION, endpoint=endpoint, grade=grade)


@dataclass
class Result:
    """Of one site. Seconds for times."""

    made: int = 0
    lost: int = 0
    doubled: int = 0
    again: int = 0  # entries that were sent and were there already
    late: int = 0  # entries that came more than five seconds after they were written
    newest_s: float = 0.0  # from the end of the outage until the newest state of every endpoint was there
    graded_s: float = 0.0  # until every alert was
    caught_up_s: float = 0.0  # until everything was
    slowest_s: float = 0.0  # of what was written after the outage, how long the slowest took


def outage(
    seed: int, *, hours: float, endpoints: int, interval: float, hub_rate: float, settings: SiteSettings | None = None,
    shelf: Callable[[], Shelf] | None = None, batch_s: float = 15.0,
) -> Result:  # fmt: skip
    """One site: an hour with its link, an outage, and then until it has caught up, and an hour more."""
    world = World(seed)
    kept = MemoryShelf()
    link = Link()
    hub = HubOfSite(world, link, hub_rate)
    site = SimulatedSite(world, link, hub, settings or SiteSettings(), shelf or (lambda: kept))
    begins, ends = 3600.0, 3600.0 * (1 + hours)
    result = Result()
    waiting = {f"srv-{n}" for n in range(endpoints)}
    newest: dict[str, str] = {}
    alerts: set[str] = set()
    phases = sorted((world.chance.uniform(0, interval), f"srv-{n}") for n in range(endpoints))

    def folded(entry: Entry) -> None:
        written = (entry.at - START).total_seconds()
        wait = world.now - written
        result.late += wait > 5
        if written >= ends:
            result.slowest_s = max(result.slowest_s, wait)
        if world.now >= ends and (waiting or alerts):
            name = entry.body.decode()
            endpoint = name.split("/")[0]
            if newest.get(endpoint) == name or written >= ends:
                waiting.discard(endpoint)
                result.newest_s = result.newest_s or (0 if waiting else world.now - ends)
            alerts.discard(name)
            result.graded_s = result.graded_s or (0 if alerts else world.now - ends)

    hub.folded = folded

    def polled(begin: float, place: int, number: int) -> None:
        items = []
        until = world.now if world.now < begins or world.now >= ends else world.now + batch_s
        while begin + phases[place][0] <= until:
            endpoint = phases[place][1]
            name = f"{endpoint}/{number}"
            at = START + timedelta(seconds=begin + phases[place][0])
            grade = ALERTS if world.chance.random() < 0.002 else METRICS
            if begins <= world.now < ends:
                newest[endpoint] = name
                alerts.update((name,) if grade else ())
            items.append(Item(id=name, body=name.encode(), at=at, endpoint=endpoint, grade=grade))
            place, number, begin = (
                (place + 1, number, begin) if place + 1 < endpoints else (0, number + 1, begin + interval)
            )
        site.append(*items)
        world.at(max(begin + phases[place][0], world.now), lambda: polled(begin, place, number))

    def tended() -> None:
        while site.log.tend(world.wall):
            continue
        world.after(600, tended)

    world.at(phases[0][0], lambda: polled(0.0, 0, 1))
    tended()
    world.at(begins, lambda: site.connect(up=False))
    world.at(ends, lambda: site.connect(up=True))
    world.run(ends)
    world.run(ends + hours * 3600 + 3600, lambda: not site.core.catching_up and site.log.books.entries < 50)
    result.caught_up_s = world.now - ends
    world.run(world.now + 600)
    world.run(world.now + 600, lambda: not site.log.books.entries)
    result.made = site.appended
    result.lost = site.appended - len(hub.state.rows)
    result.doubled, result.again = hub.doubled, hub.again
    return result


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=72)
    parser.add_argument("--sites", type=int, default=50)
    parser.add_argument("--endpoints", type=int, default=10_000, help="of all sites together")
    parser.add_argument("--interval", type=float, default=300, help="seconds between two polls of an endpoint")
    parser.add_argument("--hub-rate", type=float, default=400, help="observations per second that the hub takes of all")
    given: Any = parser.parse_args(arguments)
    began = time.monotonic()
    results = []
    for number in range(given.sites):
        results.append(
            outage(
                number,
                hours=given.hours,
                endpoints=given.endpoints // given.sites,
                interval=given.interval,
                hub_rate=given.hub_rate / given.sites,
            )
        )
        print(f"    site {number + 1}: {results[-1]}", flush=True)
    worst = {
        name: max(getattr(one, name) for one in results)
        for name in ("newest_s", "graded_s", "caught_up_s", "slowest_s")
    }
    total = {name: sum(getattr(one, name) for one in results) for name in ("made", "lost", "doubled", "again", "late")}
    limit = given.hours * 3600 / 10
    print(f"observations: {total['made']}, lost {total['lost']}, doubled {total['doubled']}")
    print(f"    late {total['late']}, sent although the hub had them {total['again']}")
    print(
        f"newest state of every endpoint after {worst['newest_s']:.1f} s, every alert after {worst['graded_s']:.1f} s"
    )
    print(f"caught up after {worst['caught_up_s']:.0f} s, a tenth of the outage is {limit:.0f} s")
    print(f"the slowest of what was new meanwhile took {worst['slowest_s']:.1f} s")
    print(f"({time.monotonic() - began:.0f} s for this simulation)")
    return 1 if total["lost"] or total["doubled"] or worst["caught_up_s"] > limit else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
