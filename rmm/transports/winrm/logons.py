"""Kerberos for a fleet: one ticket-granting ticket per credential, and no poll held up by a KDC that does not answer.

Tickets lie in memory of this process; the user's own cache is read only where the credential says so. Every call that
may wait for a KDC runs in one of a few threads and is given up at its deadline.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

from rmm.errors import AuthHeld, UnsupportedError
from rmm.model.endpoint import Credential, Target
from rmm.ports import AuthAttempt, AuthGate
from rmm.transports.winrm import kerberos
from rmm.transports.winrm.daemons import DaemonThreads
from rmm.transports.winrm.kdc import KDC, TicketError, ticket_error
from rmm.transports.winrm.kerberos import Ticket
from rmm.transports.winrm.network import verified_name

T = TypeVar("T")

THREADS = 8  # for one realm
KDC_S = 8.0  # a KDC on a bad link answers within this; libkrb5 itself would wait for up to half a minute
TELLING_S = 3.0  # a wait that was shorter says nothing about the KDC
PAUSE_S = 10.0  # how long a failure is remembered: the other endpoints of a round are told without asking again
UNREACHABLE = KDC + 156


class _Entry:
    """What is known of one credential."""

    def __init__(self) -> None:
        self.ticket: Ticket | None = None
        self.old: Ticket | None = None  # the one before: contexts that are being made may still use it
        self.failure: TicketError | None = None
        self.failed_at = 0.0
        self.task: asyncio.Task[Ticket | TicketError] | None = None


class Logons:
    """`ports.AuthGate`, and the tickets that were got through it. One per transport; lives in one event loop."""

    def __init__(self, gate: AuthGate) -> None:
        self._gate = gate
        self._entries: dict[Credential, _Entry] = {}
        self._threads: dict[str, DaemonThreads] = {}  # by realm: a dead KDC takes none of another's
        self._silent_until: dict[str, float] = {}  # realm -> when its KDC is asked again

    def attempt(self, credential: Credential, host: str) -> AbstractAsyncContextManager[AuthAttempt]:
        """As the gate: for schemes that prove the secret to the endpoint."""
        return self._gate.attempt(credential, host)

    async def context(self, target: Target, binding: bytes, deadline: float) -> tuple[Any, bytes]:
        """A context for this endpoint and its first token. Raises TicketError, AuthHeld, UnsupportedError.

        `binding` is the channel binding, `tls-server-end-point:` and the hash, or empty.
        """
        if kerberos.windows():
            return await self._sspi(target, binding, deadline)
        ticket = await self.ticket(target.credential, deadline)
        host = verified_name(target)
        about = f"{target.spn}/{host}"
        realm = kerberos.realm_of(target.credential)
        return await self._ask(
            realm, about, lambda: kerberos.gssapi_context(ticket, target.spn, host, binding), deadline
        )

    async def ticket(self, credential: Credential, deadline: float) -> Ticket:
        """A valid ticket-granting ticket; got once, renewed at 80 % of its life while the old one still serves."""
        kerberos.check_installed()
        entry = self._entries.setdefault(credential, _Entry())
        now = time.monotonic()
        usable = entry.ticket if entry.ticket is not None and now < entry.ticket.until else None
        if usable is not None and now < usable.renew_at:
            return usable
        first = False
        if entry.task is None:
            if entry.failure is not None and now - entry.failed_at < PAUSE_S:
                if usable is not None:
                    return usable
                raise _told(entry.failure)
            entry.task = asyncio.ensure_future(self._renew(credential, entry))
            entry.task.add_done_callback(_heard)
            first = True
        if usable is not None:
            return usable
        try:
            async with asyncio.timeout_at(deadline):
                got = await asyncio.shield(entry.task)
        except TimeoutError as error:
            raise ticket_error(UNREACHABLE, credential.username) from error
        if isinstance(got, TicketError):
            raise got if first else _told(got)
        return got

    async def _renew(self, credential: Credential, entry: _Entry) -> Ticket | TicketError:
        try:
            got = await self._obtain(credential)
        except TicketError as error:
            entry.failure, entry.failed_at = error, time.monotonic()
            return error
        except AuthHeld as held:
            failure = TicketError(str(held), code=held.code, status=held.status, retry=held.retry, hint=held.hint)
            failure.refused = True
            entry.failure, entry.failed_at = failure, time.monotonic()
            return failure
        finally:
            entry.task = None
        kerberos.destroy(entry.old)
        entry.old, entry.ticket, entry.failure = entry.ticket, got, None
        return got

    async def _obtain(self, credential: Credential) -> Ticket:
        about, realm = credential.username, kerberos.realm_of(credential)
        deadline = asyncio.get_running_loop().time() + KDC_S
        if credential.kind == "ccache":
            return await self._ask(realm, about, lambda: kerberos.from_cache(credential), deadline)
        async with self._gate.attempt(credential, realm) as attempt:
            password = kerberos.Password(credential.secret.reveal())
            deadline = asyncio.get_running_loop().time() + KDC_S
            try:
                got = await self._ask(realm, about, lambda: kerberos.log_on(credential, password), deadline)
            except TicketError as error:
                password.close()  # from here on it cannot be used any more by a thread that goes on unheard
                # A keytab's key cannot be watched as a password can: its bytes may have left.
                left = password.used or credential.kind == "keytab"
                error.spent = error.code == "kdc.unreachable" and left
                if error.refused:
                    attempt.rejected()
                elif not left:
                    attempt.unsent()
                raise
            finally:
                password.close()
            attempt.accepted()
            return got

    async def _ask(self, realm: str, about: str, function: Callable[[], T], deadline: float) -> T:
        """Run `function`, which may ask the KDC, in a thread. A KDC that was silent just now is not asked again."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        if self._silent_until.get(realm, 0.0) > began:
            raise ticket_error(UNREACHABLE, about)
        threads = self._threads.setdefault(realm, DaemonThreads(THREADS, f"rmm-kerberos-{len(self._threads)}"))
        try:
            return await threads.call(function, min(deadline, began + KDC_S))
        except TimeoutError as error:
            if loop.time() - began >= TELLING_S:
                self._silent_until[realm] = loop.time() + PAUSE_S
            raise ticket_error(UNREACHABLE, about) from error
        except TicketError as error:
            # The exception is the thread's; its traceback would keep what the thread knew.
            raise error.again() from None

    async def _sspi(self, target: Target, binding: bytes, deadline: float) -> tuple[Any, bytes]:
        credential = target.credential
        if credential.kind != "password":
            raise UnsupportedError(
                f"a {credential.kind} is not used on Windows", code="auth.missing", status="CONFIG",
                hint="Store the password of the account, or run the site collector on Linux.",
            )  # fmt: skip
        host = verified_name(target)
        about = f"{credential.username}, {target.spn}/{host}"
        async with self._gate.attempt(credential, kerberos.realm_of(credential)) as attempt:
            try:
                made = await self._ask("", about, lambda: kerberos.sspi_context(target, host, binding, about), deadline)
            except TicketError as error:
                if error.refused:
                    attempt.rejected()
                raise
            attempt.accepted()
            return made

    async def aclose(self) -> None:
        """Forget all tickets."""
        entries, self._entries = list(self._entries.values()), {}
        for entry in entries:
            if entry.task is not None:
                entry.task.cancel()
            kerberos.destroy(entry.ticket)
            kerberos.destroy(entry.old)
        for threads in self._threads.values():
            threads.close()
        self._threads.clear()


def _told(error: TicketError) -> Exception:
    """What those get who did not ask themselves."""
    if error.refused:
        return AuthHeld(str(error), hint=error.hint)
    return error.again()


def _heard(task: asyncio.Task[Any]) -> None:
    """Those who wait get its exception; nobody may, while an old ticket still serves."""
    if not task.cancelled():
        task.exception()
