"""Who has which rules, with which thresholds, and when."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from rmm.core.alerting.lifecycle import evaluate
from rmm.core.between import span_of, within
from rmm.core.rulebook import Rulebook
from rmm.model.endpoint import Endpoint
from rmm.model.observation import CollectorResult, Observation
from rmm.model.rule import Override, Rule, Scope
from rmm.settings.rules import read_rules

CPU = Rule(id="cpu_high", collector="cpu", field="util_pct", warning=80, critical=95, for_s=300)
SERVER, CLIENT = "Microsoft Windows Server 2022 Standard", "Microsoft Windows 11 Pro"
LISTED = {
    "a": Endpoint(id="a", name="SQL01", site="hq", group="sql", tags=("gold", "db")),
    "b": Endpoint(id="b", name="PC07", site="berlin", group="desktops"),
}


def told(rules: Rule | list[Rule], *overrides: Override, endpoint: str = "a", os: str = SERVER) -> Rule | None:
    book = Rulebook([rules] if isinstance(rules, Rule) else rules, overrides, LISTED)
    one = LISTED[endpoint]
    return book.of(endpoint, one.name, one.site, os).rules.get("cpu_high")


@pytest.mark.parametrize(
    ("scope", "fits"),
    [
        (Scope(), "ab"), (Scope(group="SQL"), "a"), (Scope(group=("sql", "desk*")), "ab"), (Scope(site="berlin"), "b"),
        (Scope(tag="DB"), "a"), (Scope(os="server"), "a"), (Scope(os="server 2022"), "a"), (Scope(os="*11 pro"), "b"),
        (Scope(endpoint="pc*"), "b"), (Scope(endpoint="a"), "a"), (Scope(group="sql", site="berlin"), ""),
        (Scope(group="sq"), ""), (Scope(tag=("x", "gold")), "a"),
    ],
)  # fmt: skip
def test_scopes(scope: Scope, fits: str) -> None:
    rule = Rule(id="cpu_high", collector="cpu", field="util_pct", warning=80, only=scope)
    found = [one for one, os in (("a", SERVER), ("b", CLIENT)) if told(rule, endpoint=one, os=os)]
    assert "".join(found) == fits


def test_a_rule_of_a_system_waits_until_it_is_known() -> None:
    rule = Rule(id="cpu_high", collector="cpu", field="util_pct", warning=80, only=Scope(os="server"))
    assert told(rule, os="") is None


def test_one_line_overrides_a_threshold() -> None:
    found = told(CPU, Override(rule="cpu_high", group="sql", warning=90))
    assert found is not None and (found.warning, found.critical, found.for_s) == (90, 95, 300)
    other = told(CPU, Override(rule="cpu_high", group="sql", warning=90), endpoint="b")
    assert other is not None and other.warning == 80


def test_one_line_disables_a_rule_and_another_has_it_again() -> None:
    assert told(CPU, Override(rule="cpu_*", group="sql", disable=True)) is None
    again = told(CPU, Override(rule="cpu_high", endpoint="SQL01"), Override(rule="cpu_*", group="sql", disable=True))
    assert again == CPU
    assert told(CPU, Override(rule="cpu_high", warning="never", critical="never")) is None
    less = told(CPU, Override(rule="cpu_high", critical="never"))
    assert less is not None and (less.warning, less.critical) == (80, None)


def test_what_names_an_endpoint_goes_before_what_names_a_group_and_the_later_before_the_earlier() -> None:
    found = told(
        CPU,
        Override(rule="cpu_high", endpoint="a", warning=70),
        Override(rule="cpu_high", group="sql", warning=90, for_s=60),
        Override(rule="cpu_high", group="sql", for_s=90),
    )
    assert found is not None and (found.warning, found.for_s) == (70, 90)


def test_endpoints_with_the_same_rules_share_them() -> None:
    listed = {str(n): Endpoint(id=str(n), name=str(n), site="hq", group="sql" if n % 2 else "") for n in range(100)}
    book = Rulebook([CPU], [Override(rule="cpu_high", group="sql", warning=90)], listed)
    assert len({id(book.of(name, name, "hq", SERVER)) for name in listed}) == 2


@pytest.mark.parametrize("text", ["", "8-18", "25:00-26:00", "mon 08:00", "mon-fun 08:00-18:00", "08:00-08:00", "mo"])
def test_what_is_no_time_of_the_week(text: str) -> None:
    assert span_of(text) is None


def moments(text: str, zone: str = "UTC", begin: datetime = datetime(2026, 3, 2, tzinfo=UTC)) -> set[str]:
    test = within([text], ZoneInfo(zone))
    hours = [begin + timedelta(hours=n) for n in range(7 * 24)]
    return {f"{at:%a %H}" for at in hours if test(at)}


def test_times_of_the_week() -> None:
    office = moments("mon-fri 08:00-18:00")
    assert len(office) == 50 and "Mon 08" in office and "Mon 18" not in office and "Sat 09" not in office
    night = moments("fri 22:00-06:00")
    assert night == {"Fri 22", "Fri 23", "Sat 00", "Sat 01", "Sat 02", "Sat 03", "Sat 04", "Sat 05"}
    assert len(moments("sat,sun")) == 48 and len(moments("fri-mon")) == 96
    assert "Mon 13" in moments("08:00-09:00", "America/New_York")  # summer time has not begun there


def test_times_follow_the_clocks_of_the_site() -> None:
    test = within(["08:00-09:00"], ZoneInfo("Europe/Berlin"))
    assert test(datetime(2026, 3, 28, 7, 30, tzinfo=UTC)) and not test(datetime(2026, 3, 28, 6, 30, tzinfo=UTC))
    assert test(datetime(2026, 3, 29, 6, 30, tzinfo=UTC)) and not test(datetime(2026, 3, 29, 7, 30, tzinfo=UTC))


def test_outside_of_its_times_a_rule_says_nothing_and_what_it_said_is_over() -> None:
    rule = Rule(id="cpu_high", collector="cpu", field="util_pct", warning=80, between="08:00-18:00")
    rules = Rulebook([rule], zones={"hq": ZoneInfo("Europe/Berlin")}).of("a", "A", "hq", "")

    def poll(hour: int, live: dict[str, object]) -> list[str]:
        at = datetime(2026, 1, 5, hour, tzinfo=UTC)
        seen = Observation(
            endpoint="a", name="A", site="hq", shard=0, observed_at=at, duration_s=1, status="OK", fault=None,
            collectors={"cpu": CollectorResult(outcome="ok", readings=({"util_pct": 99},))}, epoch="e", seq=hour,
        )  # fmt: skip
        changes = evaluate(seen, live, rules.compiled, {}, None, rules.between)  # type: ignore[arg-type]
        live.update({change.alert.key: change.alert for change in changes})
        return [change.tell for change in changes]

    live: dict[str, object] = {}
    assert poll(6, live) == []  # 07:00 there
    assert poll(8, live) == ["firing"]
    assert poll(17, live) == ["resolved"]  # 18:00 there


def test_files_say_where_they_are_wrong(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(
        "rules:\n"
        "  - id: x\n    collector: cpu\n    field: util_pct\n    warning: 80\n    only: {group: [a, b]}\n"
        "  - id: y\n    collector: cpu\n    field: util_pct\n    measure: forecast\n    warning: 24\n"
        "  - id: x\n    collector: cpu\n    field: util_pct\n    warning: 1\n    between: 8-18\n"
        "  - {id: z, collector: cpu, when: 'cpu.util_pct > 1', warning: 1}\n"
        "overrides:\n  - {rule: x, grup: sql, warning: 90}\n  - {rule: x, site: hq, disable: true}\nother: 1\n"
    )
    found = read_rules(tmp_path)
    assert [rule.id for rule in found.rules] == ["x"]
    assert found.overrides == [Override(rule="x", site="hq", disable=True)]
    places = [line.removeprefix(f"{tmp_path}/a.yaml:") for line in found.problems]
    assert [line.split(": ")[:2] for line in places] == [
        ["7", "rules[1].op"], ["7", "rules[1].reach"], ["12", "rules[2].id"], ["16", "rules[2].between"],
        ["17", "rules[3].warning"], ["19", "overrides[0].grup"], ["21", "other"],
    ]  # fmt: skip
    assert "did you mean group?" in found.problems[5]
    assert found.places["x"]["warning"] == f"{tmp_path}/a.yaml:5: rules[0].warning"
