"""A rule over the stored history gives what evaluation would have given, whatever it leaves out on the way."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmm.app import App, open_app
from rmm.core.alerting.trial import SECOND, Fired, Trial, limits_of, telling
from rmm.core.rulebook import Rulebook
from rmm.model.observation import Change as Event
from rmm.model.observation import CollectorResult, Fault, Observation
from rmm.model.rule import Rule
from rmm.rule_trial import RuleTrial, Span
from rmm.tiers.cold_sqlite import ColdTier
from rmm.tiers.cold_sqlite.writer import path_of

BEGIN = datetime(2026, 3, 2, tzinfo=UTC)
DAYS = 4
END = BEGIN + timedelta(days=DAYS)


def seen(endpoint: str, at: datetime, seq: int, status: str = "OK", **rows: Any) -> Observation:
    """`rows`: collector=[row, ...], or a CollectorResult."""
    parts = {
        name: own if isinstance(own, CollectorResult) else CollectorResult(outcome="ok", readings=tuple(own))
        for name, own in rows.items()
    }
    return Observation(
        endpoint=endpoint, name=endpoint.upper(), site="hq", shard=0, observed_at=at, duration_s=1.0, status=status,
        fault=None if status == "OK" else Fault("tcp.timeout"), collectors=parts, epoch="e", seq=seq,
    )  # fmt: skip


STEPS = st.floats(0, 100).map(lambda value: round(value))
RULES = st.builds(
    lambda op, warning, critical, hysteresis, for_s: Rule(
        id="r", collector="cpu", field="v", op=op, hysteresis=hysteresis, for_s=for_s,
        warning=warning if warning is not None or critical is not None else 50, critical=critical,
    ),
    st.sampled_from([">", ">=", "<", "<="]), st.none() | STEPS, st.none() | STEPS, st.sampled_from([0.0, 3.0, 20.0]),
    st.sampled_from([0, 300, 420, 1800]),
)  # fmt: skip


def run(rule: Rule, samples: list[tuple[int, float]]) -> list[tuple[Any, ...]]:
    trial = Trial(Rulebook([rule]).of("a", "A", "hq", ""), {}, "a", {})
    for at, value in samples:
        trial.take(seen("a", BEGIN + timedelta(microseconds=at), 0, cpu=[{"v": value}]))
    return [(one.began, one.fired, one.ended, one.alert.severity) for one in trial.end()]


@given(RULES, st.lists(st.tuples(st.integers(60, 900), STEPS), max_size=60))
def test_what_is_left_out_changes_nothing(rule: Rule, steps: list[tuple[int, float]]) -> None:
    at, samples = 0, []
    for passed, value in steps:
        at += passed * SECOND
        samples.append((at, float(value)))
    limits = limits_of(rule)
    assert limits is not None
    shown = telling([one[0] for one in samples], [one[1] for one in samples], rule, limits)
    assert run(rule, [samples[number] for number in shown]) == run(rule, samples)


def wave(minute: int, dice: random.Random) -> float:
    return 100.0 if 600 <= minute % 1440 < 660 else round(dice.uniform(20, 78), 1)


def observations() -> list[Observation]:
    """Four days of two endpoints, polled every five minutes."""
    found = []
    dice = random.Random(4)
    for number, endpoint in enumerate(("a", "b")):
        for step in range(DAYS * 288):
            minute = step * 5
            at = BEGIN + timedelta(minutes=minute, seconds=7 * number)
            broken = endpoint == "b" and 2000 <= minute < 2100
            if broken:
                found.append(seen(endpoint, at, step + 1, "UNREACHABLE"))
                continue
            growing = min(99.9, 40 + minute / 60 * 0.9) if endpoint == "b" else 50.0
            state = "Stopped" if endpoint == "a" and 1000 <= minute < 1100 else "Running"
            admins = [{"id": "S-1", "account": "root"}, {"id": "S-2", "account": "eve"}][: 1 if minute < 3000 else 2]
            changed = Event("added", "S-2", row=admins[-1]) if minute == 3000 else None
            found.append(
                seen(
                    endpoint,
                    at,
                    step + 1,
                    cpu=[{"core": "_Total", "util_pct": wave(minute, dice) if endpoint == "a" else 30.0}],
                    volumes=[
                        {"volume": "C:", "used_pct": 91.0 if minute % 700 < 20 else 60.0, "free_b": 5, "size_b": 9},
                        {"volume": "D:", "used_pct": growing, "free_b": 5, "size_b": 9},
                    ],
                    services=[
                        {"service": "sql", "state": state, "start_mode": "Auto", "trigger_start": False},
                        {"service": "x", "state": "Stopped", "start_mode": "Manual", "trigger_start": False},
                    ],
                    local_admins=CollectorResult(
                        outcome="ok", readings=tuple(admins), changes=(changed,) if changed else ()
                    ),
                )
            )
    return found


OWN = """
rules:
  - {id: d_gone, collector: volumes, measure: absence, where: {volume: "D:"}, warning: 3600}
  - {id: both, collector: volumes, when: 'volumes.used_pct > 90 and cpu.util_pct > 20', warning: true}
  - {id: rising, collector: volumes, field: used_pct, measure: rate, per: h, window_s: 14400, warning: 0.5}
  - {id: odd, collector: cpu, field: util_pct, measure: fleet, least: 3, warning: 5}
  - {id: quiet, measure: absence, warning: 1800}
