"""A few kills at random moments, in a process of their own: it forks."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.crash.trace import ROOT


@pytest.mark.crash
@pytest.mark.skipif(sys.platform == "win32", reason="it forks")
def test_kills_at_random_moments_lose_nothing() -> None:
    command = [sys.executable, "-m", "tests.crash", "--part", "kills", "--kills", "15"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "15 kills, " in done.stdout
    assert "kills at random moments: 0 wrong" in done.stdout
