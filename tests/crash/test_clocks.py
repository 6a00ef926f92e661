"""Clocks that are set: nothing is lost, forgotten too soon, or shown for as long as the clock was wrong."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from rmm.core import clock
from tests.crash import clocks


def test_clocks_that_are_set(tmp_path: Path) -> None:
    findings, _ = clocks.run(tmp_path)
    assert not findings


def test_what_is_shown_too_long_and_forgotten_too_soon_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "AHEAD", timedelta(days=1000))
    monkeypatch.setattr(clock, "WITNESS", 1000)
    findings, _ = clocks.run(tmp_path)
    told = {name: "\n".join(wrong) for name, wrong in findings}
    assert set(told) == {"an hour ahead", "an hour back", "a year ahead", "a year back"}
    assert "the hot tier shows" in told["an hour ahead"]
    assert "lost minutes" in told["a year ahead"]
