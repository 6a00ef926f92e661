"""The sections people, hours, oncall, escalation: what they mean, and every mistake with its place."""

from __future__ import annotations

import importlib.util
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from rmm.errors import ConfigError
from rmm.model.escalation import Contact, Escalation, Slot, Target
from rmm.settings import oncall
from rmm.settings.load import load_settings

GOOD = """\
sites:
  - {id: hq, timezone: Europe/Berlin, holidays: [DE-BY]}
channels:
  mail: {type: webhook, url: "http://127.0.0.1:1/"}
people:
  anna: {name: Anna Berg, channels: [{channel: mail, to: a@example.org}, {channel: mail, to: b@example.org}]}
  bob: {channels: [{channel: mail}]}
hours:
  office: {open: {mon-thu: 08:00-17:00, "fri,sat": "08:00-12:00, 22:00-06:00"}, closed: [2026-12-24]}
oncall:
  servers:
    timezone: Europe/Berlin
    layers:
      - {people: [anna, bob], starts: 2026-01-05, every: 2w}
      - {people: [bob], starts: 2026-01-05, handoff: "18:30", every: 12h, outside: office}
    overrides: [{person: bob, since: 2026-12-24T18:00, until: 2026-12-25T09:00+01:00, reason: swapped}]
escalation:
  standard:
    tiers:
      - {tell: [oncall: servers]}
      - {after: 1h, tell: [person: bob, channel: mail], via: [mail], during: office}
    repeat: 1
"""


def load(folder: Path, text: str) -> Escalation:
    (folder / "rmm.yaml").write_text(text, encoding="utf-8")
    (folder / "endpoints.csv").write_text("ComputerName,SiteId\n", encoding="utf-8")
    return load_settings(folder).escalation


