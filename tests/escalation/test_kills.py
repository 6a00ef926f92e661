"""SIGKILL at every moment of escalation: no step is skipped, none is told twice with another key."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def live(data: Path, moment: int) -> int:
    """Run the world; 0 where it came to its end."""
    return subprocess.run(
        [sys.executable, str(HERE / "world.py"), str(data), str(moment)], check=False, timeout=60, cwd=HERE
    ).returncode


def sent(data: Path) -> list[str]:
    return (data / "sent").read_text().splitlines()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    data = tmp_path_factory.mktemp("whole")
    assert live(data, 0) == 0
    return sent(data)


def test_without_a_kill_everything_is_told_once(whole: list[str]) -> None:
    assert len(whole) == 12 and len(set(whole)) == 12


@pytest.mark.crash
@pytest.mark.databases("postgres")
@pytest.mark.parametrize("moment", range(19, 33, 4))
def test_killed_at_while_a_server_has_the_database(moment: int, whole: list[str], tmp_path: Path) -> None:
    test_killed_at(moment, whole, tmp_path)


@pytest.mark.crash
@pytest.mark.parametrize("moment", range(19, 33))
def test_killed_at(moment: int, whole: list[str], tmp_path: Path) -> None:
    """Before each statement of the second step, before and after its commit, after it was sent and marked."""
    assert live(tmp_path, moment) != 0
    killed = 1
    while live(tmp_path, moment if killed < 2 else 0) != 0:
        killed += 1
        assert killed < 5
    found = sent(tmp_path)
    assert set(found) == set(whole)
    assert len(found) <= len(whole) + killed  # what was sent and not marked is sent again, with the same key
