"""What `rmm doctor` prints for people: what says the same takes one line, and waiting is shown on a terminal only."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator

import pytest

from rmm.cli.doctor import Patience, _print_alike
from rmm.poller.doctor import Step


async def slow() -> AsyncIterator[Step]:
    await asyncio.sleep(0.1)
    yield Step("http", "failed")


async def waited() -> None:
    async for _ in Patience(every_s=0.02).over(slow()):
        pass


def test_waiting_is_shown_on_a_terminal_and_wiped(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    asyncio.run(waited())
    shown = capsys.readouterr().err
    assert "no answer yet, 0 s" in shown
    assert shown.endswith("\r\x1b[K")


def test_nothing_is_shown_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    asyncio.run(waited())
    assert capsys.readouterr() == ("", "")


def test_failures_that_say_the_same_take_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    alike = [Step(name, "failed", detail="access denied") for name in ("memory", "cpu", "disk")]
    _print_alike(alike)
    _print_alike(alike)  # nothing is left to be told
    assert capsys.readouterr().out == "FAILED  as memory: cpu, disk\n"
