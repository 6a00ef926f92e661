"""What became of a site's observations: the histories of its collectors beside that of the hub, and every lease.

The outgoing log of a collector keeps what the hub has committed for another 48 hours, with the lease under which each
observation was made. So the rule by which the hub refuses can be worked out anew here, from all of them at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from rmm.core.outgoing import glance
from rmm.core.sealing import unpressed
from rmm.model.envelope import OBSERVATION
from rmm.tiers.cold_sqlite.segment import scattered
from rmm.tiers.cold_sqlite.whole import SiteSamples
from rmm.tiers.outgoing.sqlite import SqliteShelf, path_of
from rmm.tiers.spool import Spool

MOST_RAW = 16 << 20
PAGE = 256
INTERVAL_S = 15  # of all collectors of this fleet

Key = tuple[str, str, int]  # endpoint, epoch, number
Row = tuple[object, ...]  # when, status, fault, duration, samples


class Verdict(NamedTuple):
    """What became of one site's observations."""

    site: str
    observed: int  # by its collectors, as their own histories have them
    arrived: int  # of these, at the hub
    lost: int  # in their histories or spools and not at the hub, without those to be refused by the rule of leases
    doubled: int  # at the hub, and not at the site
    equal: bool  # what the hub has of them is what they are
    stale: int = 0  # polled by a collector after another one had begun under a later lease
    refused: int = 0  # of the observations that were written by such a one, those that the hub has not
    passed: int = 0  # and those that it has
    twice: int = 0  # at the hub: polled by two collectors within half of an interval, one after the other
    late: int = 0  # at the hub more than `arrivals.LATE_S` after the site wrote them
    slowest_s: float = 0.0

    @property
    def harmed(self) -> bool:
        """Whether anything of it may not be."""
        return bool(self.lost or self.doubled or self.passed or not self.equal or not self.observed)


class Written(NamedTuple):
    """One observation in the outgoing log of a collector."""

    key: Key
    collector: str
    shard: int
    fence: int
    at: int  # when it was written, in microseconds since 1970


class Begun(NamedTuple):
    """When a lease was first used, in microseconds since 1970, and by whom."""

    since: int
    collector: str


def verdict(site: str, hub: Path, collectors: Mapping[str, Path]) -> Verdict:
    """Compare; `collectors`: name -> data folder. All of them have ended."""
    there = rows(hub, site)
    own = {name: rows(data, site) for name, data in collectors.items()}
    whose = {key: name for name, found in own.items() for key in found}
    here = {key: row for found in own.values() for key, row in found.items()}
    log = [one for name, data in collectors.items() for one in written(data, site, name)]
    late = late_of(log)
    stale = stale_of({key: (_at(row), whose[key]) for key, row in here.items()}, log)
    waiting = {key for data in collectors.values() for key in spooled(data, site)}
    lost = (here.keys() | waiting) - late - there.keys()
    common = here.keys() & there.keys()
    equal = all(here[key] == there[key] for key in common)
    if len(collectors) == 1:  # then what changed when can be compared as well
        equal = equal and _same(hub, next(iter(collectors.values())), site)
    return Verdict(
        site, len(here), len(common), len(lost), len(there.keys() - here.keys()), equal, len(stale),
        len(late - there.keys()), len((late | stale) & there.keys()), _twice(there, whose),
    )  # fmt: skip


def rows(data: Path, site: str) -> dict[Key, Row]:
    """All observations of a data folder's history, with their samples."""
    samples = SiteSamples(data, site)
    found: dict[Key, Row] = {}
    endpoints = samples.endpoints()
    for day in samples.days():
        for endpoint in endpoints:
            for seen, values in scattered(samples.day(endpoint, day)):
                said = tuple(sorted((name, float(value)) for name, value in values.items()))
                row = (seen.at, seen.status, seen.fault, seen.duration_ms, said)
                found[endpoint, seen.epoch, seen.seq] = row
    return found


