"""The gate over real files: one account over tasks and processes, and what a killed process leaves behind."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from rmm.core import authguard
from rmm.core.authguard import Allowance
from rmm.errors import AuthError, AuthHeld, RmmError, TierError
from rmm.model.endpoint import Credential, Secret
from rmm.model.settings import LockoutSettings
from rmm.poller.gate import Gate
from rmm.poller.guardfile import GuardFile, guards

POLL = Credential(name="c", username="CORP\\poll", secret=Secret("wrong"))


def version(number: int) -> Credential:
    return msgspec.structs.replace(POLL, version=str(number))


class Hands:
    """A wall clock turned by hand; it goes on by itself as well, as times must differ."""

    def __init__(self) -> None:
        self.at = 0.0

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.at + time.monotonic())

    def monotonic(self) -> float:
        return time.monotonic()


class Domain:
    """Judges logons after a moment, and keeps what a domain controller keeps."""

    def __init__(self, good: str = "") -> None:
        self.good = good
        self.bad = 0
        self.most_bad = 0
        self.log: list[str] = []
        self.trustless: set[str] = set()
        self.at_once = self.most_at_once = 0

    async def visit(self, gate: Gate, host: str, credential: Credential = POLL, seconds: float = 0.002) -> str:
        try:
            async with gate.attempt(credential, host) as attempt:
                self.log.append(host)
                self.at_once += 1
                self.most_at_once = max(self.most_at_once, self.at_once)
                try:
                    await asyncio.sleep(seconds)
                finally:
                    self.at_once -= 1
                if host not in self.trustless and credential.version == self.good:
                    self.bad = 0
                    attempt.accepted()
                    return "accepted"
                self.bad += host not in self.trustless
                self.most_bad = max(self.most_bad, self.bad)
                attempt.rejected()
                raise AuthError("no")
        except AuthHeld as error:
            return f"held {error.code}"
        except AuthError as error:
            return error.code


async def round_of(domain: Domain, gate: Gate, count: int, prefix: str = "h") -> list[str]:
    return list(await asyncio.gather(*(domain.visit(gate, f"{prefix}{n}") for n in range(count))))


async def test_a_wrong_password_is_tried_once_by_five_hundred_endpoints(tmp_path: Path) -> None:
    gate, domain = Gate(tmp_path, Hands()), Domain()
    results = await round_of(domain, gate, 500)
    assert len(domain.log) == 1
    assert sorted(set(results)) == ["auth.rejected", "held auth.held"]
    began = time.monotonic()
    await round_of(domain, gate, 10_000, "again")
    assert len(domain.log) == 1
    assert time.monotonic() - began < 10  # nothing is read for most of them


async def test_several_processes_try_it_once_and_again_after_the_hold(tmp_path: Path) -> None:
    clock, domain = Hands(), Domain()
    several = [Gate(tmp_path, clock) for _ in range(4)]
    await asyncio.gather(*(domain.visit(several[n % 4], f"h{n}") for n in range(80)))
    assert len(domain.log) == 1
    for _ in range(5):
        clock.at += 60
        await domain.visit(Gate(tmp_path, clock), "h1")
    assert len(domain.log) == 1
    clock.at += 1800
    await round_of(domain, Gate(tmp_path, clock), 20)
    assert len(domain.log) == 2


async def test_a_good_password_lets_everyone_through_one_after_the_other(tmp_path: Path) -> None:
    several, domain = [Gate(tmp_path, Hands()) for _ in range(3)], Domain("1")
    results = await asyncio.gather(*(domain.visit(several[n % 3], f"h{n}", seconds=0.0) for n in range(600)))
    assert results == ["accepted"] * 600
    assert domain.most_at_once == 1


async def test_a_proven_account_costs_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate, domain = Gate(tmp_path, Hands()), Domain("1")
    await domain.visit(gate, "h")

    def refuse(*_: object) -> None:
        raise AssertionError("written")

    monkeypatch.setattr(GuardFile, "write", refuse)
    monkeypatch.setattr("os.fsync", refuse)
    assert set(await round_of(domain, gate, 1000)) == {"accepted"}


async def test_as_many_at_once_as_the_settings_allow(tmp_path: Path) -> None:
    gate, domain = Gate(tmp_path, Hands(), LockoutSettings(parallel=8)), Domain("1")
    await domain.visit(gate, "first")
    assert set(await round_of(domain, gate, 100)) == {"accepted"}
    assert domain.most_at_once == 8


async def test_a_password_changed_in_the_middle_of_a_round_costs_two(tmp_path: Path) -> None:
    several, domain = [Gate(tmp_path, Hands()) for _ in range(3)], Domain("1")
    running = [asyncio.ensure_future(domain.visit(several[n % 3], f"h{n}")) for n in range(300)]
    while len(domain.log) < 40:
        await asyncio.sleep(0.01)
    domain.good = "2"
    results = await asyncio.gather(*running)
    assert domain.most_bad == 2
    assert results.count("auth.rejected") == 2
    held = await round_of(domain, several[0], 50)
    assert set(held) == {"held auth.held"}
    assert domain.most_bad == 2


async def test_a_new_secret_starts_anew(tmp_path: Path) -> None:
    gate, domain = Gate(tmp_path, Hands()), Domain("2")
    await round_of(domain, gate, 20)
    new = msgspec.structs.replace(POLL, version="2", name="another entry of the vault")
    results = await asyncio.gather(*(domain.visit(gate, f"h{n}", new) for n in range(20)))
    assert set(results) == {"accepted"}
    assert domain.most_bad == 1


async def test_an_endpoint_without_trust_is_held_alone(tmp_path: Path) -> None:
    gate, domain = Gate(tmp_path, Hands()), Domain("1")
    domain.trustless = {"h7"}
    await domain.visit(gate, "h1")
    results = await round_of(domain, gate, 30)
    assert results[7] == "auth.host"
    assert set(results[:7] + results[8:]) == {"accepted"}
    assert await domain.visit(gate, "h7") == "held auth.host"
    assert await domain.visit(gate, "h8") == "accepted"


async def test_the_first_rejection_is_not_told_to_be_the_endpoint_when_nobody_else_asks(tmp_path: Path) -> None:
    gate, domain = Gate(tmp_path, Hands()), Domain("1")
    await domain.visit(gate, "h1")
    domain.good = "2"
    assert await domain.visit(gate, "h1") == "auth.rejected"
    assert await domain.visit(gate, "h1") == "held auth.held"
    assert domain.most_bad == 1


async def test_endpoints_that_break_off_do_not_hold_the_fleet(tmp_path: Path) -> None:
    gate, domain = Gate(tmp_path, Hands()), Domain("1")
    for number in range(4):
        with pytest.raises(ConnectionError):
            async with gate.attempt(POLL, f"broken{number}"):
                raise ConnectionError("reset")
    assert set(await round_of(domain, gate, 20)) == {"accepted"}


async def test_a_silent_endpoint_does_not_make_a_proven_account_wait(tmp_path: Path) -> None:
    gate, domain = Gate(tmp_path, Hands()), Domain("1")
    await domain.visit(gate, "h1")
    silent = asyncio.ensure_future(domain.visit(gate, "silent", seconds=4.0))
    await asyncio.sleep(0.05)
    began = time.monotonic()
    assert set(await round_of(domain, gate, 100)) == {"accepted"}
    assert time.monotonic() - began < 3
    assert await silent == "accepted"


async def test_who_is_cancelled_while_it_waits_takes_nothing_along(tmp_path: Path) -> None:
    gate, domain = Gate(tmp_path, Hands()), Domain("1")
    waiting = [asyncio.ensure_future(domain.visit(gate, f"h{n}")) for n in range(50)]
    await asyncio.sleep(0.01)
    for one in waiting[::2]:
        one.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert set(await round_of(domain, gate, 10)) == {"accepted"}


@pytest.mark.parametrize(
    "damaged",
    [b"\x00garbage", b'{"account": "\xff"}', b"", b"[" * 100_000, b'{"bad": ["2026-01-01T00:00:00"]}',
     b'{"proofs": {"1": {"state": "open", "at": "2026-01-01T00:00:00"}}}'],
)  # fmt: skip
async def test_a_damaged_file_counts_as_one_bad_logon_and_stops_nobody(
    tmp_path: Path, damaged: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    domain = Domain()
    await domain.visit(Gate(tmp_path, Hands()), "h1")
    path = next((tmp_path / "authguard").glob("*.json"))
    path.write_bytes(damaged)
    assert list(guards(tmp_path)) == []
    assert str(path) in caplog.text  # who only looks says it as well
    caplog.clear()
    domain.good = "1"
    assert await domain.visit(Gate(tmp_path, Hands()), "h1") == "accepted"
    assert path.with_name(f"{path.name}.damaged").read_bytes() == damaged
    assert f"kept as {path.name}.damaged, and counts as one bad logon" in caplog.text


async def test_a_damaged_file_counts_once_and_what_comes_after_it_is_remembered(tmp_path: Path) -> None:
    domain = Domain()
    await domain.visit(Gate(tmp_path, Hands()), "h1")
    next((tmp_path / "authguard").glob("*.json")).write_bytes(b"garbage")
    seen = [await domain.visit(Gate(tmp_path, Hands()), f"h{n}", version(n)) for n in range(2, 5)]
    assert seen == ["auth.rejected", "held auth.held", "held auth.held"]
    assert domain.most_bad == 2


async def test_a_site_without_an_allowance_lets_nothing_leave(tmp_path: Path) -> None:
    domain = Domain("1")
    gate = Gate(tmp_path, Hands(), allowance=Allowance(logons=0))
    assert await domain.visit(gate, "h1") == "held auth.held"
    assert domain.log == []


async def test_nothing_leaves_when_it_cannot_be_written_down(tmp_path: Path) -> None:
    (tmp_path / "authguard").write_text("a file where a folder belongs")
    domain = Domain("1")
    with pytest.raises(TierError):
        await domain.visit(Gate(tmp_path, Hands()), "h1")
    assert domain.log == []


async def test_what_people_see_of_a_guard(tmp_path: Path) -> None:
    await Domain().visit(Gate(tmp_path, Hands()), "h1")
    ((_, guard),) = guards(tmp_path)
    assert guard.account == "CORP\\poll"
    assert authguard.spent(guard, guard.bad[-1], LockoutSettings()) == 1
    assert "wrong" not in next((tmp_path / "authguard").glob("*.json")).read_text()


CHILD = """
import asyncio, sys
from pathlib import Path
from rmm.loop import SystemClock
from rmm.model.endpoint import Credential, Secret
from rmm.poller.gate import Gate

