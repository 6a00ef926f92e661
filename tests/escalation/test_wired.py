"""From an observation to a person: rules, routes, escalation, delivery, with time that the test moves."""

from __future__ import annotations

import sys
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from world import BERLIN, SETTINGS, SITES, at, person

from rmm.calendars.lookup import Lookup
from rmm.channels.memory import MemoryChannel
from rmm.coordinator import Coordinator
from rmm.coordinator.escalation import Setup
from rmm.core.alerting.lifecycle import ACKNOWLEDGED, Change
from rmm.core.alerting.mute import Context
from rmm.core.alerting.states import acknowledged
from rmm.model.alerting import AlertSettings, Window
from rmm.model.incident import Matcher, Silence
from rmm.model.observation import encode_observation
from rmm.model.routing import Inhibition, Route, Routing
from rmm.model.rule import Rule
from rmm.settings.rules import shipped_rules
from rmm.tiers.fleet_sqlite import FleetStore, alone

sys.path.insert(0, str(Path(__file__).parents[1] / "coordinator"))

from folding import AT_ONCE, DISK, KEYS, Time, observation

pytestmark = pytest.mark.databases("sqlite", "postgres")

ROUTES = (Route(name="r", match={"severity": "critical"}, channels=("board",), escalation="standard"),)
SOURCE = Rule(id="power", collector="cpu", field="util_pct", where={"core": "_Total"}, critical=95)


class Site:
    """A coordinator with channels that remember; `poll` is one round that sees a volume so full."""

    def __init__(
        self, data: Path, routing: Routing, context: Context | None = None, settings: AlertSettings = AT_ONCE
    ) -> None:
        self.clock = Time()
        self.clock.at = at("2026-03-09T08:00")
        names = ("board", "mail/anna", "mail/bob", "mail/boss")
        self.channels = {name: MemoryChannel(name) for name in names}
        self.seq = 0
        self._data = data
        self._routing = routing
        self._context = context
        self._settings = settings
        assert {contact.name for one in SETTINGS.people.values() for contact in one.contacts} == set(names[1:])

    async def poll(self, used: float, busy: float = 20.0) -> None:
        """As `rmm poll` does it: a coordinator of its own for each round."""
        contacts = [channel for name, channel in self.channels.items() if "/" in name]
        setup = Setup(SETTINGS, Lookup(SETTINGS, SITES), contacts)
        self.seq += 1
        rows = {"volumes": [{"volume": "C:", "used_pct": used}], "cpu": [{"core": "_Total", "util_pct": busy}]}
        async with Coordinator.open(
            self._data, rules=[*shipped_rules(), DISK, SOURCE], keys=KEYS, channels=[self.channels["board"]],
            clock=self.clock, routing=self._routing, escalation=setup, context=self._context, settings=self._settings,
        ) as coordinator:  # fmt: skip
            await coordinator.fold([encode_observation(observation("a", self.clock.at, self.seq, **rows))])
            await coordinator.finish()

    def told(self) -> dict[str, list[str]]:
        found = {
            name: [f"{one.at.minute:02} {one.kind}" for one in channel.sent] for name, channel in self.channels.items()
        }
        return {name: told for name, told in found.items() if told}


async def test_from_a_poll_to_people(tmp_path: Path) -> None:
    """Over a hand-off at nine; in the end everybody who was told hears that it is over, the board once."""
    site = Site(tmp_path, Routing(routes=ROUTES))
    site.clock.at = at("2026-03-09T08:50")
    for used in [95.0] * 12 + [20.0]:
        await site.poll(used)
        site.clock.add(minutes=5)
    assert site.told() == {
        "board": ["50 firing", "35 firing", "50 resolved"],
        "mail/anna": ["50 firing", "50 resolved"],
        "mail/bob": ["05 firing", "50 resolved"],
        "mail/boss": ["35 firing", "50 resolved"],
    }


async def test_a_broken_contact_is_told_later_with_the_same_key(tmp_path: Path) -> None:
    site = Site(tmp_path, Routing(routes=ROUTES))
    site.channels["mail/anna"].broken = True
    await site.poll(95.0)
    assert site.told() == {"board": ["00 firing"]}
    site.channels["mail/anna"].broken = False
    for _ in range(3):
        site.clock.add(minutes=4)
        await site.poll(95.0)
    (one,) = site.channels["mail/anna"].sent
    assert one.id.endswith(":escalation:standard:0.1") and one.alerts[0].rule == "volume_full"


@pytest.mark.parametrize("inhibit", [True, False])
async def test_what_is_inhibited_waits(tmp_path: Path, inhibit: bool) -> None:
    inhibitions = (Inhibition(source={"rule": "power"}, target={"rule": "volume_full"}),) if inhibit else ()
    route = Route(name="full", match={"rule": "volume_full"}, escalation="standard")
    site = Site(tmp_path, Routing(routes=(route,), inhibit=inhibitions))
    await site.poll(95.0, busy=99.0)
    assert ("mail/anna" in site.told()) is not inhibit
    site.clock.add(minutes=5)
    await site.poll(95.0, busy=20.0)
    assert "mail/anna" in site.told()


