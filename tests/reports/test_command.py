"""`rmm report` as a user runs it, on a fleet that was not polled yet."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import Protocol

import openpyxl
import pytest


class Lab(Protocol):
    config: Path


def rmm(*arguments: str, folder: Path) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "rmm", "report", *arguments]
    return subprocess.run(command, capture_output=True, timeout=60, check=False, cwd=folder)


def test_the_list(tmp_path: Path) -> None:
    done = rmm(folder=tmp_path)
    assert done.returncode == 0, done.stderr
    for word in (b"executive", b"inventory", b"compliance", b"html, pdf, xlsx, csv, json"):
        assert word in done.stdout


def test_files(lab: Lab, tmp_path: Path) -> None:
    config = ("--config", str(lab.config))
    assert rmm("executive", *config, "--out", "e.html", folder=tmp_path).returncode == 0
    assert b"Executive summary" in (tmp_path / "e.html").read_bytes()
    assert rmm("alerts", *config, "--out", "deep/a.csv", folder=tmp_path).returncode == 0
    assert (tmp_path / "deep" / "a.csv").read_bytes().startswith(b"\xef\xbb\xbfSeverity,")
    assert rmm("inventory", *config, "--format", "xlsx", folder=tmp_path).returncode == 0
    (made,) = tmp_path.glob("inventory-*.xlsx")
    book = openpyxl.load_workbook(io.BytesIO(made.read_bytes()))
    assert book["Endpoints"].max_row == 51  # all endpoints, polled or not
    book.close()


def test_standard_output(lab: Lab, tmp_path: Path) -> None:
    done = rmm("inventory", "--format", "csv", "--out", "-", "--config", str(lab.config), folder=tmp_path)
    assert done.returncode == 0 and len(done.stdout.splitlines()) == 51
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments", [("nothing",), ("safe",), ("executive", "--format", "doc"), ("alerts", "--out", "a.exe")]
)
def test_what_there_is_not(lab: Lab, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = rmm(*arguments, "--config", str(lab.config), folder=tmp_path)
    assert done.returncode == 2
    assert b"Traceback" not in done.stderr and done.stderr
    assert list(tmp_path.iterdir()) == []
