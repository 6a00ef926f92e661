"""The life of alerts through the coordinator, days of it in virtual time: what is told, and what is not."""

from __future__ import annotations

import sqlite3
import time
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest
from cluster import rows
from folding import CPU, DISK, KEYS, START, Time, content, encoded

from rmm.channels.memory import MemoryChannel
from rmm.coordinator import Coordinator, acts
from rmm.core.alerting.mute import Context
from rmm.core.alerting.scopes import Place
from rmm.core.alerting.silences import parse_matcher
from rmm.model.alerting import AlertSettings, Dependency, Remind, Scope, Window
from rmm.model.incident import Silence
from rmm.model.rule import Rule
from rmm.settings.rules import shipped_rules
from rmm.tiers.fleet_sqlite import FleetFile
from rmm.tiers.fleet_sqlite.database import SQL
from rmm.tiers.migrations import migrate

pytestmark = pytest.mark.databases("sqlite", "postgres")

SERVICE = Rule(id="service_down", collector="services", field="state", op="!=", critical="running")
RULES = [*shipped_rules(), CPU, DISK, SERVICE]
PATIENT = AlertSettings(remind=Remind(critical=0, warning=0))
QUIET = msgspec.structs.replace(PATIENT, resolve_after=0)
FULL, FREE = [{"volume": "C:", "used_pct": 99.0}], [{"volume": "C:", "used_pct": 10.0}]


class Fleet:
    """Rounds of five minutes. Each opens a coordinator of its own, as a scheduled `rmm poll` does."""

    def __init__(self, data: Path, clock: Time, channel: MemoryChannel) -> None:
        self.data, self.clock, self.channel = data, clock, channel
        self.settings, self.windows, self.dependencies = QUIET, list[Window](), list[Dependency]()
        self.places: dict[str, Place] = {}
        self.rules: list[Rule] = RULES
        self.seq = 0

    async def round(self, batch: Iterable[tuple[Any, ...]], minutes: float = 5, **options: Any) -> None:
        """(endpoint, status, rows) of each, then the end of the round; time passes before."""
        self.clock.add(minutes=minutes)
        self.seq += 1
        context = Context(self.windows, self.dependencies, {}, self.places)
        async with Coordinator.open(
            self.data, rules=self.rules, keys=KEYS | {"services": ("name",)}, channels=[self.channel],
            clock=self.clock, settings=self.settings, context=context,
        ) as coordinator:  # fmt: skip
            made = []
            for endpoint, status, rows in batch:
                place = self.places.get(endpoint)
                made.append(encoded(endpoint, self.clock.at, self.seq, status, place.site if place else "hq", **rows))
            await coordinator.fold(made)
            await coordinator.fold(made)  # what is delivered twice counts once, everywhere
            await coordinator.finish(**options)

    def told(self) -> list[tuple[str, str]]:
        """(kind, title) of each notification, in order."""
        return [(one.kind, one.incident.title) for one in self.channel.sent if one.incident is not None]

    def untold(self) -> Counter[str]:
        return Counter(one.why.kind for one in FleetFile(self.data).suppressed())

    def alerts(self, *states: str) -> list[dict[str, Any]]:
        return FleetFile(self.data).alerts(states=states)


@pytest.fixture
def fleet(tmp_path: Path, clock: Time, channel: MemoryChannel) -> Fleet:
    return Fleet(tmp_path / "data", clock, channel)


def by(clock: Time, reason: str = "because") -> acts.By:
    return acts.By("ann", clock.at, reason)


async def test_a_site_that_loses_its_link_is_one_alert(fleet: Fleet) -> None:
    names = [f"e{n:02}" for n in range(40)]
    for _ in range(3):
        await fleet.round((name, "OK", {}) for name in names)
    for _ in range(12):
        await fleet.round((name, "UNREACHABLE", {}) for name in names)
    assert fleet.told() == [("firing", "site hq: 40 of 40 endpoints out of reach; link, firewall or name service?")]
    for _ in range(3):
        await fleet.round((name, "OK", {}) for name in names)
    assert [kind for kind, _ in fleet.told()] == ["firing", "resolved"]
    assert fleet.untold() == {"site": 40}  # each once, although every round found it anew