def written(data: Path, site: str, collector: str) -> Iterator[Written]:
    """The observations of an outgoing log."""
    path = path_of(data, site)
    if not path.exists():
        return
    shelf = SqliteShelf(path, readonly=True)
    try:
        after = 0
        while page := shelf.rows(after, PAGE):
            after = page[-1].place
            for one in shelf.read([row.place for row in page]):
                if one.kind == OBSERVATION:
                    seen = glance(unpressed(one.body, one.raw, MOST_RAW))
                    yield Written((seen.endpoint, seen.epoch, seen.seq), collector, one.shard, one.fence, one.at)
    finally:
        shelf.close()


def spooled(data: Path, site: str) -> Iterator[Key]:
    """What is in the spools of a data folder, and in no history yet."""
    for folder in (data / "spool" / site).glob("*"):
        for record in Spool(folder).replay():
            seen = glance(record)
            yield seen.endpoint, seen.epoch, seen.seq


def late_of(log: Sequence[Written]) -> set[Key]:
    """What was written after another collector had begun to write under a later lease: the hub has to refuse it."""
    begun: dict[int, dict[int, Begun]] = {}
    for one in log:
        _note(begun.setdefault(one.shard, {}), one.fence, one.at, one.collector)
    return {one.key for one in log if _is_over(one.fence, one.at, one.collector, begun[one.shard])}


def stale_of(polls: Mapping[Key, tuple[int, str]], log: Sequence[Written]) -> set[Key]:
    """What was polled (key -> when, by whom) after another collector had begun to poll under a later lease.

    The lease of a poll is the earliest that anything of its round and shard was written under: what waits in a spool
    is written later, and then under another one.
    """
    shards = {one.key[0]: one.shard for one in log}
    rounds: dict[tuple[str, int], int] = {}
    for one in log:
        of = one.key[1], one.shard
        rounds[of] = min(one.fence, rounds.get(of, one.fence))
    begun: dict[int, dict[int, Begun]] = {}
    for key, (at, collector) in polls.items():
        if fence := rounds.get((key[1], shards.get(key[0], -1)), 0):
            _note(begun.setdefault(shards[key[0]], {}), fence, at, collector)
    found: set[Key] = set()
    for key, (at, collector) in polls.items():
        leases = begun.get(shards.get(key[0], -1), {})
        own = [fence for fence, one in leases.items() if one.collector == collector and one.since <= at]
        fence = rounds.get((key[1], shards.get(key[0], -1))) or max(own, default=-1)
        if _is_over(fence, at, collector, leases):
            found.add(key)
    return found


def _note(leases: dict[int, Begun], fence: int, at: int, collector: str) -> None:
    if fence and (fence not in leases or at < leases[fence].since):
        leases[fence] = Begun(at, collector)


def _is_over(fence: int, at: int, collector: str, leases: Mapping[int, Begun]) -> bool:
    """Whether another collector had begun under a later lease."""
    return bool(fence) and any(
        later > fence and one.since < at and one.collector != collector for later, one in leases.items()
    )


def _twice(there: Mapping[Key, Row], whose: Mapping[Key, str]) -> int:
    """How often one endpoint was polled by two collectors within half of an interval.

    A shard that changes hands is polled at once by who has it now, so this is no harm; it tells how often they do.
    """
    polls: dict[str, list[tuple[int, str]]] = {}
    for key, row in there.items():
        polls.setdefault(key[0], []).append((_at(row), whose.get(key, "")))
    pairs = (pair for own in polls.values() for pair in pairwise(sorted(own)))
    return sum(one[1] != other[1] and other[0] - one[0] < INTERVAL_S * 1e6 / 2 for one, other in pairs)


def _at(row: Sequence[Any]) -> int:
    return int(row[0])


def _same(hub: Path, data: Path, site: str) -> bool:
    return SiteSamples(hub, site).checksum() == SiteSamples(data, site).checksum()
