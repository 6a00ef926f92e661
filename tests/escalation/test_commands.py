"""docs/escalation.md is run as it stands; then its configuration tells people, through the whole program."""

from __future__ import annotations

import csv
import doctest
import io
import json
import re
import shlex
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from rmm.cli.main import main
from rmm.model.observation import CollectorResult, Observation, encode_observation

PAGE = (Path(__file__).parents[2] / "docs" / "escalation.md").read_text(encoding="utf-8")
CONFIG = "sites: [{id: hq, timezone: Europe/Berlin, holidays: [DE-BY]}]\n" + PAGE.split("```yaml\n")[1].split("```")[0]
FORM = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
Run = Callable[[str], tuple[int, str, str]]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("RMM_DATA", raising=False)
    monkeypatch.setenv("RMM_CONFIG", str(tmp_path))
    (tmp_path / "rmm.yaml").write_text(CONFIG)
    (tmp_path / "endpoints.csv").write_text("ComputerName,SiteId\nSRV-1,hq\n")
    return tmp_path


@pytest.fixture
def run(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    def call(command: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", shlex.split(command))
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return int(str(ended.value.code)), out, err

    return call


def test_the_page(run: Run) -> None:
    blocks = "\n".join(re.findall(r"^```console\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL))
    commands = re.findall(r"^\$ ([^\n]*)\n((?:(?!\$ )[^\n]*\n?)*)", blocks, re.MULTILINE)
    assert len(commands) == 7
    for command, said in commands:
        code, out, err = run(command)
        assert (code, err) == (0, ""), command
        assert doctest.OutputChecker().check_output(said.strip() + "\n", out, FORM), (command, out)


def test_the_page_has_every_command() -> None:
    from rmm.cli.escalation import app
    from rmm.cli.oncall import app as oncall
    from rmm.cli.oncall import override

    for group, found in (("escalation", app), ("oncall", oncall), ("oncall override", override)):
        for command in found.registered_commands:
            assert f"rmm {group} {command.name}" in PAGE


def observed(at: datetime, used: float) -> bytes:
    result = CollectorResult(outcome="ok", readings=({"volume": "C:", "used_pct": used, "free_bytes": 1},))
    return encode_observation(Observation(
        endpoint="srv-1", name="SRV-1", site="hq", shard=0, observed_at=at, duration_s=0.1, status="OK", fault=None,
        collectors={"volumes": result}, epoch="00" * 8, seq=1,
    ))  # fmt: skip


async def fire(folder: Path) -> None:
    from rmm.app import open_app

    (folder / "rules").mkdir()
    rule = "rules: [{id: full, collector: volumes, field: used_pct, op: '>', critical: 90}]"
    (folder / "rules" / "own.yaml").write_text(rule)
    application = open_app(folder, lambda: "")
    async with application.coordinator() as coordinator:
        await coordinator.fold([observed(datetime.now(UTC), 99.0)])
        await coordinator.finish()


def test_the_whole_program_tells_whoever_is_on_call(folder: Path, run: Run) -> None:
    """With the real clock: the first tier is due at once, to bob, who took it; nobody else is told."""
    import asyncio

    assert run('rmm oncall override add servers bob --until +1h --reason "I take it" --author bob')[0] == 0
    asyncio.run(fire(folder))
    data = folder / "data"
    lines = [json.loads(line) for line in (data / "bob.log").read_text().splitlines()]
    (told,) = lines  # volumes has a rule of its own as well: one incident
    assert {one["rule"] for one in told["alerts"]} == {"full", "volume_full"}
    assert told["id"].endswith(":escalation:critical:0.1")
    assert (data / "board.log").exists() and not (data / "anna.log").exists() and not (data / "eve.log").exists()
    code, out, _ = run("rmm escalation list -o json")
    (one,) = json.loads(out)
    assert code == 0 and one["told"] == ["mail/bob"] and "(and 1 more on SRV-1)" in one["what"]
    listed = json.loads(run("rmm alerts list -o json")[1])
    numbers = {alert["number"] for alert in listed if alert["incident"] == one["incident"]}
    assert len(numbers) == 2
    steps, *others = (json.loads(run(f"rmm escalation show {name} -o json")[1]) for name in (one["incident"], *numbers))
    assert others == [steps, steps]
    assert [one["state"].split()[0] for one in steps] == ["taken"] + ["planned"] * 5
    assert steps[0]["tells"] == steps[1]["tells"] == ["mail/bob"]
    assert run("rmm notify test mail/anna")[0] == 0
    assert json.loads((data / "anna.log").read_text())["test"]


def test_the_audit_log_has_who_took_a_rota(run: Run) -> None:
    assert run('rmm oncall override add servers bob --until +1h --reason "I take it" --author bob')[0] == 0
    assert run("rmm oncall override remove 1")[0] == 0
    taken, ended = json.loads(run("rmm audit -o json")[1])
    assert (taken["who"], taken["what"], taken["why"]) == ("bob", "on call taken over", "I take it")
    assert ended["what"] == "taking over ended" and ended["who"] and ended["about"] == taken["about"]
    assert taken["about"].startswith("servers: bob from 20")
    assert json.loads(run("rmm audit -o json --until 2026-01-02T00:00+00:00 --since 2026-01-01T00:00+00:00")[1]) == []


def test_output_for_programs(run: Run) -> None:
    code, out, _ = run("rmm oncall show --at 2026-12-24T12:00+01:00 --days 1 -o csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert code == 0 and [row["person"] for row in rows] == ["anna", "bob", "eve"]
    (row,) = json.loads(run("rmm oncall show --at 2026-12-24T12:00+01:00 -o json")[1])
    assert (row["person"], row["next"], row["name"]) == ("anna", "bob", "Anna Berg")


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("rmm oncall show --rota printers", "there is no rota 'printers'; there are servers"),
        ("rmm oncall show --at 1234-01-01", "2000 to 2100 are allowed"),
        ("rmm oncall show --at 9999-12-31T23:59", "2000 to 2100 are allowed"),
        ("rmm oncall show -o xml", "there are table, json"),
        ("rmm oncall override add printers bob --until 22:00 --reason x", "there is no rota 'printers'"),
        ("rmm oncall override add servers rob --until 22:00 --reason x", "there is no 'rob' in people"),
        ("rmm oncall override add servers bob --until 22:00 --reason ' '", "--reason is empty"),
        ("rmm oncall override add servers bob --until 2020-01-01 --reason x", "that is over, or before it begins"),
        ("rmm oncall override add servers bob --until soon --reason x", "'soon' is no time"),
        ("rmm oncall override add servers bob --until 9999-01-01 --reason x", "2000 to 2100 are allowed"),
        ("rmm oncall override remove 7", "there is no override 7 that still lasts"),
        ("rmm escalation show slow", "there is no policy 'slow'; there are critical"),
        ("rmm escalation show critical --site moon", "there is no site 'moon'"),
        ("rmm escalation show 7", "there is no alert 7"),
    ],
)
def test_what_is_wrong_is_said(run: Run, command: str, said: str) -> None:
    code, _, err = run(command)
    assert code == 2 and said in err


def test_a_calendar_that_cannot_be_used(folder: Path, run: Run) -> None:
    (folder / "oncall.ics").write_text("<html>")
    text = CONFIG.split("escalation:\n")[0]
    text = text[: text.index("oncall:\n")] + "oncall:\n  servers: {calendar: oncall.ics, otherwise: anna}\n"
    (folder / "rmm.yaml").write_text(text)
    code, _, err = run("rmm oncall show")
    assert code == 2 and "oncall.ics: does not begin with BEGIN:VCALENDAR" in err
    lines = ["BEGIN:VCALENDAR", "BEGIN:VEVENT", "UID:1", "SUMMARY:\x1b[31mNobody", "DTSTART:20261224T000000Z",
             "DURATION:P1D", "END:VEVENT", "END:VCALENDAR"]  # fmt: skip
    (folder / "oncall.ics").write_text("\r\n".join(lines))
    code, out, _ = run("rmm oncall show --at 2026-12-24T12:00+00:00")
    assert code == 0 and "otherwise" in out and "nobody of `people` is called" in out and "\x1b" not in out


def test_a_route_to_a_policy_that_there_is_not(folder: Path, run: Run) -> None:
    (folder / "rmm.yaml").write_text(CONFIG.replace("escalation: critical}", "escalation: quick}"))
    code, _, err = run("rmm oncall show")
    assert code == 2 and "routes[0].escalation: there is no policy 'quick' in escalation; there are critical" in err


def test_times_of_day_are_the_next_ones() -> None:
    from zoneinfo import ZoneInfo

    from rmm.cli.oncall import _moment

    berlin = ZoneInfo("Europe/Berlin")
    now = datetime(2026, 3, 28, 17, 30, tzinfo=UTC)  # 18:30, the evening before the clocks are put forward
    assert _moment("22:00", berlin, now) == datetime(2026, 3, 28, 21, tzinfo=UTC)
    assert _moment("18:00", berlin, now) == datetime(2026, 3, 29, 16, tzinfo=UTC)
    assert _moment("02:30", berlin, now) == datetime(2026, 3, 29, 1, tzinfo=UTC)
    assert _moment("+4h", berlin, now) == datetime(2026, 3, 28, 21, 30, tzinfo=UTC)
    assert _moment("2026-03-29T09:00", berlin, now) == datetime(2026, 3, 29, 7, tzinfo=UTC)
    assert msgspec.json.encode(now)