async def test_a_rebooting_host_is_none(fleet: Fleet) -> None:
    """It goes, comes back with services that are still starting, and is well."""
    steps: list[tuple[str, dict[str, Any]]] = [
        ("OK", {"system": [{"uptime_s": 900_000}]}),
        ("UNREACHABLE", {}),
        ("REBOOTING", {}),
        ("OK", {"system": [{"uptime_s": 40}], "services": [{"name": "sql", "state": "stopped"}]}),
        ("OK", {"system": [{"uptime_s": 340}], "services": [{"name": "sql", "state": "running"}]}),
    ]
    for status, found in steps:
        await fleet.round([("a", status, found)])
    assert fleet.told() == []
    assert fleet.untold() == {"starting": 1}


async def test_what_is_still_stopped_long_after_a_start_is_told(fleet: Fleet) -> None:
    stopped = [{"name": "sql", "state": "stopped"}]
    await fleet.round([("a", "OK", {"system": [{"uptime_s": 40}], "services": stopped})])
    assert fleet.told() == []
    await fleet.round([("a", "OK", {"system": [{"uptime_s": 340}], "services": stopped})])
    assert [kind for kind, _ in fleet.told()] == ["firing"]


async def flap(fleet: Fleet) -> None:
    """For six hours every other poll finds it stopped; then it runs."""
    for number in range(72):
        state = "stopped" if number % 2 == 0 else "running"
        await fleet.round([("a", "OK", {"services": [{"name": "sql", "state": state}]})])


async def test_a_flapping_service_is_one(fleet: Fleet) -> None:
    fleet.settings = PATIENT
    await flap(fleet)
    assert [kind for kind, _ in fleet.told()] == ["firing"]
    assert fleet.untold() == {"flapping": 35}
    for _ in range(12):
        await fleet.round([("a", "OK", {"services": [{"name": "sql", "state": "running"}]})])
    assert [kind for kind, _ in fleet.told()] == ["firing", "resolved"]
    assert fleet.told()[1][1].startswith("flapping: ")
    first, last = (one.incident for one in fleet.channel.sent)
    assert first is not None and last is not None and first.id == last.id


async def test_where_each_end_is_told_at_once_flapping_is_seen_at_the_third_turn(fleet: Fleet) -> None:
    await flap(fleet)
    assert [kind for kind, _ in fleet.told()] == ["firing", "resolved", "firing"]
    assert fleet.told()[2][1].startswith("flapping: ")


async def test_an_end_is_told_when_it_has_lasted(fleet: Fleet) -> None:
    """With the alert that ended, and when that was."""
    fleet.settings = PATIENT
    for found in ({"volumes": FULL}, {"volumes": FREE}, {}):
        await fleet.round([("a", "OK", found)])
    assert [kind for kind, _ in fleet.told()] == ["firing"]
    await fleet.round([("a", "OK", {})])
    assert [kind for kind, _ in fleet.told()] == ["firing", "resolved"]
    (over,) = fleet.channel.sent[1].alerts
    assert over.resolved_at == fleet.clock.at - timedelta(minutes=10)


async def test_a_maintenance_window_is_none_and_no_burst_after_it(fleet: Fleet) -> None:
    """Thirty machines are patched from 22 to 2: they go, and come back before it ends, but for two."""
    fleet.windows = [Window(name="patching", weekly=tuple(range(7)), at=(22 * 60,), lasts_s=4 * 3600)]
    fleet.clock.at = START.replace(hour=21)
    names = [f"e{n:02}" for n in range(30)]
    busy = {"volumes": FULL}
    await fleet.round([(name, "OK", {"volumes": FREE}) for name in names], minutes=50)
    for _ in range(6):  # 22:00 to 22:25
        await fleet.round([(name, "OK", busy if n % 2 else {}) for n, name in enumerate(names)], minutes=10)
    for _ in range(10):
        left = [(name, "OK", {"volumes": FREE} if n > 1 else busy) for n, name in enumerate(names)]
        await fleet.round(left)
    assert fleet.told() == []
    fleet.clock.at = START.replace(hour=1) + timedelta(days=1, minutes=58)
    for _ in range(4):
        await fleet.round([(name, "OK", {}) for name in names])
    assert [kind for kind, _ in fleet.told()] == ["firing", "firing"]  # once for each of the two that are left
    assert {one.alerts[0].endpoint for one in fleet.channel.sent} == {"e00", "e01"}
    assert fleet.untold()["window"] == 16
    resolved = fleet.alerts("resolved")
    assert len(resolved) == 14 and not any(one["told_at"] for one in resolved)


