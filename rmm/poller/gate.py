"""The shell of `core.authguard`: one guard file per data folder, one canary at a time over all processes."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from rmm.core import authguard
from rmm.durable import hold, replace_file
from rmm.errors import AuthHeld, LeaseLost
from rmm.model.endpoint import Credential
from rmm.ports import Clock

CANARY_S = 5.0  # a canary whose endpoint does not answer stops holding up the others after this long
POLL_S = 0.05

_decoder = msgspec.json.Decoder(dict[str, authguard.Guard])
_FORGET = timedelta(days=2)


class Gate:
    """`ports.AuthGate` over a file that all processes of a data folder share.

    The attempt is written as a bad logon before it is made and taken back when it was not one, so a crash loop
    cannot spend the budget again and again.
    """

    def __init__(self, data: Path, clock: Clock, round_id: str) -> None:
        self._file = data / "authguard.json"
        self._locks = data / "locks"
        self._clock = clock
        self._round = round_id
        self._flights: dict[str, asyncio.Lock] = {}
        self._proven: dict[str, float] = {}  # key -> monotonic time until which no canary is needed

    @contextlib.asynccontextmanager
    async def attempt(self, credential: Credential, host: str) -> AsyncIterator[_Attempt]:
        """Wait for permission to try one logon; raises AuthHeld when there is none."""
        key = hashlib.sha256(authguard.key_of(credential, host).encode()).hexdigest()[:32]
        if self._is_proven(key):
            yield _Attempt(self, key, canary=False)
            return
        async with contextlib.AsyncExitStack() as stack:
            await self._single_flight(key, stack)
            if self._is_proven(key):
                await stack.aclose()
                yield _Attempt(self, key, canary=False)
                return
            answer = self._update(key, lambda guard: guard)[1]
            if answer == authguard.HELD:
                raise AuthHeld(f"the logon as {credential.username} is held back after a rejection")
            attempt = _Attempt(self, key, canary=answer == authguard.CANARY)
            if not attempt.canary:
                self._trust(key)
                await stack.aclose()
                yield attempt
                return
            self._write_ahead(key)
            try:
                yield attempt
            finally:
                if not attempt.answered:
                    self._take_back(key)

    def _is_proven(self, key: str) -> bool:
        return self._proven.get(key, 0.0) > self._clock.monotonic()

    def _trust(self, key: str) -> None:
        self._proven[key] = self._clock.monotonic() + authguard.PROOF.total_seconds() / 2

    async def _single_flight(self, key: str, stack: contextlib.AsyncExitStack) -> None:
        """Enter `stack` into the locks of this key: among the tasks of this process, then among processes."""
        flight = self._flights.setdefault(key, asyncio.Lock())
        await flight.acquire()
        release = _once(flight.release)
        stack.callback(release)
        waited_until = self._clock.monotonic() + 2 * CANARY_S
        while True:
            try:
                stack.enter_context(hold(self._locks / f"auth-{key}.lock", "this logon"))
                break
            except LeaseLost:
                if self._clock.monotonic() > waited_until:
                    break  # the other process hangs; the budget still bounds what both may spend
                await asyncio.sleep(POLL_S)
        timer = asyncio.get_running_loop().call_later(CANARY_S, release)
        stack.callback(timer.cancel)

    def _update(self, key: str, change: Callable[[authguard.Guard], authguard.Guard]) -> tuple[authguard.Guard, str]:
        """Read, change and (if it changed) write one guard; returns it with the answer to a question asked now."""
        now = self._clock.now()
        with hold(self._locks / "authguard.lock", "the logon guard", timeout_s=5.0):
            guards = self._read()
            before = guards.get(key, authguard.Guard())
            after = change(before)
            if after != before:
                guards[key] = after
                kept = {name: guard for name, guard in guards.items() if _fresh(guard, now - _FORGET)}
                replace_file(self._file, msgspec.json.format(msgspec.json.encode(kept)), private=True)
        return after, authguard.ask(after, now, self._round)

    def _read(self) -> dict[str, authguard.Guard]:
        try:
            return _decoder.decode(self._file.read_bytes())
        except FileNotFoundError:
            return {}
        except msgspec.DecodeError:
            # Written by nobody but us and atomically; whatever broke it must not stop polling.
            return {}

    def _write_ahead(self, key: str) -> None:
        now = self._clock.now()
        self._update(key, lambda guard: msgspec.structs.replace(guard, rejected=(*guard.rejected, now)))

    def _take_back(self, key: str) -> None:
        """The canary's connection was lost before an answer: not a bad logon as far as anyone can know."""
        self._update(key, lambda guard: msgspec.structs.replace(guard, rejected=guard.rejected[:-1]))

    def accepted(self, key: str, *, canary: bool) -> None:
        """Record a success; only a canary's is news to other processes."""
        self._trust(key)
        if canary:
            now = self._clock.now()
            self._update(key, lambda guard: authguard.accepted(guard, now))

    def rejected(self, key: str, *, canary: bool) -> None:
        """Record a refusal."""
        self._proven.pop(key, None)
        now = self._clock.now()

        def change(guard: authguard.Guard) -> authguard.Guard:
            # What was written ahead for this canary is this rejection, not one more.
            base = msgspec.structs.replace(guard, rejected=guard.rejected[:-1]) if canary else guard
            return authguard.rejected(base, now, self._round, canary=canary)

        self._update(key, change)


class _Attempt:
    """`ports.AuthAttempt`."""

    __slots__ = ("_gate", "_key", "answered", "canary")

    def __init__(self, gate: Gate, key: str, *, canary: bool) -> None:
        self._gate = gate
        self._key = key
        self.canary = canary
        self.answered = False

    def accepted(self) -> None:
        self.answered = True
        self._gate.accepted(self._key, canary=self.canary)

    def rejected(self) -> None:
        self.answered = True
        self._gate.rejected(self._key, canary=self.canary)


def _once(action: Callable[[], None]) -> Callable[[], None]:
    done = False

    def act() -> None:
        nonlocal done
        if not done:
            done = True
            action()

    return act


def _fresh(guard: authguard.Guard, since: datetime) -> bool:
    times = [*guard.rejected, *([guard.proven_at] if guard.proven_at else [])]
    return any(at > since for at in times)
