"""SQLite's WAL-reset bug: which versions have it, and that people are told once before anything is written."""

import sqlite3
from pathlib import Path

import pytest

from rmm.cli.doctor import _store
from rmm.cli.main import main
from rmm.tiers import migrations
from rmm.tiers.fleet_sqlite.writer import FleetStore
from rmm.tiers.migrations import verdict, warn_once


def be(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version", version)
    monkeypatch.setattr(sqlite3, "sqlite_version_info", tuple(map(int, version.split("."))))


@pytest.mark.parametrize(
    ("version", "affected"),
    [
        ("3.40.1", True), ("3.44.5", True), ("3.44.6", False), ("3.45.0", True), ("3.50.4", True), ("3.50.7", False),
        ("3.51.0", True), ("3.51.2", True), ("3.51.3", False), ("3.53.0", False), ("4.0.0", False),
    ],
)  # fmt: skip
def test_which_versions_have_it(monkeypatch: pytest.MonkeyPatch, version: str, affected: bool) -> None:
    be(monkeypatch, version)
    assert bool(verdict()) == affected
    step = _store()
    assert (step.verdict, version in step.detail) == ("warning" if affected else "ok", True)
    assert ("use a Python with a newer SQLite" in step.fix) == affected


async def test_it_is_told_once_before_the_first_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    be(monkeypatch, "3.50.4")
    for _ in range(3):
        async with FleetStore.open(tmp_path):  # as a round, an acknowledgement and an acceptance do
            pass
    (told,) = caplog.messages
    assert told.startswith("SQLite 3.50.4 can damage a file")
    assert "use a Python with a newer SQLite" in told
    be(monkeypatch, "3.51.0")  # another one: people hoped that it were better
    warn_once(tmp_path)
    be(monkeypatch, "3.51.3")
    warn_once(tmp_path)
    assert [one.split(" can ")[0] for one in caplog.messages] == ["SQLite 3.50.4", "SQLite 3.51.0"]


def test_a_folder_that_cannot_be_written_is_told_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    be(monkeypatch, "3.50.4")
    (tmp_path / "data").write_text("a file")
    for _ in range(2):
        warn_once(tmp_path / "data")
    assert len(caplog.messages) == 2


@pytest.mark.parametrize("command", [("store", "repair"), ("store", "vacuum"), ("archive", "restore", "--remove")])
def test_commands_that_write_tell_it(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    command: tuple[str, ...],
) -> None:
    be(monkeypatch, "3.50.4")
    (tmp_path / "rmm.yaml").write_text("sites: [{id: hq}]\n")
    (tmp_path / "endpoints.csv").write_text("ComputerName,SiteId\nSRV-1,hq\n")
    monkeypatch.setattr("sys.argv", ["rmm", *command, "--config", str(tmp_path)])
    for _ in range(2):
        with pytest.raises(SystemExit) as ended:
            main()
        assert (ended.value.code, capsys.readouterr().err) == (0, "")
    assert len(caplog.messages) == 1
    assert (tmp_path / "data" / migrations.WARNED).read_text() == "3.50.4"