async def main():
    gate = Gate(Path(sys.argv[1]), SystemClock())
    credential = Credential(name="c", username="CORP\\\\poll", secret=Secret("x"))
    if sys.argv[2] == "proven":
        async with gate.attempt(credential, "h0") as attempt:
            attempt.accepted()
    async with gate.attempt(credential, "h1") as attempt:
        print("away", flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


def killed_in_flight(data: Path, how: str) -> str:
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(data), how], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    process.kill()
    _, err = process.communicate()
    return line.strip() or err.strip().splitlines()[-1]


@pytest.mark.crash
@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_a_killed_process_cannot_spend_more_than_the_budget(tmp_path: Path) -> None:
    seen = [killed_in_flight(tmp_path, "unproven") for _ in range(5)]
    assert seen[:2] == ["away", "away"]
    assert all("AuthHeld" in line for line in seen[2:])


@pytest.mark.crash
@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_a_killed_process_with_a_proven_secret_leaves_its_mark(tmp_path: Path) -> None:
    from rmm.loop import SystemClock

    assert killed_in_flight(tmp_path, "proven") == "away"

    async def after() -> list[str]:
        domain = Domain("2")  # the password was changed as well
        return await round_of(domain, Gate(tmp_path, SystemClock()), 20)

    results = asyncio.run(after())
    assert results.count("auth.rejected") == 1  # with the one in the air that makes two
    assert results.count("held auth.held") == 19


async def test_an_error_of_the_caller_passes_through(tmp_path: Path) -> None:
    with pytest.raises(RmmError):
        async with Gate(tmp_path, Hands()).attempt(POLL, "h1"):
            raise RmmError("mine")
