"""What somebody has recorded and sends again changes nothing, whenever; what a site sends late is taken, whenever."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hubside import SITES, START, Given, Keys, Site, Time, acts, hub, observation, plan, rows

from rmm.hub import books
from rmm.model.envelope import Marks
from rmm.model.incident import Act

OWNERS = {f"{site}-{n}": site for site in SITES for n in range(6)}

pytestmark = pytest.mark.databases("sqlite", "postgres")


def day(keys: Keys, *, ahead: timedelta = timedelta(0)) -> Site:
    """Six observations with an alert, and an act; `ahead`: of the site's clock."""
    site = Site(keys, "berlin")
    for n in range(6):
        at = START + ahead + timedelta(minutes=5 * n)
        site.observe(observation("berlin", "berlin-1", at, n + 1, busy=97.0 if n > 3 else 5.0))
    site.add("audit", msgspec.json.encode(Act(at=START + ahead, who="bob", what="ack")), START + ahead)
    return site


def facts(data: Path) -> tuple[Any, ...]:
    """What must not change."""
    return (
        [one for one in acts(data) if one.what == "ack (site)"],
        rows(data, "SELECT key, state FROM alert ORDER BY key"),
        rows(data, "SELECT count(*) FROM late"),
        rows(data, "SELECT site, epoch, body FROM site_mark ORDER BY site, epoch"),
        rows(data, "SELECT count(*) FROM site_refused"),
    )


@pytest.mark.parametrize("restarted", [False, True])
async def test_a_day_that_was_recorded_is_known_after_a_month_and_after_a_year(
    tmp_path: Path, clock: Time, keys: Keys, restarted: bool
) -> None:
    site = day(keys)
    captured = site.sealed()
    clock.add(minutes=26)
    async with hub(tmp_path, clock, plan(SITES, OWNERS, clock), keys.trust) as opened:
        await opened.ingest.take([Given(site.subject, captured)])
        await opened.rounds.look()
        before = facts(tmp_path)
        assert (opened.ingest.taken, len(before[0]), len(before[1]), before[3][0][1]) == (6, 1, 1, site.epoch)
        for _ in range(0 if restarted else 2):
            clock.add(days=31)
            await opened.rounds.look()  # and what did not grow is out of mind
            assert opened.books.marks("berlin") == {}
            before = facts(tmp_path)
            await opened.ingest.take([Given(site.subject, captured)])
            assert (opened.ingest.taken, facts(tmp_path)) == (6, before)
            assert opened.books.marks("berlin") == {site.epoch: Marks(7)}  # and its site is told so
        clock.add(days=365)
    async with hub(tmp_path, clock, plan(SITES, OWNERS, clock), keys.trust) as opened:
        assert opened.books.marks("berlin") == {}
        await opened.rounds.look()
        before = facts(tmp_path)
        given = Given(site.subject, captured)
        await opened.ingest.take([given])
        await opened.rounds.look()
        assert (given.acked, opened.ingest.taken, facts(tmp_path)) == (True, 0, before)
    assert len(before[0]) == 1


async def test_a_site_that_was_away_for_longer_than_anything_is_kept_loses_nothing(
    tmp_path: Path, clock: Time, keys: Keys
) -> None:
    site = day(keys)
    clock.add(minutes=26)
    async with hub(tmp_path, clock, plan(SITES, OWNERS, clock), keys.trust) as opened:
        await opened.ingest.take([Given(site.subject, site.sealed(site.entries[:4]))])
        clock.add(days=45)
        await opened.rounds.look()
        site.observe(observation("berlin", "berlin-1", START + timedelta(days=44), 7))
        await opened.ingest.take([Given(site.subject, site.sealed())])  # what it keeps, and what it could not send
        assert opened.ingest.taken == 7
        assert opened.books.marks("berlin") == {site.epoch: Marks(8)}
    assert len([one for one in acts(tmp_path) if one.what == "ack (site)"]) == 1


