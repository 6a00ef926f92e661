"""The shell of `core.authguard`: one small file per account, shared by all processes of a data folder.

Whoever holds an account's lock is the only process that lets logons of this account leave; it keeps the lock for a
burst, so that a poll with a proven secret costs no file access of its own. Before a proof leaves, the number of logons
in flight is in the account's `.flights` file: durably (fsync) for a canary; for a proven secret as far as the operating
system's memory, which survives `kill -9` but not the loss of power. Who takes the lock and finds a number there knows
that its predecessor died with so many logons in the air, and counts them as bad.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec

from rmm.core import authguard, escrow
from rmm.core.authguard import CANARY, GO, HELD, SUSPECT, WAIT, Allowance, Flight
from rmm.core.escrow import Need
from rmm.errors import AuthError, AuthHeld, LeaseLost, RmmError, TlsError
from rmm.model.endpoint import Credential
from rmm.model.settings import LockoutSettings
from rmm.poller.agreement import Agreement
from rmm.poller.colleagues import Colleagues
from rmm.poller.fencing import still_ours
from rmm.poller.guardfile import GuardFile, key_of
from rmm.poller.refusals import held_error, host_error
from rmm.ports import Clock

BURST_S = 0.25  # how long a process keeps an account's lock while others may want it
DRAIN_S = 0.5  # after a burst: how long to wait for answers before more may leave all the same
RETRY_S = (0.005, 0.03)  # between two looks at a lock that another process has: chance decides who is next ...
TURN_S = 0.06  # ... and who had it stands back for so long, or it would nearly always be the next
TICK_S = 0.1
WAIT_S = 30.0  # a poll does not wait for longer than this for permission
KNOWN_S = 1.0  # how long an answer "held" may be given again without looking at the file
MOST_QUIET = 10  # looks (half a TICK_S apart) at an account that nobody asks for
ASK_S = 0.25  # between two questions to the other collectors of the site, without the account's lock
MOST_ASKED = 32  # of those who wait, looked at in order to find out what to ask for
VERDICT_S = 2.0  # how long the first endpoint that rejects a proven secret waits for the canary's answer

# Our own refusals of a certificate, in the middle of what a library does in one call: connect and log on.
BEFORE_THE_LOGON = frozenset(
    {"tls.expired", "tls.untrusted", "tls.name", "tls.protocol", "tls.not_tls", "tls.ca_file", "tls.pin"}
)
UNSENT, ACCEPTED, REJECTED, BROKEN = "unsent", "accepted", "rejected", "broken"


class Gate:
    """`ports.AuthGate`. One per process; all are given the same data folder."""

    def __init__(
        self,
        data: Path,
        clock: Clock,
        limits: LockoutSettings | None = None,
        allowance: Allowance | None = None,
        colleagues: Colleagues | None = None,
    ) -> None:
        self._data = data
        self._clock = clock
        self._limits = limits or LockoutSettings()
        self._allowance = allowance or Allowance(self._limits.budget)
        self._colleagues = colleagues
        self._books: dict[str, _Book] = {}

    @contextlib.asynccontextmanager
    async def attempt(self, credential: Credential, host: str) -> AsyncIterator[_Attempt]:
        """Wait for permission to try one logon. Raises AuthHeld when there is none.

        An AuthError that passes through becomes `auth.host` when the secret turns out to be good elsewhere.
        """
        account = authguard.account_of(credential.username, host)
        book = self._books.get(account)
        if book is None:
            key = key_of(account)
            file, agreement = GuardFile(self._data, key), Agreement(self._colleagues, key)
            book = self._books[account] = _Book(file, credential.username, self._clock, self._limits_now, agreement)
        flight = await book.board(credential.version, host)
        attempt = _Attempt(book, flight)
        try:
            still_ours()
        except LeaseLost:  # while it waited: nothing leaves for a shard that is another collector's by now
            attempt.unsent()
            raise
        try:
            yield attempt
        except AuthError as error:
            attempt.end()
            if attempt.outcome == REJECTED and await book.is_the_host(flight):
                raise host_error(credential.username, host) from error
            raise
        except TlsError as error:
            if error.code in BEFORE_THE_LOGON:
                attempt.unsent()
            raise
        finally:
            attempt.end()

    def _limits_now(self) -> LockoutSettings:
        """The limits with what the coordinator allows this site now."""
        allowed = self._allowance.at(self._clock.now())
        if allowed >= self._limits.budget:
            return self._limits
        return msgspec.structs.replace(self._limits, budget=allowed)


class _Attempt:
    """`ports.AuthAttempt`."""

    __slots__ = ("_book", "_flight", "outcome")

    def __init__(self, book: _Book, flight: Flight) -> None:
        self._book = book
        self._flight = flight
        self.outcome = ""

    def accepted(self) -> None:
        self._settle(ACCEPTED)

    def rejected(self) -> None:
        self._settle(REJECTED)

    def unsent(self) -> None:
        """Nothing that comes of the secret has left."""
        self._settle(UNSENT)

    def end(self) -> None:
        """The caller is done; without a word from it the outcome is unknown.

        It raises nothing, or a cancellation would be lost: what cannot be written stays counted as in flight.
        """
        with contextlib.suppress(RmmError):
            self._settle(BROKEN)

    def _settle(self, outcome: str) -> None:
        if not self.outcome:
            self.outcome = outcome
            self._book.settle(self._flight, outcome)


class _Waiter:
    """One poll that asks for permission."""

    __slots__ = ("future", "host", "since", "version")

    def __init__(self, version: str, host: str) -> None:
        self.version = version
        self.host = host
        self.since = time.monotonic()
        self.future: asyncio.Future[Flight] = asyncio.get_running_loop().create_future()


class _Book:
    """One account in this process: who waits, what is in flight, and the task that holds the account's lock."""

    def __init__(
        self,
        file: GuardFile,
        account: str,
        clock: Clock,
        limits: Callable[[], LockoutSettings],
        agreement: Agreement,
    ) -> None:
        self._file = file
        self._account = account
        self._clock = clock
        self._limits_of_all = limits
        self._agreement = agreement
        self._guard = authguard.Guard(account=account)
        self._read_at = float("-inf")
        self._waiters: dict[_Waiter, None] = {}
        self._flights: list[Flight] = []  # that count
        self._late: list[tuple[Flight, str]] = []  # answers that came when the lock was with another process
        self._until = 0.0  # end of the burst
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def _limits(self) -> LockoutSettings:
        """The limits of this collector, which may share the account with others."""
        return escrow.limits_of(self._limits_of_all(), self._agreement.share)

    async def board(self, version: str, host: str) -> Flight:
        """Wait until a logon may leave."""
        if time.monotonic() - self._read_at < KNOWN_S and not self._file.held:
            answer = authguard.ask(self._guard, version, host, self._clock.now(), self._limits())
            if answer.word == HELD and not self._agreement.may_help(answer):
                raise held_error(answer, self._account)
        waiter = _Waiter(version, host)
        self._waiters[waiter] = None
        if self._task is None:
            self._task = asyncio.create_task(self._serve())
        self._changed.set()
        try:
            return await waiter.future
        except asyncio.CancelledError:
            self._waiters.pop(waiter, None)
            if waiter.future.done() and not waiter.future.cancelled() and waiter.future.exception() is None:
                self.settle(waiter.future.result(), UNSENT)
            raise

    async def _serve(self) -> None:
        """Take the lock, let logons leave, give it back; until nobody waits and nothing is in flight."""
        try:
            while self._waiters or self._flights or self._late:
                if not self._file.take():
                    self._dismiss_late()
                    await asyncio.sleep(random.uniform(*RETRY_S))
                    continue
                agreed = True
                try:
                    self._load()
                    agreed = await self._agreed()
                    if agreed:
                        await self._burst()
                        await self._told()
                    else:
                        self._dismiss_late()
                finally:
                    self._file.give_back()
                    self._until = 0.0
                wanted = self._waiters and self._file.wanted()
                await asyncio.sleep(TURN_S if wanted else 0 if agreed else ASK_S)
        except Exception as error:  # mostly that the data folder cannot be written: nothing may leave
            self._refuse_all(error)
            if not isinstance(error, RmmError):
                raise  # a defect of ours: the loop reports it as well
        finally:
            self._task = None

    async def _agreed(self) -> bool:
        """Ask the other collectors of the site where that is needed; whether logons may leave."""
        if self._agreement.colleagues is None or not self._waiters:
            return True
        need, now, limits = Need(waiting=True), self._clock.now(), self._limits()
        for waiter in itertools.islice(self._waiters, MOST_ASKED):
            answer = authguard.ask(self._guard, waiter.version, waiter.host, now, limits, waited_s=WAIT_S)
            if answer.word == CANARY:
                need = Need(trying=waiter.version, waiting=True)
            elif self._agreement.may_help(answer):
                need = Need(right=True, waiting=True)
            if answer.word in (GO, CANARY):
                break
        return await self._settle(need)

    async def _told(self) -> None:
        """Tell the others what came of it, and give them what they ask for."""
        if self._agreement.has_news(self._guard):
            await self._settle(Need(waiting=bool(self._waiters)))

    async def _settle(self, need: Need) -> bool:
        before = self._guard
        guard, go = await self._agreement.settle(self._file, before, len(self._flights), need)
        if guard is not before and self._guard is before:
            self._guard = guard
            self._file.write(guard)
        return go

    def _load(self) -> None:
        self._agreement.load(self._file)
        now, limits = self._clock.now(), self._limits()
        guard = self._file.read()
        damaged = guard is None
        if guard is None:  # written atomically and by nobody but us; who broke it may have hidden one bad logon
            guard = authguard.crashed(authguard.Guard(), 1, now, limits)
        guard = authguard.settled(guard, now)
        left = self._file.in_flight()
        if left:
            guard = authguard.crashed(guard, left, now, limits, self._file.noted_at())
        before = self._guard = msgspec.structs.replace(guard, account=self._account)
        late, self._late = self._late, []
        for flight, outcome in late:
            self._apply(flight, outcome)
        if left or damaged or self._guard is not before:
            self._file.write(self._guard)
            self._file.note(0, durable=False)
        self._read_at = time.monotonic()

    async def _burst(self) -> None:
        loop_end = self._until = time.monotonic() + BURST_S
        while True:
            late = time.monotonic() >= loop_end or self._agreement.asks
            if late and self._flights and time.monotonic() >= loop_end + DRAIN_S:
                late, self._until = False, time.monotonic() + TICK_S  # answers are slow: go on meanwhile
            if not late:
                self._pump()
            if not self._flights and (late or not self._waiters):
                return
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TICK_S):
                    await self._changed.wait()

    def _pump(self) -> None:
        """Let leave whoever may, in the order in which they came. Only while the lock is held."""
        self._read_at = time.monotonic()
        self._dismiss_late()
        now, limits = self._clock.now(), self._limits()
        for waiter in list(self._waiters):
            if waiter.future.done():
                self._waiters.pop(waiter, None)
                continue
            answer = authguard.ask(
                self._guard, waiter.version, waiter.host, now, limits,
                flights=self._flights, waited_s=time.monotonic() - waiter.since,
            )  # fmt: skip
            if answer.word == WAIT:
                return
            if self._agreement.has_to_ask(answer, waiter.version):
                return
            if answer.word == HELD:
                self._waiters.pop(waiter)
                waiter.future.set_exception(held_error(answer, self._account))
            elif answer.word in (GO, CANARY):
                flight = Flight(waiter.version, waiter.host, now)
                try:
                    self._file.note(len(self._flights) + 1, durable=answer.word == CANARY)
                except RmmError as error:  # theirs alone: this may run for one who is done with his logon
                    self._refuse_all(error)
                    return
                self._waiters.pop(waiter)
                self._flights.append(flight)
                waiter.future.set_result(flight)

    def settle(self, flight: Flight, outcome: str) -> None:
        """The end of a logon."""
        _remove(self._flights, flight)
        if not self._file.held:
            self._late.append((flight, outcome))
            if self._task is None:
                self._task = asyncio.create_task(self._serve())
            return
        before = self._guard
        self._apply(flight, outcome)
        try:
            if self._guard is not before:
                self._file.write(self._guard)
            if time.monotonic() < self._until:
                self._pump()
            self._file.note(len(self._flights), durable=False)
        finally:
            if not self._flights:
                self._changed.set()

    def _apply(self, flight: Flight, outcome: str) -> None:
        now, limits = self._clock.now(), self._limits()
        if outcome == ACCEPTED:
            self._guard = authguard.accepted(self._guard, flight.version, flight.host, now, flight.at)
            # What left earlier with the same secret was good as well, whenever it is answered.
            self._flights = [one for one in self._flights if one.version != flight.version or one.at >= flight.at]
        elif outcome == REJECTED:
            self._guard = authguard.rejected(self._guard, flight.version, flight.host, now, limits, flight.at)
        elif outcome == BROKEN:
            self._guard = authguard.broke_off(self._guard, now, limits)

    async def is_the_host(self, flight: Flight) -> bool:
        """After a rejection of a proven secret: whether the canary that follows shows that the secret is good."""
        quiet, end = 0, time.monotonic() + VERDICT_S
        while time.monotonic() < end and quiet < MOST_QUIET:
            proof = self._guard.proofs.get(flight.version, authguard.Proof())
            if flight.host in proof.held:
                return True
            if proof.state != SUSPECT:
                return False
            quiet = 0 if self._waiters or self._flights else quiet + 1
            await asyncio.sleep(TICK_S / 2)
        return False  # nobody else asks now: the next round will show

    def _dismiss_late(self) -> None:
        while self._waiters:
            waiter = next(iter(self._waiters))  # who came first has waited longest
            if time.monotonic() - waiter.since <= WAIT_S:
                return
            self._waiters.pop(waiter)
            if not waiter.future.done():
                text = f"another logon as {self._account} had no answer for {WAIT_S:.0f} s"
                hint = (
                    "Logons of one account go one after the other, and are answered slowly: look at the domain "
                    "controllers, or at `lockout.parallel` in docs/security.md."
                )
                waiter.future.set_exception(AuthHeld(text, retry="RB", hint=hint))

    def _refuse_all(self, error: Exception) -> None:
        waiting, self._waiters = list(self._waiters), {}
        for waiter in waiting:
            if not waiter.future.done():
                waiter.future.set_exception(error)


def _remove(flights: list[Flight], flight: Flight) -> None:
    """By identity: two flights may look the same."""
    flights[:] = [one for one in flights if one is not flight]