async def test_what_was_told_before_a_window_is_told_to_be_over_in_it(fleet: Fleet) -> None:
    fleet.windows = [Window(name="w", weekly=tuple(range(7)), at=(60,), lasts_s=3600)]
    await fleet.round([("a", "OK", {"volumes": FULL})])
    await fleet.round([("a", "OK", {"volumes": FREE})], minutes=60)
    assert [kind for kind, _ in fleet.told()] == ["firing", "resolved"]


async def test_symptoms_of_one_host_are_one_incident(fleet: Fleet) -> None:
    warning = [{"volume": "C:", "used_pct": 85.0}]
    stopped = [{"name": "sql", "state": "stopped"}]
    hot = [{"core": "_Total", "util_pct": 99.0}]
    await fleet.round([("a", "OK", {"volumes": warning, "cpu": hot})])
    await fleet.round([("a", "OK", {"volumes": warning, "cpu": hot})])  # CPU has held for long enough: worse
    await fleet.round([("a", "OK", {"volumes": warning, "cpu": hot, "services": stopped})], minutes=1)
    kinds = [(one.kind, one.incident.severity, one.incident.firing) for one in fleet.channel.sent if one.incident]
    assert kinds == [("firing", "warning", 1), ("firing", "critical", 2)]  # the third joins without a word
    assert len({one.incident.id for one in fleet.channel.sent if one.incident}) == 1
    assert fleet.untold() == {"incident": 1}
    well: dict[str, Any] = {"volumes": FREE, "cpu": [{"core": "_Total", "util_pct": 1.0}]}
    await fleet.round([("a", "OK", well)])
    assert len(fleet.told()) == 2  # one is left
    await fleet.round([("a", "OK", {**well, "services": [{"name": "sql", "state": "running"}]})])
    assert fleet.told()[2][0] == "resolved"
    assert {one.rule for one in fleet.channel.sent[2].alerts} == {"volume_full", "cpu_high", "service_down"}
    # The next day the same is an incident of its own.
    await fleet.round([("a", "OK", {"volumes": FULL})], minutes=1440)
    assert fleet.channel.sent[3].incident != fleet.channel.sent[0].incident
    assert fleet.told()[3][0] == "firing"


async def test_a_new_symptom_a_day_later_is_not_lost_in_an_old_incident(fleet: Fleet) -> None:
    await fleet.round([("a", "OK", {"volumes": FULL})])
    await fleet.round([("a", "OK", {"services": [{"name": "sql", "state": "stopped"}]})], minutes=1440)
    assert [kind for kind, _ in fleet.told()] == ["firing", "firing"]


async def test_one_symptom_on_many_hosts_is_one_incident(fleet: Fleet) -> None:
    stopped = {"services": [{"name": "av", "state": "stopped"}]}
    names = [f"e{n}" for n in range(30)]
    await fleet.round([(name, "OK", stopped) for name in names])
    assert len(fleet.told()) == 1
    kind, title = fleet.told()[0]
    assert (kind, title.partition(",")[0]) == ("firing", "30 endpoints of site hq: service_down")
    await fleet.round([(name, "OK", {"services": [{"name": "av", "state": "running"}]}) for name in names[1:]])
    assert len(fleet.told()) == 1
    await fleet.round([("e0", "OK", {"services": [{"name": "av", "state": "running"}]})])
    assert [kind for kind, _ in fleet.told()] == ["firing", "resolved"]