@pytest.mark.parametrize("years", [-12, 3])
async def test_a_site_whose_clock_is_wrong_by_years_is_heard(
    tmp_path: Path, clock: Time, keys: Keys, years: int
) -> None:
    site = day(keys, ahead=timedelta(days=365 * years))
    async with hub(tmp_path, clock, plan(SITES, OWNERS, clock), keys.trust) as opened:
        for _ in range(2):
            await opened.ingest.take([Given(site.subject, site.sealed())])
        assert opened.ingest.taken == 6
        assert opened.books.marks("berlin") == {site.epoch: Marks(7)}


@pytest.mark.databases("sqlite")
async def test_a_hub_that_was_restored_takes_again_what_it_lost_and_no_more(
    tmp_path: Path, clock: Time, keys: Keys
) -> None:
    """Of an epoch that began after the backup as well, although nothing tells it from one that was played."""
    old, new = day(keys), Site(keys, "berlin")
    new.observe(observation("berlin", "berlin-2", START + timedelta(minutes=40), 1))
    clock.add(minutes=50)
    made = plan(SITES, OWNERS, clock)
    async with hub(tmp_path, clock, made, keys.trust) as opened:  # as it was at the time of the backup
        await opened.ingest.take([Given(old.subject, old.sealed(old.entries[:3]))])
    async with hub(tmp_path, clock, made, keys.trust) as opened:
        await opened.ingest.take([Given(old.subject, old.sealed()), Given(new.subject, new.sealed())])
        assert opened.ingest.taken == 3 + 1
        assert opened.books.marks("berlin") == {old.epoch: Marks(7), new.epoch: Marks(1)}


async def test_what_is_remembered_of_a_site_is_bounded(
    tmp_path: Path, clock: Time, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By so many starts of its collectors, however young they are; in memory by fewer."""
    monkeypatch.setattr(books, "MOST_KEPT", 5)

    async def begins(opened: Any, site: str, count: int) -> None:
        for n in range(count):
            clock.add(minutes=1)
            one = Site(keys, site)
            one.observe(observation(site, f"{site}-1", clock.at, n + 1))
            await opened.ingest.take([Given(one.subject, one.sealed())])

    async with hub(tmp_path, clock, plan(SITES, OWNERS, clock), keys.trust) as opened:
        await begins(opened, "berlin", 9)
        await begins(opened, "lyon", 2)
        clock.add(hours=2)
        await opened.rounds.look()
        kept = "SELECT site, count(*) FROM site_mark GROUP BY site ORDER BY site"
        assert rows(tmp_path, kept) == [("berlin", 6), ("lyon", 2)]  # the sixth is what the others are compared with


async def test_epochs_that_a_site_makes_up_cost_one_transaction_for_many_and_little_memory(
    tmp_path: Path, clock: Time, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(books, "MOST_EPOCHS", 10)
    made = [Site(keys, "berlin") for _ in range(40)]
    for n, one in enumerate(made):
        one.observe(observation("berlin", "berlin-1", START + timedelta(seconds=n), n + 1))
    changes = []
    async with hub(tmp_path, clock, plan(SITES, OWNERS, clock), keys.trust) as opened:
        real = opened.ingest._coordinator.change

        async def change(*given: Any) -> None:
            changes.append(given)
            await real(*given)

        monkeypatch.setattr(opened.ingest._coordinator, "change", change)
        await opened.ingest.take([Given(one.subject, one.sealed()) for one in made])
        assert len(changes) == 1
        assert opened.ingest.taken == 40
        assert [*opened.books.marks("berlin")] == [one.epoch for one in made[-10:]]
        assert not any(opened.books.holds("berlin", one.epoch) for one in made[:30])
        # Those out of mind are known when they come again, and put none out of mind that comes with them.
        again = [*made[30:32], *made[:9]]
        await opened.ingest.take([Given(one.subject, one.sealed()) for one in again])
        assert (len(changes), opened.ingest.taken) == (2, 40)
    async with hub(tmp_path, clock, plan(SITES, OWNERS, clock), keys.trust) as opened:
        assert len(opened.books.marks("berlin")) == 10