def problems(folder: Path, text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(folder, text)
    return [line.removeprefix(str(folder) + os.sep) for line in caught.value.problems]


def test_what_it_means(tmp_path: Path) -> None:
    found = load(tmp_path, GOOD)
    assert found.people["anna"].contacts == (
        Contact("mail", "mail/anna", {"to": "a@example.org"}),
        Contact("mail", "mail/anna/2", {"to": "b@example.org"}),
    )
    assert found.people["bob"].contacts == (Contact("mail", "mail"),)
    week = found.hours["office"].week
    assert week[0] == (Slot(480, 1020),) and week[5] == (Slot(480, 720), Slot(1320, 1800)) and week[6] == ()
    first, second = found.rotas["servers"].layers
    assert first.starts == datetime(2026, 1, 5, 9) and first.every == timedelta(weeks=2)
    assert second.starts == datetime(2026, 1, 5, 18, 30) and second.outside == "office"
    (one,) = found.rotas["servers"].overrides
    assert (one.since, one.until) == (
        datetime(2026, 12, 24, 17, tzinfo=UTC),
        datetime(2026, 12, 25, 8, tzinfo=UTC),
    )
    policy = found.policies["standard"]
    assert policy.tiers[1].tell == (Target("person", "bob"), Target("channel", "mail"))
    assert policy.tiers[1].after == timedelta(hours=1) and policy.repeat_after == timedelta(minutes=30)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("holidays: [DE-BY]", "holidays: [DE-XX]", "2: sites[0].holidays[0]: DE has no subdivision 'XX'; there are BB"),
        ("holidays: [DE-BY]", "holidays: [QQ]", "2: sites[0].holidays[0]: 'QQ' is no country such as DE"),
        ("channel: mail, to: a@", "channel: post, to: a@", "6: people.anna.channels[0].channel: there is no 'post'"),
        ("bob: {channels: [{channel: mail}]}", "bob: {channels: []}", "7: people.bob.channels: name at least one"),
        ("bob: {channels: [{channel: mail}]}", "bob: {channels: [{to: x}]}", "7: people.bob.channels[0]: name its"),
        ("anna: {name", "an na: {name", "6: people.an na: a name is 1 to 64 of"),
        ("mon-thu: 08:00-17:00", "mon-tho: 08:00-17:00", "9: hours.office.open.mon-tho: 'mon-tho' is no day"),
        ("mon-thu: 08:00-17:00", "thu-mon: 08:00-17:00", "9: hours.office.open.thu-mon: 'thu-mon' is no day"),
        ("mon-thu: 08:00-17:00", "mon: 8-17", "9: hours.office.open.mon: '8-17' is no span of a day"),
        ("mon-thu: 08:00-17:00", "mon: 08:00-24:30", "9: hours.office.open.mon: '08:00-24:30' is no span"),
        ("closed: [2026-12-24]", "closed: [24.12.2026]", "9: hours.office.closed[0]: '24.12.2026' is not a day"),
        ("closed: [2026-12-24]", "timezone: Europe/Ulm", "9: hours.office.timezone: 'Europe/Ulm' is not a time zone"),
        ("people: [anna, bob]", "people: [anna, rob]", "14: oncall.servers.layers[0].people[1]: there is no 'rob' in"),
        ("people: [bob]", "people: []", "15: oncall.servers.layers[1].people: name at least one person"),
        ("every: 2w", "every: 30m", "14: oncall.servers.layers[0].every: 30m is not between 1:00:00 and 366 days"),
        ("every: 2w", "every: weekly", "14: oncall.servers.layers[0].every: 'weekly' is no length of time"),
        ('"18:30"', '"25:30"', "15: oncall.servers.layers[1].handoff: '25:30' is no time of day"),
        ("outside: office", "outside: work", "15: oncall.servers.layers[1].outside: there is no 'work' in hours"),
        ("every: 2w}", "every: 2w, during: office}", "11: oncall.servers.otherwise: name the person who is on call"),
        ("2026-12-24T18:00", "2026-12-26T18:00", "16: oncall.servers.overrides[0].until: it ends before it begins"),
        ("2026-12-24T18:00", "tonight", "16: oncall.servers.overrides[0].since: 'tonight' is no moment"),
        ("timezone: Europe/Berlin\n", "timezone: Mars\n", "12: oncall.servers.timezone: 'Mars' is not a time zone"),
        ("    layers:", "    layer:", "13: oncall.servers.layer: unknown key; did you mean layers?"),
        (
            "tell: [oncall: servers]",
            "tell: [oncall: printers]",
            "20: escalation.standard.tiers[0].tell[0].oncall: t",
        ),
        ("tell: [oncall: servers]", "tell: [servers]", "20: escalation.standard.tiers[0].tell: Expected `object`"),
        ("tell: [oncall: servers]", "tell: []", "20: escalation.standard.tiers[0].tell: name somebody"),
        (
            "tell: [oncall: servers]",
            "after: 2h, tell: [person: bob]",
            "21: escalation.standard.tiers[1].after: it is",
        ),
        ("after: 1h", "after: 1 h", "21: escalation.standard.tiers[1].after: '1 h' is no length of time"),
        ("via: [mail]", "via: [sms]", "21: escalation.standard.tiers[1].via[0]: there is no 'sms' in channels"),
        ("during: office}", "during: work}", "21: escalation.standard.tiers[1].during: there is no 'work' in hours"),
        ("repeat: 1", "repeat: 99", "22: escalation.standard.repeat: 0 to 20 are allowed"),
        ("repeat: 1", "hours: work", "22: escalation.standard.hours: there is no 'work' in hours"),
        ("repeat: 1", "repeat_after: 0", "22: escalation.standard.repeat_after: 0 is not between 0:01:00"),
    ],
)
def test_mistakes(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert GOOD.count(old) == 1 or old.startswith("timezone")
    text = GOOD.replace(old, new, 1)
    found = problems(tmp_path, text)
    assert [line for line in found if line.startswith(f"rmm.yaml:{said}")], found


def test_a_section_of_another_shape(tmp_path: Path) -> None:
    assert problems(tmp_path, GOOD.replace("  standard:\n", "  standard: fast\n  other:\n")) == [
        "rmm.yaml:18: escalation.standard: a mapping of keys is expected"
    ]


CALENDAR = """\
sites: [{id: hq}]
people: {anna: {channels: [{channel: log}]}}
oncall:
  servers: {calendar: oncall.ics, otherwise: anna}
"""


def test_a_calendar(tmp_path: Path) -> None:
    (tmp_path / "oncall.ics").write_text("anything: it is read when it is asked")
    assert load(tmp_path, CALENDAR).rotas["servers"].calendar == str((tmp_path / "oncall.ics").resolve())
    assert "servers" in load(tmp_path, CALENDAR).rotas


def test_a_calendar_without_what_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = CALENDAR.replace(", otherwise: anna", ", layers: [{people: [anna], starts: 2026-01-01}]")
    real = importlib.util.find_spec

    def none_of(name: str, *more: Any) -> Any:
        return None if name in ("icalendar", "holidays") else real(name, *more)

    monkeypatch.setattr(oncall, "find_spec", none_of)
    text = text.replace("{id: hq}", "{id: hq, holidays: [DE]}")
    found = problems(tmp_path, text)
    extra = "which is not installed: pip install 'mytech-rmm[calendars]'"
    assert found[0] == f"rmm.yaml:1: sites[0].holidays: holidays need the package holidays, {extra}"
    assert f"rmm.yaml:4: oncall.servers.calendar: {tmp_path / 'oncall.ics'}: there is no such file" in found
    assert "rmm.yaml:4: oncall.servers.calendar: a rota has layers or a calendar, not both" in found
    assert f"rmm.yaml:4: oncall.servers.calendar: calendars need the package recurring-ical-events, {extra}" in found
    assert any(line.startswith("rmm.yaml:4: oncall.servers.otherwise: name the person who") for line in found)
