"""The gate over real files: one canary over tasks and processes, and a crash that costs no second logon."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from rmm.errors import AuthHeld
from rmm.model.endpoint import Credential, Secret
from rmm.poller.gate import Gate

WRONG = Credential(name="c", username="CORP\\poll", secret=Secret("wrong"))


class Hands:
    """A clock turned by hand."""

    def __init__(self) -> None:
        self.at = 0.0

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.at)

    def monotonic(self) -> float:
        return self.at


async def visit(gate: Gate, host: str, *, good: bool, log: list[str]) -> str:
    try:
        async with gate.attempt(WRONG, host) as attempt:
            log.append(host)
            await asyncio.sleep(0.01)
            (attempt.accepted if good else attempt.rejected)()
            return "accepted" if good else "rejected"
    except AuthHeld:
        return "held"


async def test_a_wrong_password_is_tried_once_by_a_hundred_endpoints(tmp_path: Path) -> None:
    gate, log = Gate(tmp_path, Hands(), "r1"), []  # type: ignore[var-annotated]
    results = await asyncio.gather(*(visit(gate, f"h{n}", good=False, log=log) for n in range(100)))
    assert len(log) == 1
    assert sorted(set(results)) == ["held", "rejected"]


async def test_two_processes_try_it_once_and_a_third_round_not_at_all(tmp_path: Path) -> None:
    clock, log = Hands(), []  # type: ignore[var-annotated]
    gates = [Gate(tmp_path, clock, "r1") for _ in range(4)]
    await asyncio.gather(*(visit(gates[n % 4], f"h{n}", good=False, log=log) for n in range(40)))
    assert len(log) == 1
    for number in range(2, 6):
        clock.at += 60
        await visit(Gate(tmp_path, clock, f"r{number}"), "h1", good=False, log=log)
    assert len(log) == 2
    clock.at += 1801
    await visit(Gate(tmp_path, clock, "r9"), "h1", good=False, log=log)
    assert len(log) == 3


async def test_a_good_password_lets_everyone_through_at_once(tmp_path: Path) -> None:
    gate, log = Gate(tmp_path, Hands(), "r1"), []  # type: ignore[var-annotated]
    results = await asyncio.gather(*(visit(gate, f"h{n}", good=True, log=log) for n in range(50)))
    assert results == ["accepted"] * 50


async def test_a_crash_in_the_middle_of_a_logon_counts_as_a_bad_one(tmp_path: Path) -> None:
    clock = Hands()
    for number in range(5):
        clock.at += 1
        gate = Gate(tmp_path, clock, f"r{number}")
        context = gate.attempt(WRONG, "h1")
        if number < 2:
            await context.__aenter__()
            saved = (tmp_path / "authguard.json").read_bytes()
            await context.__aexit__(None, None, None)
            (tmp_path / "authguard.json").write_bytes(saved)  # as if the process had been killed inside
        else:
            with pytest.raises(AuthHeld):
                await context.__aenter__()


async def test_a_lost_connection_does_not(tmp_path: Path) -> None:
    gate = Gate(tmp_path, Hands(), "r1")
    for _ in range(5):
        with pytest.raises(ConnectionError):
            async with gate.attempt(WRONG, "h1"):
                raise ConnectionError("gone")


async def test_a_damaged_guard_file_does_not_stop_polling(tmp_path: Path) -> None:
    (tmp_path / "authguard.json").write_bytes(b"\x00garbage")
    log: list[str] = []
    assert await visit(Gate(tmp_path, Hands(), "r1"), "h1", good=True, log=log) == "accepted"