overrides:
  - {rule: volume_full, endpoint: b, critical: never}
"""


@pytest.fixture(scope="module")
def tried(tmp_path_factory: pytest.TempPathFactory) -> App:
    folder = tmp_path_factory.mktemp("trial")
    (folder / "rmm.yaml").write_text("sites:\n  - {id: hq, credential: x}\n")
    (folder / "endpoints.csv").write_text("ComputerName,SiteId,GroupId,Id\nA,hq,sql,a\nB,hq,,b\n")
    (folder / "rules").mkdir()
    (folder / "rules" / "own.yaml").write_text(OWN)
    app = open_app(folder, lambda: "")
    import asyncio

    asyncio.run(_store(app))
    return app


async def _store(app: App) -> None:
    """A part is merged, a part is sealed, and the rest is as it came."""
    async with ColdTier(path_of(app.data, "hq", 0), app.fields) as cold:
        listed = sorted(observations(), key=lambda one: one.observed_at)
        for first in range(0, len(listed), 64):
            await cold.store(listed[first : first + 64])
            await cold.seal(listed[first].observed_at)
        await cold.merge(END - timedelta(days=1))


def told(app: App, rule: str) -> list[tuple[str, str, str, datetime, datetime, datetime | None]]:
    wanted = next(one for one in app.rules if one.id == rule)
    found = RuleTrial(app, wanted).run(app.settings.endpoints, Span(BEGIN, END))
    return [
        (endpoint.id, one.alert.row, one.alert.severity, one.began, one.fired, one.ended) for endpoint, one in found
    ]


def evaluated(app: App, rule: str) -> list[tuple[str, str, str, datetime, datetime, datetime | None]]:
    """The same by showing evaluation everything."""
    rows: list[tuple[str, Fired]] = []
    keys = {name: one.manifest.key for name, one in app.catalog.items()}
    wanted = next(one for one in app.rules if one.id == rule)
    for endpoint in app.settings.endpoints:
        book = Rulebook([wanted], app.settings.overrides, {endpoint.id: endpoint}, {}, app.schema)
        trial = Trial(book.of(endpoint.id, endpoint.name, "hq", ""), keys, endpoint.id, {})
        for one in observations():
            if one.endpoint == endpoint.id:
                trial.take(one)
        rows += [(endpoint.id, fired) for fired in trial.end()]
    rows.sort(key=lambda one: (one[1].began, one[0]))
    return [(name, one.alert.row, one.alert.severity, one.began, one.fired, one.ended) for name, one in rows]


@pytest.mark.parametrize(
    ("rule", "least"),
    [
        ("cpu_high", DAYS), ("volume_full", 10), ("service_stopped", 1), ("endpoint_unreachable", 1), ("quiet", 1),
        ("local_administrator_added", 2), ("both", 10), ("d_gone", 0),
    ],
)  # fmt: skip
def test_a_rule_over_history_is_the_rule_over_its_observations(tried: App, rule: str, least: int) -> None:
    found = told(tried, rule)
    assert found == evaluated(tried, rule)
    assert len(found) >= least


def test_measures_that_look_back_are_tried_on_the_samples_that_they_keep(tried: App) -> None:
    for rule in ("rising", "volume_filling"):
        (found,) = (one for one in told(tried, rule) if one[1] == "D:")
        (whole,) = (one for one in evaluated(tried, rule) if one[1] == "D:")
        assert found[0] == whole[0] == "b"
        assert abs(found[4] - whole[4]) < timedelta(hours=1)


def test_two_are_too_few_to_be_compared(tried: App) -> None:
    assert told(tried, "odd") == []


def test_an_override_counts(tried: App) -> None:
    assert {(name, severity) for name, row, severity, *_ in told(tried, "volume_full") if row == "C:"} == {
        ("a", "critical"), ("b", "warning"),
    }  # fmt: skip


def rmm(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    import sys

    from rmm.cli.main import main

    before, sys.argv = sys.argv, ["rmm", *words]
    try:
        with pytest.raises(SystemExit) as stopped:
            main()
    finally:
        sys.argv = before
    shown = capsys.readouterr()
    return int(stopped.value.code or 0), shown.out, shown.err


def test_the_command(tried: App, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ("rules", "test", "cpu_high", "--config", tried.settings.folder, "--until", END.isoformat(), "--days", "4")
    code, out, _ = rmm(capsys, *asked)
    assert code == 0
    assert "4 alerts in 4 days (1.0 a day), 4 of them critical, on 1 of 2 endpoints; 0 would fire still" in out
    assert "2026-03-02 10:00  2026-03-02 10:05  2026-03-02 11:00  1 h     100" in out
    code, out, _ = rmm(capsys, *asked, "--output", "json")
    assert [one["lasted"] for one in json.loads(out)] == [3600] * DAYS
    code, out, _ = rmm(capsys, *asked, "--endpoint", "b")
    assert "cpu_high would not have fired in 4 days on 1 endpoints" in out
    code, _, err = rmm(capsys, "rules", "test", "cpu_hihg", "--config", tried.settings.folder)
    assert code == 2 and "cpu_high" in err


def test_the_list(tried: App, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tried.settings.folder
    _, out, _ = rmm(capsys, "rules", "list", "--config", folder, "--output", "json")
    rules = {one["rule"]: one for one in json.loads(out)}
    assert rules["cpu_high"]["source"] == "collector cpu" and rules["cpu_high"]["warning"] == "> 80"
    assert rules["access_denied"]["source"] == "shipped"
    assert rules["rising"]["source"] == f"{folder}/rules/own.yaml:5"
    assert rules["volume_full"]["overridden"] == "1 times"
    _, out, _ = rmm(capsys, "rules", "list", "--config", folder, "--endpoint", "b", "--output", "json")
    own = {one["rule"]: one for one in json.loads(out)}["volume_full"]
    assert (own["critical"], own["overridden"]) == ("", "critical 90 -> none")


def test_the_check(tried: App, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = rmm(capsys, "rules", "check", "--config", tried.settings.folder)
    assert code == 0 and "5 of them yours, and 1 overrides: nothing is wrong" in out
    (tmp_path / "rmm.yaml").write_text("sites:\n  - {id: hq, credential: x}\n")
    (tmp_path / "endpoints.csv").write_text("ComputerName,SiteId\nA,hq\n")
    (tmp_path / "rules").mkdir()
    file = tmp_path / "rules" / "a.yaml"
    file.write_text(
        "rules:\n"
        "  - id: one\n    collector: cpu\n    field: utilpct\n    warning: 1\n"
        "  - {id: two, collector: cpu, when: 'cpu.util_pct > ', warning: true}\n"
        "  - {id: three, collector: volumes, measure: absence, warning: 60}\n"
        "overrides:\n  - {rule: cpu_hihg, warning: 1}\n  - {rule: cpu_high, warning: high}\n"
    )
    code, _, err = rmm(capsys, "rules", "check", "--config", str(tmp_path))
    assert code == 2
    told = [line.removeprefix("error: ").removeprefix(f"{file}:") for line in err.splitlines() if str(file) in line]
    assert [line.split(": ")[:2] for line in told] == [
        ["4", "rules[0].field"], ["6", "rules[1].when"], ["7", "rules[2].warning"],
        ["9", "overrides[0].rule"], ["10", "overrides[1].warning"],
    ]  # fmt: skip
    assert "did you mean util_pct?" in told[0] and "cpu_high" in told[3] and "never" in told[4]
    file.write_text("overrides:\n  - {rule: cpu_high, group: nobody, warning: 1}\n")
    code, out, _ = rmm(capsys, "rules", "check", "--config", str(tmp_path))
    assert code == 0 and f"note: {file}:2: overrides[0]: no endpoint of the list is concerned" in out
