"""docs/reports.md: its commands are run and print what it says, its YAML is read."""

from __future__ import annotations

import doctest
import re
import shlex
import shutil
from pathlib import Path

import pytest
import yaml

from rmm.app import open_app
from rmm.cli.main import main
from rmm.report_view import ReportView
from rmm.settings.baselines import read_baselines
from rmm.settings.load import load_settings

PAGE = (Path(__file__).parents[2] / "docs" / "reports.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```console\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
COMMANDS = [one for block in BLOCKS for one in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block, re.MULTILINE)]
YAML = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
FORM = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@pytest.mark.parametrize(("command", "said"), COMMANDS, ids=[command for command, _ in COMMANDS])
def test_a_command_prints_what_the_page_says(
    command: str, said: str, fleet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", [*shlex.split(command), "--config", str(fleet)])
    with pytest.raises(SystemExit) as ended:
        main()
    out, err = (text.decode("utf-8-sig") for text in capfdbinary.readouterr())
    assert (ended.value.code, err) == (0, "")
    assert doctest.OutputChecker().check_output(said, out.replace("\r\n", "\n"), FORM), out


def test_its_yaml_is_read(fleet: Path, tmp_path: Path) -> None:
    baseline, settings = YAML
    for name in ("rmm.yaml", "endpoints.csv"):
        shutil.copy(fleet / name, tmp_path / name)
    whole = yaml.safe_load((tmp_path / "rmm.yaml").read_text()) | yaml.safe_load(settings)
    (tmp_path / "rmm.yaml").write_text(yaml.safe_dump(whole))
    (tmp_path / "baselines").mkdir()
    (tmp_path / "baselines" / "kiosks.yaml").write_text(baseline)
    assert [one.id for one in load_settings(tmp_path).reports.schedules] == ["management", "berlin-weekly"]
    assert read_baselines(tmp_path / "baselines")[1] == []
    assert "kiosks" in [one.id for one in ReportView(open_app(tmp_path, lambda: "")).baselines()]