async def test_a_group_across_sites_is_many_as_well(fleet: Fleet) -> None:
    names = [f"e{n}" for n in range(8)]
    fleet.places = {name: Place(name, name.upper(), f"s{name}", "kiosks") for name in names}
    await fleet.round([(name, "OK", {"services": [{"name": "av", "state": "stopped"}]}) for name in names])
    assert [title.partition(",")[0] for _, title in fleet.told()] == ["8 endpoints of group kiosks: service_down"]


async def test_those_that_were_told_alone_stay_alone(fleet: Fleet) -> None:
    """Two now, six a few minutes later: three notifications, not eight, and each that was opened is closed."""
    stopped, runs = ({"services": [{"name": "av", "state": state}]} for state in ("stopped", "running"))
    await fleet.round([(f"e{n}", "OK", stopped) for n in range(2)])
    await fleet.round([(f"e{n}", "OK", stopped) for n in range(8)])
    assert len(fleet.told()) == 3
    assert fleet.told()[2][1].startswith("8 endpoints of site hq (2 told before): service_down")
    await fleet.round([(f"e{n}", "OK", runs) for n in range(8)], minutes=30)
    ids = {kind: {one.incident.id for one in fleet.channel.sent if one.kind == kind and one.incident} for kind in
           ("firing", "resolved")}  # fmt: skip
    assert ids["firing"] == ids["resolved"] and len(ids["firing"]) == 3


async def test_what_follows_from_a_switch_is_not_told(fleet: Fleet) -> None:
    fleet.places = {n: Place(n, n.upper(), "hq", "branch-7") for n in ("sw", *(f"e{n}" for n in range(6)))}
    fleet.dependencies = [Dependency(of=Scope(group=("branch-7",)), endpoints=("sw",))]
    others: list[tuple[Any, ...]] = [(f"x{n}", "OK", {}) for n in range(20)]
    down: list[tuple[Any, ...]] = [(name, "UNREACHABLE", {}) for name in fleet.places]
    for _ in range(4):
        await fleet.round([*down, *others])
    assert [one.alerts[0].endpoint for one in fleet.channel.sent] == ["sw"]
    assert fleet.untold() == {"dependency": 6}
    up: list[tuple[Any, ...]] = [(name, "OK" if name != "e3" else "UNREACHABLE", {}) for name in fleet.places]
    await fleet.round([*up, *others])
    # The switch is back, and e3 is not: now it is its own.
    told = [(one.kind, one.alerts[0].endpoint) for one in fleet.channel.sent[1:]]
    assert told == [("resolved", "sw"), ("firing", "e3")]


async def test_a_silence_and_its_end(fleet: Fleet) -> None:
    await fleet.round([("a", "OK", {})])
    wanted = Silence(
        matchers=(parse_matcher("rule=~volume.*"),), author="ann", reason="new disks", starts_at=fleet.clock.at,
        ends_at=fleet.clock.at + timedelta(hours=2),
    )  # fmt: skip
    number = await acts.silence(fleet.data, wanted, fleet.clock.at)
    await fleet.round([("a", "OK", {"volumes": FULL}), ("b", "OK", {"volumes": FULL})])
    await fleet.round([("b", "OK", {"volumes": FREE})])
    assert fleet.told() == [] and fleet.untold() == {"silence": 2}
    assert await acts.unsilence(fleet.data, [number], by(fleet.clock)) == []
    assert await acts.unsilence(fleet.data, [number], by(fleet.clock)) == [number]
    await fleet.round([("a", "OK", {})])
    assert [(one.kind, one.alerts[0].endpoint) for one in fleet.channel.sent] == [("firing", "a")]
    assert [(one.what, one.who) for one in FleetFile(fleet.data).acts()] == [("unsilence", "ann"), ("silence", "ann")]