async def test_warnings_and_other_routes_do_not_escalate(tmp_path: Path) -> None:
    site = Site(tmp_path, Routing(routes=(*ROUTES, Route(name="rest", channels=("board",)))))
    await site.poll(85.0)
    site.clock.add(minutes=5)
    await site.poll(85.0)
    assert site.told() == {"board": ["00 firing"]}
    site.clock.add(minutes=5)
    await site.poll(95.0)  # worse: now the route of critical alerts is its
    assert site.told()["mail/anna"] == ["10 firing"]


async def test_acknowledged_by_a_command_between_two_rounds(tmp_path: Path) -> None:

    site = Site(tmp_path, Routing(routes=ROUTES))
    await site.poll(95.0)
    async with FleetStore.open(tmp_path) as store, alone(tmp_path), store.transaction():
        (alert,) = await store.live_alerts()
        await store.put_changes([Change(msgspec.structs.replace(alert, state=ACKNOWLEDGED))])
    site.clock.at += timedelta(hours=2)
    await site.poll(95.0)
    assert site.told() == {"board": ["00 firing"], "mail/anna": ["00 firing"]}


async def test_a_maintenance_window_stops_steps_until_it_ends(tmp_path: Path) -> None:
    begins = datetime(2026, 3, 9, 8, 10)
    window = Window(name="w", timezone="Europe/Berlin", begins=begins, ends=begins + timedelta(minutes=30))
    site = Site(tmp_path, Routing(routes=ROUTES), Context([window], zones={"Europe/Berlin": BERLIN}))
    for _ in range(8):
        await site.poll(95.0)
        site.clock.add(minutes=5)
    assert site.told() == {"board": ["00 firing"], "mail/anna": ["00 firing"]}
    await site.poll(95.0)  # at :40 the window ends, and the step of :15 is late
    assert site.told()["mail/anna"] == ["00 firing", "40 firing"]


async def test_a_silence_stops_steps(tmp_path: Path) -> None:
    site = Site(tmp_path, Routing(routes=ROUTES))
    await site.poll(95.0)
    silence = Silence(
        matchers=(Matcher("rule", "=", "volume_full"),), starts_at=site.clock.at, author="anna", reason="x",
        ends_at=site.clock.at + timedelta(hours=1),
    )  # fmt: skip
    async with FleetStore.open(tmp_path) as store, alone(tmp_path), store.transaction():
        await store.add_silence(silence)
    for _ in range(11):
        site.clock.add(minutes=5)
        await site.poll(95.0)
    assert site.told() == {"board": ["00 firing"], "mail/anna": ["00 firing"]}
    site.clock.add(minutes=6)
    await site.poll(95.0)
    assert "01 firing" in site.told()["mail/boss"]


async def test_an_incident_is_one_message_to_a_person(tmp_path: Path) -> None:
    site = Site(tmp_path, Routing(routes=ROUTES))
    await site.poll(95.0, busy=99.0)
    await site.poll(20.0, busy=20.0)
    first, *ends = site.channels["mail/anna"].sent
    assert sorted(alert.rule for alert in first.alerts) == ["power", "volume_full"]
    assert [(one.kind, len(one.alerts)) for one in ends] == [("resolved", 2)]
    assert [one.kind for one in site.channels["board"].sent] == ["firing", "resolved"]


async def test_a_flapping_alert_climbs_on_where_it_was(tmp_path: Path) -> None:
    """Nobody is called anew each time it comes back, and nobody is left uncalled because it went in between."""
    site = Site(tmp_path, Routing(routes=ROUTES), settings=AlertSettings())
    for used in [95.0, 20.0, 95.0, 20.0] + [95.0] * 7:
        await site.poll(used)
        site.clock.add(minutes=5)
    assert site.told() == {
        "board": ["00 firing", "45 firing"],
        "mail/anna": ["00 firing", "20 firing"],  # the step of :15 waited until it was there again
        "mail/boss": ["45 firing"],
    }


async def test_who_joins_an_incident_keeps_it_climbing(tmp_path: Path) -> None:
    """The alert that began it is over, another of the same incident is not."""
    site = Site(tmp_path, Routing(routes=ROUTES))
    await site.poll(95.0)
    site.clock.add(minutes=5)
    await site.poll(95.0, busy=99.0)
    for _ in range(2):
        site.clock.add(minutes=5)
        await site.poll(20.0, busy=99.0)
    assert site.told() == {"board": ["00 firing"], "mail/anna": ["00 firing", "15 firing"]}
    assert [one.rule for one in site.channels["mail/anna"].sent[1].alerts] == ["power"]


async def test_an_acknowledgement_that_expired_lets_the_rest_go_on(tmp_path: Path) -> None:
    site = Site(tmp_path, Routing(routes=ROUTES))
    await site.poll(95.0)
    until = site.clock.at + timedelta(minutes=30)
    async with FleetStore.open(tmp_path) as store, alone(tmp_path), store.transaction():
        (alert,) = await store.live_alerts()
        await store.put_changes([Change(acknowledged(alert, "anna", site.clock.at, "at it", until))])
    for _ in range(10):
        site.clock.add(minutes=5)
        await site.poll(95.0)
    assert site.told()["mail/anna"] == ["00 firing", "45 firing"]  # fifteen minutes after it fired again
    assert "mail/boss" not in site.told()


def test_contacts_of_the_tests_are_as_settings_make_them() -> None:
    assert person("anna").contacts[0].name == "mail/anna"
