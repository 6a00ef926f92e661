"""The sections maintenance, dependencies and alerts: what is right, and every mistake with its line."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from rmm.errors import ConfigError
from rmm.model.alerting import AlertSettings, Flapping, Remind
from rmm.model.settings import Settings
from rmm.settings.load import SETTINGS, load_settings

LIST = """\
ComputerName,SiteId,GroupId,Tags
SWITCH-7,hq,branch-7,net
PC-1,hq,branch-7,office
PC-2,b,branch-8,office
"""


def load(folder: Path, text: str) -> Settings:
    (folder / SETTINGS).write_text("sites: [{id: hq}, {id: b}]\n" + text, encoding="utf-8")
    (folder / "endpoints.csv").write_text(LIST, encoding="utf-8")
    return load_settings(folder)


def test_windows(tmp_path: Path) -> None:
    found = load(tmp_path, """\
maintenance:
  - {name: a, weekly: [sat, Sunday], at: ["22:00", "3:30"], lasts: 4h, site: hq, reason: updates}
  - {name: b, monthly: [2 tue, last sun, 15, last], lasts: 90m, timezone: Europe/Berlin, tag: office, rule: [cpu_high]}
  - {name: c, cron: "30 1 * * mon-fri", lasts: 2700}
  - {name: d, begins: 2027-01-16T18:00, ends: 2027-01-17T06:00, endpoint: ["PC-*"]}
""")  # fmt: skip
    one, two, three, four = found.windows
    assert (one.weekly, one.at, one.lasts_s, one.scope.site) == ((5, 6), (1320, 210), 14_400, ("hq",))
    assert (two.monthly, two.at, two.lasts_s) == (((2, 1), (-1, 6), (15, -1), (-1, -1)), (0,), 5400)
    assert (two.timezone, two.scope.tag, two.scope.rule) == ("Europe/Berlin", ("office",), ("cpu_high",))
    assert (three.cron, three.lasts_s) == ("30 1 * * mon-fri", 2700)
    assert (four.begins, four.ends) == (datetime(2027, 1, 16, 18), datetime(2027, 1, 17, 6))


def test_settings_and_dependencies(tmp_path: Path) -> None:
    found = load(tmp_path, """\
alerts: {together: 5m, remind: {critical: 1h}, flapping: {transitions: 5, calm: 1h}, resolve_after: 300}
dependencies:
  - {of: {group: branch-7}, on: switch-7}
  - {of: {tag: office}, on: {group: branch-8}, when: [endpoint_unreachable]}
  - {of: {site: b}, on: {site: hq}}
""")  # fmt: skip
    assert found.alerts == AlertSettings(
        together=300, remind=Remind(critical=3600), flapping=Flapping(transitions=5, calm=3600), resolve_after=300
    )
    assert [(one.endpoints, one.sites) for one in found.dependencies] == [
        (("switch-7",), ()), (("pc-2",), ()), ((), ("hq",))
    ]  # fmt: skip
    assert found.dependencies[1].when == ("endpoint_unreachable",)


MISTAKES = """\
alerts:
  together: soon
  many: 1
  remind: {fatal: 1h}
  flapping: {transitions: 1}
maintenance:
  - {name: a, weekly: [someday], at: "25:00", lasts: 4h}
  - {name: a, lasts: 4h}
  - {name: b, cron: "61 * * * *", lasts: 99d}
  - {name: c, weekly: sat, monthly: 1, lasts: 1h, timezone: Moon/Sea}
  - {name: d, begins: 2027-01-02T00:00, ends: 2027-01-01T00:00, site: nowhere}
  - {name: e, monthly: [6 tue], lasts: 1h, weekdays: sat}
dependencies:
  - {of: {group: branch-7}, on: SWITCH-7}
  - {of: {endpoint: SWITCH-7}, on: PC-1}
  - {of: {rule: x}, on: PC-1}
  - {on: PC-1}
"""
LINES = {
    "3: alerts.together: 'soon' is no length of time such as 90m, 4h or 1d",
    "4: alerts.many: 2 to 36500 are allowed",
    "5: alerts.remind.fatal: unknown key; known are critical, warning",
    "6: alerts.flapping: transitions are 2 or more, in a window of some length",
    "8: maintenance[0].at: '25:00' is no time of day such as 22:00",
    "8: maintenance[0].weekly: 'someday' is not one of mon, tue, wed, thu, fri, sat, sun",
    "9: maintenance[1]: at and lasts are of windows that come again",
    "9: maintenance[1]: say one of weekly, monthly and cron; or begins and ends, for once",
    "9: maintenance[1].name: this name is used twice",
    "10: maintenance[2].cron: '61' is not within 0-59",
    "10: maintenance[2].lasts: 31 days are the longest",
    "11: maintenance[3]: say one of weekly, monthly and cron; or begins and ends, for once",
    "11: maintenance[3].timezone: 'Moon/Sea' is not a time zone such as Europe/Berlin",
    "12: maintenance[4].ends: it ends before it begins",
    "12: maintenance[4].site: there is no site 'nowhere'",
    "13: maintenance[5].weekdays: unknown key; did you mean weekly?",
    "15: dependencies[0]: what follows from what goes round in a circle: lines 15, 16",
    "17: dependencies[2].of: name an endpoint, group, site or tag",
    "18: dependencies[3].of: missing",
}


def test_every_mistake_is_named_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as failed:
        load(tmp_path, MISTAKES)
    assert {line.partition(f"{SETTINGS}:")[2] for line in failed.value.problems} == LINES


def test_a_machine_that_was_retired_does_not_stop_the_others(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    load(tmp_path, """\
maintenance: [{name: a, weekly: sat, lasts: 1h, endpoint: OLD-1}]
dependencies: [{of: {group: branch-7}, on: OLD-2}]
""")  # fmt: skip
    assert "OLD-1" in caplog.text and "OLD-2" in caplog.text
