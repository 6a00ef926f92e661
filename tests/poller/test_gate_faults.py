"""The gate where its files fail: nothing leaves, and nobody is left waiting."""

from __future__ import annotations

import asyncio
import errno
from pathlib import Path

import pytest

from rmm.errors import TierError
from rmm.poller.gate import Gate
from rmm.poller.guardfile import GuardFile
from tests.poller.test_gate import POLL, Domain, Hands


async def test_everyone_who_waits_hears_that_a_logon_cannot_be_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, domain = Gate(tmp_path, Hands()), Domain("1")
    note = GuardFile.note

    def full(self: GuardFile, number: int, *, durable: bool) -> None:
        raise TierError("no space", code="disk.full")

    monkeypatch.setattr(GuardFile, "note", full)
    async with asyncio.timeout(5):
        results = await asyncio.gather(*(domain.visit(gate, f"h{n}") for n in range(5)), return_exceptions=True)
    assert [type(one) for one in results] == [TierError] * 5
    assert domain.log == []
    monkeypatch.setattr(GuardFile, "note", note)
    assert await domain.visit(gate, "h1") == "accepted"


async def test_who_is_done_does_not_pay_for_another_that_cannot_be_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, domain = Gate(tmp_path, Hands()), Domain("1")
    await domain.visit(gate, "h0")
    note = GuardFile.note

    def full(self: GuardFile, number: int, *, durable: bool) -> None:
        if number:
            raise TierError("no space", code="disk.full")
        note(self, number, durable=durable)

    first = asyncio.ensure_future(domain.visit(gate, "h1", seconds=0.1))
    await asyncio.sleep(0.05)
    second = asyncio.ensure_future(domain.visit(gate, "h2"))
    await asyncio.sleep(0)
    monkeypatch.setattr(GuardFile, "note", full)
    async with asyncio.timeout(5):
        assert await first == "accepted"
        with pytest.raises(TierError):
            await second


async def test_a_lock_that_cannot_be_asked_for_leaves_nobody_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy, gate, domain = Gate(tmp_path, Hands()), Gate(tmp_path, Hands()), Domain("1")

    def full(self: Path, *_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    async with busy.attempt(POLL, "h0") as attempt:
        monkeypatch.setattr(Path, "touch", full)
        async with asyncio.timeout(5):
            with pytest.raises(TierError):
                await domain.visit(gate, "h1")
        attempt.accepted()


async def test_a_defect_of_ours_leaves_nobody_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(GuardFile, "read", broken)
    async with asyncio.timeout(5):
        with pytest.raises(ZeroDivisionError):
            await Domain("1").visit(Gate(tmp_path, Hands()), "h1")