async def test_an_acknowledgement_ends_reminders_until_it_expires(fleet: Fleet) -> None:
    fleet.settings = AlertSettings()
    await fleet.round([("a", "OK", {"volumes": FULL})])
    await fleet.round([("a", "OK", {})], minutes=300)
    assert [kind for kind, _ in fleet.told()] == ["firing", "reminder"]
    (alert,) = fleet.alerts("firing")
    until = fleet.clock.at + timedelta(hours=10)
    assert await acts.acknowledge(fleet.data, [alert["number"]], by(fleet.clock), until) == []
    await fleet.round([("a", "OK", {"volumes": FULL})], minutes=300)
    await fleet.round([("a", "OK", {"volumes": FULL})], minutes=290)
    assert [kind for kind, _ in fleet.told()] == ["firing", "reminder", "acknowledged"]
    assert fleet.alerts("acknowledged")[0]["ack"]["who"] == "ann"
    await fleet.round([("a", "OK", {"volumes": FULL})], minutes=11)
    assert [kind for kind, _ in fleet.told()][3:] == ["firing"]  # it has expired, and it still fires
    assert fleet.alerts("firing")[0]["ack"] is None


async def test_what_gets_worse_is_not_acknowledged_any_more(fleet: Fleet) -> None:
    await fleet.round([("a", "OK", {"volumes": [{"volume": "C:", "used_pct": 85.0}]})])
    (alert,) = fleet.alerts("firing")
    await acts.acknowledge(fleet.data, [alert["number"]], by(fleet.clock), None)
    await fleet.round([("a", "OK", {"volumes": [{"volume": "C:", "used_pct": 86.0}]})])
    assert fleet.alerts("acknowledged")[0]["value"] == 86.0
    await fleet.round([("a", "OK", {"volumes": FULL})])
    assert fleet.alerts("firing")[0]["severity"] == "critical"
    assert [kind for kind, _ in fleet.told()] == ["firing", "acknowledged", "firing"]


async def test_what_is_resolved_by_hand_is_told_and_fires_anew_when_it_holds(fleet: Fleet) -> None:
    await fleet.round([("a", "OK", {"volumes": FULL})])
    (alert,) = fleet.alerts("firing")
    assert await acts.resolve(fleet.data, [alert["number"]], by(fleet.clock)) == []
    assert await acts.resolve(fleet.data, [alert["number"]], by(fleet.clock)) == [alert["number"]]
    await fleet.round([("b", "OK", {})])
    assert [kind for kind, _ in fleet.told()] == ["firing", "resolved"]
    assert fleet.alerts("resolved")[0]["ended"] == "by ann: because"
    await fleet.round([("a", "OK", {"volumes": FULL})])
    assert [kind for kind, _ in fleet.told()] == ["firing", "resolved", "firing"]


async def test_acts_are_only_added(fleet: Fleet) -> None:
    await fleet.round([("a", "OK", {"volumes": FULL})])
    await acts.acknowledge(fleet.data, [1], by(fleet.clock), None)
    for statement in ("DELETE FROM act", "UPDATE act SET at = ''"):
        with pytest.raises((sqlite3.IntegrityError, asyncpg.PostgresError), match="only added"):
            rows(fleet.data, statement)


@pytest.mark.parametrize(
    ("change", "why"),
    [("retired", "the endpoint is not listed any more"), ("rule", "its rule is gone"), ("quiet", "nothing was heard")],
)
async def test_what_nobody_looks_at_any_more_ends(fleet: Fleet, change: str, why: str) -> None:
    await fleet.round([("a", "OK", {"volumes": FULL})])
    if change == "rule":
        fleet.rules = [*shipped_rules(), CPU]
    minutes = 8 * 1440 if change == "quiet" else 5
    listed = {"b"} if change == "retired" else {"a", "b"}
    await fleet.round([("b", "OK", {})], minutes=minutes, listed=listed)
    assert [kind for kind, _ in fleet.told()] == ["firing", "resolved"]
    assert fleet.alerts("resolved")[0]["ended"].startswith(why)


async def test_resolved_alerts_are_archived_and_kept(fleet: Fleet) -> None:
    await fleet.round([("a", "OK", {"volumes": FULL})])
    await fleet.round([("a", "OK", {"volumes": FREE})])
    await fleet.round([("a", "OK", {})], minutes=29 * 1440)
    assert fleet.alerts("archived") == []
    await fleet.round([("a", "OK", {})], minutes=2 * 1440)
    (kept,) = fleet.alerts("archived")
    assert (kept["state"], kept["value"]) == ("archived", 99.0)
    assert fleet.alerts("resolved") == []


