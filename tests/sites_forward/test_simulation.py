"""Whatever links, processes and hub do: nothing is lost, nothing is doubled, and it comes to an end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulation import HubOfSite, Link, SimulatedSite, World, item, main, outage

from rmm.core.forwarding import MESSAGES
from rmm.model.outgoing import ALERTS, METRICS, Item
from rmm.model.settings import SiteSettings
from rmm.tiers.outgoing import MemoryShelf, Shelf, SqliteShelf, path_of, prepare

FAULTS = ["link", "site", "hub", "restored"]


def troubled(seed: int, faults: list[tuple[float, str, float]], link: Link, shelf: Callable[[], Shelf]) -> None:
    """Two minutes of work of ten endpoints with these faults, then a quiet time to catch up; and the judgement."""
    world = World(seed)
    hub = HubOfSite(world, link, rate=200)
    site = SimulatedSite(world, link, hub, SiteSettings(rate=500), shelf)
    made: dict[str, Item] = {}
    backups = [hub.state.copy()]
    polling = True

    def poll(number: int) -> None:
        if not polling:
            return
        one = item(f"o{number}", world, f"srv-{number % 10}", ALERTS if number % 17 == 0 else METRICS)
        made[one.id] = one
        for known in list(made.values())[-world.chance.choice([1, 1, 1, 8]) :]:  # a spool that hands over again
            site.append(known)
        world.after(0.25, lambda: poll(number + 1))

    def fault(what: str, seconds: float) -> None:
        if what == "link":
            site.connect(up=False)
            world.after(seconds, lambda: site.connect(up=True))
        elif what == "site":
            site.kill(down_s=seconds)
        elif what == "hub":
            hub.kill(down_s=seconds)
        else:
            hub.kill(down_s=seconds, restored=backups[0])

    def backup() -> None:
        backups.append(hub.state.copy())
        del backups[:-3]  # so the oldest is up to half a minute old
        world.after(15, backup)

    world.at(0, lambda: poll(1))
    world.at(15, backup)
    for when, what, seconds in faults:
        world.at(when, lambda what=what, seconds=seconds: fault(what, seconds))
    world.run(120)
    link.loss = link.twice = 0.0  # and the rest of its character stays
    polling = False
    world.after(35, lambda: site.append(*made.values()))  # what it could not hand over while it was down
    world.after(40, lambda: site.connect(up=True))
    world.run(2000, lambda: world.now > 165 and not site.log.books.entries and not site.core.flying)
    assert world.now < 1200, "it does not come to an end"
    assert hub.state.rows == set(made)
    assert hub.doubled == 0
    assert site.log.books.dropped == 0
    assert hub.messages < 40 * MESSAGES


fault_plans = st.lists(
    st.tuples(st.floats(1, 115), st.sampled_from(FAULTS), st.floats(0.1, 30)).map(lambda one: one), max_size=5
)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**32),
    fault_plans,
    st.builds(
        Link,
        loss=st.sampled_from([0.0, 0.05, 0.3]),
        twice=st.sampled_from([0.0, 0.2]),
        delay=st.sampled_from([0.001, 0.05, 0.7]),
        jitter=st.sampled_from([0.0, 0.5, 3.0]),
    ),
)
def test_nothing_is_lost_or_doubled(seed: int, faults: list[tuple[float, str, float]], link: Link) -> None:
    shelf = MemoryShelf()
    troubled(seed, faults, link, lambda: shelf)


@pytest.mark.parametrize("seed", range(4))
async def test_nothing_is_lost_or_doubled_on_disk(seed: int, tmp_path: Path) -> None:
    path = path_of(tmp_path, "hq")
    await prepare(path)
    opened: list[SqliteShelf] = []

    def shelf() -> Shelf:
        for one in opened:
            one.close()
        opened[:] = [SqliteShelf(path)]
        opened[0]._db.execute("PRAGMA synchronous = OFF")  # no power is lost here
        return opened[0]

    faults = [(10.0 + seed, "link", 20.0), (40.0, "site", 2.0), (60.0, "restored", 5.0), (90.0 + seed, "site", 0.5)]
    troubled(seed, faults, Link(loss=0.1, twice=0.1, jitter=0.4), shelf)
    opened[0].close()


def test_an_outage_of_hours(capsys: pytest.CaptureFixture[str]) -> None:
    result = outage(1, hours=3, endpoints=100, interval=300, hub_rate=8)
    assert result.made > 3600
    assert (result.lost, result.doubled, result.again) == (0, 0, 0)
    assert result.caught_up_s < 3 * 3600 / 10
    assert 0 < result.newest_s < 60  # before history
    assert result.newest_s <= result.graded_s < result.caught_up_s / 4
    assert result.slowest_s < 5  # what is new does not wait behind history
    assert main(["--hours", "1", "--sites", "2", "--endpoints", "40", "--hub-rate", "8"]) == 0
    assert "lost 0, doubled 0" in capsys.readouterr().out


def test_a_hub_that_is_too_slow_is_told() -> None:
    assert main(["--hours", "1", "--sites", "1", "--endpoints", "60", "--hub-rate", "0.5"]) == 1


def test_a_long_outage_with_a_small_log_loses_the_oldest_metrics_alone() -> None:
    world, link, shelf = World(3), Link(up=False), MemoryShelf()
    hub = HubOfSite(world, link)
    site = SimulatedSite(world, link, hub, SiteSettings(spool_gb=30e-6), lambda: shelf)
    for number in range(1, 501):
        site.append(item(f"o{number}", world, f"srv-{number % 7}", ALERTS if number % 50 == 0 else METRICS))
    assert site.log.books.dropped > 200
    site.connect(up=True)
    world.run(60)
    assert site.log.books.entries == 0
    assert hub.state.given_up == site.log.books.dropped
    assert len(hub.state.rows) == 500 - hub.state.given_up
    assert {f"o{n}" for n in range(50, 501, 50)} <= hub.state.rows
    assert {f"o{n}" for n in range(400, 501)} <= hub.state.rows
    assert not hub.state.marks[site.log.books.names[1]].above


def test_a_hub_restored_from_six_hours_before_has_no_gap() -> None:
    """Also what an earlier start of the collector wrote, and while new observations go on coming."""
    world, link, shelf = World(5), Link(), MemoryShelf()
    hub = HubOfSite(world, link, rate=50)
    site = SimulatedSite(world, link, hub, SiteSettings(), lambda: shelf)
    backups = []

    def poll(number: int) -> None:
        site.append(item(f"o{number}", world, f"srv-{number % 20}"))
        world.after(15, lambda: poll(number + 1))

    def tend() -> None:
        site.log.tend(world.wall)
        world.after(600, tend)

    world.at(0, lambda: poll(1))
    world.at(0, tend)
    world.at(1 * 3600, lambda: backups.append(hub.state.copy()))
    world.at(4 * 3600 + 7, lambda: site.kill(down_s=1))
    world.at(7 * 3600, lambda: hub.kill(down_s=60, restored=backups[0]))
    world.run(7 * 3600 + 1)
    assert len(hub.state.rows) > 1600
    world.run(7 * 3600 + 300)  # the lost six hours, in less than five minutes
    assert site.log.books.entries <= 1
    assert len(hub.state.rows) >= site.appended - 1
    assert len(backups[0].rows) < 250
    assert hub.doubled == 0


def test_a_link_that_is_slow_is_not_taken_for_one_that_loses() -> None:
    world, link, shelf = World(7), Link(delay=4.0, jitter=1.0), MemoryShelf()
    hub = HubOfSite(world, link)
    site = SimulatedSite(world, link, hub, SiteSettings(), lambda: shelf)
    for number in range(1, 601):
        world.at(number, lambda number=number: site.append(item(f"o{number}", world, f"srv-{number % 9}")))
    world.run(700)
    assert len(hub.state.rows) == 600
    assert hub.again < 100
