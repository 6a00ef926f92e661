"""docs/alerts.md: its commands are run in order, and print what it says."""

from __future__ import annotations

import asyncio
import doctest
import re
import shlex
from pathlib import Path

import pytest

from rmm.app import open_app
from rmm.cli.main import main
from rmm.model.observation import CollectorResult, Observation, encode_observation

PAGE = (Path(__file__).parents[2] / "docs" / "alerts.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```console\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
COMMANDS = [found for block in BLOCKS for found in re.findall(r"^\$ ([^\n]*)\n((?:(?!\$ ).*\n)*)", block, re.MULTILINE)]
FORM = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
SETTINGS = """\
sites: [{id: hq, timezone: Europe/Berlin}]
maintenance:
  - {name: patching, weekly: [sat], at: "22:00", lasts: 4h, site: [hq], reason: updates}
"""
RULE = """\
rules:
  - id: volume_full
    collector: volumes
    field: used_pct
    warning: 80
    critical: 90
    summary: "{volume} is {value} % full"
"""


async def build(folder: Path) -> None:
    """A database with two alerts that were told just now."""
    application = open_app(folder, lambda: "")
    async with application.coordinator() as coordinator:
        for name, used in (("SRV-1", 99), ("SRV-2", 85)):
            rows = ({"volume": "C:", "used_pct": used},)
            one = Observation(
                endpoint=name.lower(), name=name, site="hq", shard=0, observed_at=application.clock.now(),
                duration_s=0.1, status="OK", fault=None, epoch="00" * 8, seq=1,
                collectors={"volumes": CollectorResult(outcome="ok", readings=rows)},
            )  # fmt: skip
            await coordinator.fold([encode_observation(one)])
        await coordinator.finish()


def test_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(COMMANDS) >= 14
    config = tmp_path / "config"
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RMM_DATA", raising=False)
    monkeypatch.setenv("RMM_CONFIG", str(config))
    (config / "rules").mkdir(parents=True)
    (config / "rmm.yaml").write_text(SETTINGS)
    (config / "rules" / "own.yaml").write_text(RULE)
    (config / "endpoints.csv").write_text("ComputerName,SiteId\nSRV-1,hq\nSRV-2,hq\n")
    asyncio.run(build(config))
    for command, said in COMMANDS:
        monkeypatch.setattr("sys.argv", shlex.split(command))
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        assert (ended.value.code, err) == (0, ""), command
        assert doctest.OutputChecker().check_output(said, out, FORM), f"{command}\n{out}"


def test_the_page_has_every_command() -> None:
    from rmm.cli.alerts import app as alerts
    from rmm.cli.maintenance import app as maintenance

    for group, app in (("alerts", alerts), ("maintenance", maintenance)):
        for command in app.registered_commands:
            name = command.name or getattr(command.callback, "__name__", "")
            assert f"rmm {group} {name}" in PAGE, (group, name)
