"""Weeks of escalation in seconds: clocks that change, holidays, hand-offs, acknowledgements, downtime."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from world import BERLIN, MINUTE, SETTINGS, World, at

from rmm.coordinator.escalation import add_override, remove_override
from rmm.core.alerting.lifecycle import ACKNOWLEDGED, PENDING, RESOLVED
from rmm.core.walltime import shown
from rmm.model.escalation import Override, Rota
from rmm.tiers.fleet_sqlite import FleetFile
from rmm.tiers.fleet_sqlite.escalation import EscalationFile

pytestmark = pytest.mark.databases("sqlite", "postgres")


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with World.open(tmp_path) as found:
        yield found


def ended(data: Path) -> list[str]:
    return [one.ended for one in EscalationFile(FleetFile(data)).courses()]


@pytest.mark.parametrize(
    ("monday", "before", "hours"),
    [("2026-03-30", "2026-03-23", 167), ("2026-10-26", "2026-10-19", 169)],
    ids=["spring", "autumn"],
)
async def test_a_hand_off_in_mid_escalation_after_the_clocks_changed(
    world: World, monday: str, before: str, hours: int, tmp_path: Path
) -> None:
    """Nine o'clock is nine o'clock; the alert fires ten minutes before it."""
    assert at(f"{monday}T09:00") - at(f"{before}T09:00") == timedelta(hours=hours)
    await world.fire(f"{monday}T08:50")
    await world.run(at(monday) + timedelta(days=2))
    day = monday[-2:]
    assert world.told == [
        (f"{day} 08:50", "mail/bob", "firing"),
        (f"{day} 09:05", "mail/anna", "firing"),
        (f"{day} 09:35", "board", "firing"),
        (f"{day} 09:35", "mail/boss", "firing"),
    ]
    assert ended(tmp_path) == ["exhausted"]


@pytest.mark.parametrize(
    ("fired", "due"),
    [
        ("2026-03-29T01:50+01:00", ["29 01:50", "29 03:05", "29 03:35"]),  # 02:00 is left out
        ("2026-10-25T02:50+02:00", ["25 02:50", "25 02:05", "25 02:35"]),  # 02:00 to 03:00 comes twice
    ],
)
async def test_a_delay_of_fifteen_minutes_is_one_whatever_the_clocks_do(
    world: World, fired: str, due: list[str]
) -> None:
    await world.fire(fired)
    await world.run(at(fired) + timedelta(days=1))
    assert list(dict.fromkeys(when for when, _, _ in world.told)) == due


async def test_business_hours_over_easter(world: World) -> None:
    """Good Friday and Easter Monday are holidays in Bavaria: what begins on Thursday goes on on Tuesday."""
    world.policies = ("office",)
    await world.fire("2026-04-02T16:50")
    await world.run(at("2026-05-01"))
    assert [(when, name) for when, name, _ in world.told] == [
        ("02 16:50", "mail/anna"),
        ("07 08:05", "mail/bob"),  # and the rota has gone on
        ("07 08:35", "board"),
        ("07 08:35", "mail/boss"),
    ]
    world.told.clear()
    await world.fire("2026-05-01T12:00", key="cpu_high|b|")  # Labour Day, a Friday
    await world.run(at("2026-05-04T08:10"))
    assert world.told == [("04 08:00", "mail/anna", "firing")]


async def test_an_acknowledgement_between_two_tiers_stops_it(world: World, tmp_path: Path) -> None:
    await world.fire("2026-03-03T03:00")
    await world.become("2026-03-03T03:20", ACKNOWLEDGED)
    await world.run(at("2026-03-10T00:00"))
    assert [when for when, _, _ in world.told] == ["03 03:00", "03 03:15"]
    assert ended(tmp_path) == [ACKNOWLEDGED]
    await world.become("2026-03-10T09:30", RESOLVED)
    assert world.told[2:] == [("10 09:30", "mail/anna", "resolved")]  # those who were told, once
    await world.step()
    assert len(world.told) == 3


async def test_a_resolved_alert_stops_it(world: World, tmp_path: Path) -> None:
    await world.fire("2026-03-03T03:00")
    await world.become("2026-03-03T03:01", RESOLVED)
    await world.run(at("2026-03-10T00:00"))
    assert world.told == [("03 03:00", "mail/anna", "firing"), ("03 03:01", "mail/anna", "resolved")]
    assert ended(tmp_path) == [RESOLVED]


async def test_the_whole_policy_is_done_again(world: World, tmp_path: Path) -> None:
    world.policies = ("again",)
    await world.fire("2026-03-03T03:00")
    await world.run(at("2026-03-10T00:00"))
    assert [when for when, name, _ in world.told if name == "mail/anna"] == [
        "03 03:00", "03 03:15", "03 04:15", "03 04:30", "03 05:30", "03 05:45",
    ]  # fmt: skip
    assert len(world.told) == 3 * 4 and len(set(world.ids)) == 12
    assert ended(tmp_path) == ["exhausted"]
    await world.become("2026-03-11T00:00", RESOLVED)
    # The board hears of the end as every channel does: by the stages.
    assert sorted(name for _, name, kind in world.told if kind == "resolved") == ["mail/anna", "mail/boss"]


async def test_what_came_due_while_nothing_ran_is_told_once(world: World) -> None:
    """Who is on call when it is told counts, not who was when it should have been."""
    await world.fire("2026-03-09T08:50")
    world.now = at("2026-03-09T12:00")
    await world.step()
    assert world.told[1:] == [
        ("09 12:00", "mail/bob", "firing"), ("09 12:00", "board", "firing"), ("09 12:00", "mail/boss", "firing"),
    ]  # fmt: skip
    assert [(one.step, one.told) for one in world.taken] == [
        (1, ("mail/anna",)), (2, ("mail/bob",)), (3, ("mail/boss", "board")),
    ]  # fmt: skip
    await world.step()
    assert len(world.told) == 4


async def test_steps_that_came_due_together_tell_each_person_once(world: World) -> None:
    world.policies = ("again",)
    await world.fire("2026-03-03T03:00")
    world.now = at("2026-03-03T08:00")
    await world.step()
    assert sorted(name for _, name, _ in world.told[1:]) == ["board", "mail/anna", "mail/boss"]
    assert [one.note for one in world.taken].count("told with a later step") == 6
    assert len(world.taken) == 9


async def test_a_silence_makes_it_wait(world: World) -> None:
    await world.fire("2026-03-03T03:00")
    world.silent.add("cpu_high|a|")
    await world.run(at("2026-03-03T03:30"))
    assert len(world.told) == 1
    world.silent.clear()
    await world.run(at("2026-03-03T03:31"))
    assert world.told[1:] == [("03 03:30", "mail/anna", "firing")]


async def test_trouble_of_the_site_makes_it_wait(world: World) -> None:
    """The alert is pending again while its site is down, and goes on where it was."""
    await world.fire("2026-03-03T03:00")
    await world.become("2026-03-03T03:10", PENDING)
    await world.run(at("2026-03-03T03:40"))
    assert len(world.told) == 1
    await world.become("2026-03-03T03:40", "firing")
    await world.run(at("2026-03-03T03:50"))
    assert world.told[1:] == [
        ("03 03:40", "mail/anna", "firing"), ("03 03:45", "board", "firing"), ("03 03:45", "mail/boss", "firing"),
    ]  # fmt: skip


async def test_an_alert_that_fires_anew_begins_anew(world: World, tmp_path: Path) -> None:
    await world.fire("2026-03-03T03:00")
    await world.become("2026-03-03T03:20", RESOLVED)
    await world.fire("2026-03-03T03:30")
    await world.run(at("2026-03-03T03:50"))
    assert [(when, kind) for when, _, kind in world.told] == [
        ("03 03:00", "firing"), ("03 03:15", "firing"), ("03 03:20", "resolved"),
        ("03 03:30", "firing"), ("03 03:45", "firing"),
    ]  # fmt: skip
    assert ended(tmp_path) == ["", RESOLVED]


async def test_one_that_ended_and_fires_anew_between_two_looks(world: World, tmp_path: Path) -> None:
    await world.fire("2026-03-03T03:00")
    alert = msgspec.structs.replace(world._alerts["cpu_high|a|"], state=RESOLVED, resolved_at=world.now)
    await world._become(alert)  # and nobody looks
    world.now = at("2026-03-03T03:05")
    await world.fire("2026-03-03T03:05")
    assert [(when, kind) for when, _, kind in world.told] == [
        ("03 03:00", "firing"),
        ("03 03:05", "resolved"),
        ("03 03:05", "firing"),
    ]


async def test_a_policy_that_was_taken_out_of_the_settings(world: World, tmp_path: Path) -> None:
    await world.fire("2026-03-03T03:00")
    world.configure(msgspec.structs.replace(SETTINGS, policies={}))
    await world.run(at("2026-03-03T05:00"))
    assert len(world.told) == 1 and ended(tmp_path) == ["removed"]


async def test_an_override_by_command(world: World, tmp_path: Path) -> None:
    """I take it from 18:00 to 22:00; taken back at 19:00."""
    own = Override(
        rota="servers", person="bob", since=at("2026-03-03T18:00"), until=at("2026-03-03T22:00"), reason="I take it",
        author="bob", made_at=at("2026-03-03T12:00"),
    )  # fmt: skip
    number = await add_override(tmp_path, own)
    await world.fire("2026-03-03T17:50")
    await world.run(at("2026-03-03T18:30"))
    assert [name for _, name, _ in world.told] == ["mail/anna", "mail/bob"]
    removed = await remove_override(tmp_path, number, who="carla", now=at("2026-03-03T19:00"))
    assert removed is not None and removed.person == "bob"
    await world.fire("2026-03-03T19:01", key="cpu_high|b|")
    assert world.told[-1][1] == "mail/anna"
    assert await remove_override(tmp_path, number, who="carla", now=at("2026-03-03T19:02")) is None
    file = EscalationFile(FleetFile(tmp_path))
    (kept,) = file.overrides(at("2026-01-01"), removed=True)
    assert (kept.author, kept.reason, kept.removed_by, kept.removed_at) == (
        "bob", "I take it", "carla", at("2026-03-03T19:00"),
    )  # fmt: skip
    assert file.overrides(at("2026-01-01")) == []


async def test_a_clock_that_is_set_back(world: World) -> None:
    """A year: the steps go on from now, none is repeated."""
    await world.fire("2026-03-03T03:00")
    world.now -= timedelta(days=365)
    await world.become("2025-03-03T03:00", "firing")
    for _ in range(60):
        await world.step()
        world.now += MINUTE
    assert [name for _, name, _ in world.told] == ["mail/anna", "mail/bob", "board", "mail/boss"]


async def test_a_broken_calendar_reaches_somebody_and_is_noted(world: World, tmp_path: Path) -> None:
    path = tmp_path / "oncall.ics"
    path.write_text("<html>")
    rota = Rota(id="servers", calendar=str(path), otherwise="boss")
    world.configure(msgspec.structs.replace(SETTINGS, rotas={"servers": rota}))
    await world.fire("2026-03-03T03:00")
    assert world.told == [("03 03:00", "mail/boss", "firing")]
    assert world.taken[0].note == "servers: oncall.ics cannot be used"


@pytest.mark.databases("sqlite")
async def test_a_year_of_alerts(world: World) -> None:
    """One every 100 hours: each tells four times, at its moments, the person whose week it is."""
    moment, count = at("2026-03-02T12:00"), 0
    while moment < at("2027-03-02T00:00"):
        await world.fire(moment.isoformat(), key=f"cpu_high|{count}|")
        moment += timedelta(hours=100)
        count += 1
    await world.run(moment)
    assert len(world.told) == 4 * count and len(set(world.ids)) == 4 * count
    for one in world.taken:
        assert one.at == one.due_at
        if one.step < 3:
            turns = (shown(one.at, BERLIN) - datetime(2026, 3, 2, 9)) // timedelta(weeks=1)
            assert one.told == ("mail/bob" if turns % 2 else "mail/anna",)
