"""docs/store.md: its commands are run in order, and print what it says."""

import doctest
import re
import shlex
from pathlib import Path

import pytest
from stores import build

from rmm.cli.main import main

PAGE = (Path(__file__).parents[2] / "docs" / "store.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^```console\n\$ ([^\n]*)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
FORM = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def test_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(COMMANDS) >= 6
    monkeypatch.setattr("sqlite3.sqlite_version_info", (3, 53, 0))  # an older one has a warning to be told
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RMM_DATA", raising=False)
    monkeypatch.setenv("RMM_CONFIG", str(tmp_path / "config"))
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "rmm.yaml").write_text("sites: [{id: hq}]\n")
    (tmp_path / "config" / "endpoints.csv").write_text("ComputerName,SiteId\nSRV-1,hq\n")
    build(tmp_path / "config" / "data")
    for command, said in COMMANDS:
        monkeypatch.setattr("sys.argv", shlex.split(command))
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        assert (ended.value.code, err) == (0, ""), command
        assert doctest.OutputChecker().check_output(said, out, FORM), (command, out)


def test_the_page_has_every_command() -> None:
    from rmm.cli.store import app

    names = {command.name or getattr(command.callback, "__name__", "") for command in app.registered_commands}
    assert names == {"status", "check", "repair", "vacuum", "backup", "restore"}
    assert all(f"$ rmm store {name}" in PAGE for name in names)