async def test_what_was_not_told_is_forgotten_in_time(fleet: Fleet) -> None:
    fleet.windows = [Window(name="w", weekly=tuple(range(7)), at=(0,), lasts_s=3600)]
    await fleet.round([("a", "OK", {"volumes": FULL})])
    assert fleet.untold() == {"window": 1}
    await fleet.round([("b", "OK", {})], minutes=91 * 1440)
    assert fleet.untold()["window"] == 0


@pytest.mark.databases("sqlite")
async def test_an_old_database_is_not_told_again(tmp_path: Path, fleet: Fleet) -> None:
    """What fired before incidents were known was told then."""
    import aiosqlite

    class Old:
        def iterdir(self) -> list[Any]:
            return [entry for entry in SQL.iterdir() if entry.name[:3] <= "003"]

        def __truediv__(self, name: str) -> Any:
            return SQL / name

    fleet.data.mkdir()
    body = (
        '{"key":"volume_full|a|C:","rule":"volume_full","endpoint":"a","name":"A","site":"hq","severity":"critical",'
        '"state":"firing","summary":"s","value":99.5,"first_at":"2026-02-01T00:00:00Z",'
        '"last_at":"2026-02-28T23:59:00Z","count":3,"resolved_at":null,"row":"C:"}'
    )
    async with aiosqlite.connect(fleet.data / "fleet.sqlite", isolation_level=None) as old:
        await migrate(old, Old())  # type: ignore[arg-type]
        await old.execute(
            "INSERT INTO alert (key, endpoint, state, last_at, body) VALUES ('volume_full|a|C:', 'a', 'firing', '', ?)",
            (body,),
        )
        told = f'{{"id":"x","kind":"firing","at":"2026-02-01T00:00:00Z","alerts":[{body}]}}'
        await old.execute(
            "INSERT INTO outbox (id, channel, at, body, sent_at) VALUES ('x', ?, ?, ?, '2026-02-01')",
            (fleet.channel.name, "2026-02-01T00:00:00+00:00", told),
        )
    await fleet.round([("a", "OK", {"volumes": FULL})])
    assert fleet.told() == []
    await fleet.round([("a", "OK", {"volumes": FREE})])
    assert [kind for kind, _ in fleet.told()] == ["resolved"]


async def test_thousands_of_live_alerts_are_cheap(fleet: Fleet) -> None:
    """A round over a fleet of which every endpoint has an alert, with windows and dependencies by the thousand."""
    names = [f"e{n}" for n in range(2000)]
    fleet.places = {name: Place(name, name.upper(), f"s{n % 50}", f"g{n % 400}") for n, name in enumerate(names)}
    fleet.windows = [
        Window(name=f"w{n}", weekly=(n % 7,), at=(n % 1440,), lasts_s=3600, scope=Scope(endpoint=(f"e{n}",)))
        for n in range(2000)
    ]
    fleet.dependencies = [Dependency(of=Scope(group=(f"g{n}",)), endpoints=(f"e{n}",)) for n in range(400)]
    await fleet.round([(name, "OK", {"volumes": FULL}) for name in names])
    assert len(fleet.told()) < 60
    began = time.process_time()
    await fleet.round([(name, "OK", {}) for name in names])
    assert time.process_time() - began < 5


async def test_the_order_of_a_batch_decides_nothing(tmp_path: Path, clock: Time, channel: MemoryChannel) -> None:
    batch = [(f"e{n}", "OK", {"volumes": FULL if n % 3 else FREE, "services": [{"name": "x", "state": "stopped"}]})
             for n in range(24)]  # fmt: skip
    found = []
    for name, order in (("one", batch), ("two", batch[::-1]), ("three", batch[7:] + batch[:7])):
        clock.at = datetime(2026, 3, 1, tzinfo=UTC)
        fleet = Fleet(tmp_path / name, clock, channel)
        await fleet.round(order)
        held = content(fleet.data)
        held["incident"] = rows(fleet.data, "SELECT id, state, body FROM incident ORDER BY id")
        found.append(held)
    assert found[0] == found[1] == found[2]
