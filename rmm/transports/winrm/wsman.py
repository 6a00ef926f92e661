"""WSMan over one authenticated connection: one request, one verified answer, faults as errors."""

from __future__ import annotations

import asyncio
import time
from contextvars import ContextVar
from functools import lru_cache
from typing import Any

from rmm.errors import AccessError, ProtocolError, TransportError
from rmm.model.endpoint import Target
from rmm.ports import Recorder
from rmm.transports.winrm import envelope
from rmm.transports.winrm.auth import Authentication, check_fit
from rmm.transports.winrm.bounded import excerpt
from rmm.transports.winrm.envelope import Answer
from rmm.transports.winrm.faults import Fault, error_of
from rmm.transports.winrm.http import Connection
from rmm.transports.winrm.logons import Logons
from rmm.transports.winrm.network import open_connection
from rmm.transports.winrm.rejection import status_error

FIRST_SIZE = 153_600  # MaxEnvelopeSize until the endpoint showed protocol 2.2 or later ...
FULL_SIZE = 512_000  # ... and what every supported Windows takes from then on, unless its administrator chose less
SIZES = (FULL_SIZE, FIRST_SIZE, 32_768)  # the last is the least that MaxEnvelopeSizekb can be
OPERATION_S = 20.0  # longest time for which the endpoint may hold a Receive that has nothing to say
ANSWER_S = 3.0  # how much later than the operation's own timeout its answer may come


RECORDER: ContextVar[Recorder | None] = ContextVar("recorder", default=None)
"""Who is told what is said on the connections that are opened in this context; nobody, as a rule."""


class FaultError(Exception):
    """A SOAP fault before it is judged: a Receive that timed out is no failure."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.fault = fault


class Wsman:
    """An authenticated connection that speaks WSMan. Use `open_wsman`."""

    def __init__(self, connection: Connection, authentication: Authentication, target: Target) -> None:
        self.connection = connection
        self.size = FIRST_SIZE
        self._answered = False  # whether this connection has carried a request after its logon
        self.most = FULL_SIZE  # less once the endpoint refused an envelope as too large
        self._auth = authentication
        self._to = f"{target.scheme}://{target.host}:{target.port}/wsman"
        self._session = envelope.new_id()
        self._recorder = RECORDER.get()
        if self._recorder is not None:
            self._recorder.introduced(authentication.peer)

    @property
    def peer(self) -> dict[str, str]:
        """What the endpoint said of itself in its NTLM challenge."""
        return self._auth.peer

    @property
    def usable(self) -> bool:
        """Whether another request may be sent on this connection."""
        return self.connection.usable and not self._auth.expired

    async def call(
        self,
        action: str,
        resource: str,
        *,
        headers: str = "",
        body: str = "",
        deadline: float,
        wait: float = OPERATION_S,
    ) -> Answer:
        """Send one request; returns its answer.

        Args:
            action: what to do.
            resource: resource URI.
            headers: further header elements, as XML.
            body: content of s:Body, as XML.
            deadline: absolute.
            wait: the operation timeout that the endpoint is told, in seconds.

        Raises:
            FaultError: the endpoint answered with a fault; the connection stays usable.
            TransportError: anything else; the connection does not.
        """
        message, request = envelope.request(
            action,
            to=self._to,
            resource=resource,
            session=self._session,
            size=self.size,
            timeout_s=wait,
            headers=headers,
            body=body,
        )
        head, sealed = self._auth.request(request)
        limit = min(deadline, asyncio.get_running_loop().time() + wait) + ANSWER_S
        began = time.perf_counter()
        response = await self.connection.request(head, sealed, limit)
        plain: bytes | None = None
        try:
            if response.status == 401 and not self._answered:
                raise _not_admitted()
            if response.status not in (200, 500):
                raise status_error(response)
            plain = self._auth.answer(response)
            answer = Answer(plain)
            if answer.relates_to != message:
                hint = "Something in between mixes up answers; the connection was dropped."
                raise ProtocolError("it answers another request", code="soap.relates_to", retry="R1", hint=hint)
            self._answered = True
        except TransportError as error:
            self.connection.abort()
            if plain is not None and error.code.startswith("xml."):
                error.sample = excerpt(plain)
            raise
        finally:
            if self._recorder is not None:
                ms = (time.perf_counter() - began) * 1000
                self._recorder.exchanged(request, response.status, response.headers, plain, ms)
        fault = answer.fault()
        if fault is not None:
            raise FaultError(fault)
        if response.status != 200:
            raise ProtocolError("HTTP 500 without a fault", code="http.status")
        return answer

    async def ask(self, action: str, resource: str, **rest: Any) -> Answer:
        """As `call`, with faults raised as the errors that they mean."""
        try:
            return await self.call(action, resource, **rest)
        except FaultError as error:
            raise error_of(error.fault) from error


def _not_admitted() -> AccessError:
    """A 401 to the first request after a good logon: the password is right, so no new logon can help.

    Later on a 401 is the end of the connection's context, and one new logon is due (`status_error`, R1).
    """
    return AccessError(
        "the logon was accepted and the first request was not",
        code="access.rootsddl",
        hint="The account is not admitted by RootSDDL: winrm configSDDL default, or add it to Remote Management Users.",
    )


async def open_wsman(target: Target, gate: Logons, deadline: float, telemetry: dict[str, float]) -> Wsman:
    """Connect and authenticate; writes connect_ms and auth_ms into `telemetry` as far as it comes."""
    check_fit(target)
    began = time.perf_counter()  # the loop's own clock may count whole milliseconds only
    connection = await open_connection(target, deadline)
    connected = time.perf_counter()
    telemetry["connect_ms"] = round((connected - began) * 1000, 3)
    if connection.certificate and (days := days_left(connection.certificate)) is not None:
        telemetry["tls_days_left"] = days
    host = f"[{target.host}]" if ":" in target.host else target.host
    head = (
        f"POST /wsman HTTP/1.1\r\nHost: {host}:{target.port}\r\nConnection: Keep-Alive\r\nUser-Agent: rmm\r\n"
        "Accept-Encoding: identity\r\n"
    ).encode("ascii", "replace")
    authentication = Authentication(head)
    try:
        await authentication.logon(connection, target, gate, deadline)
    except BaseException:
        connection.abort()
        raise
    telemetry["auth_ms"] = round((time.perf_counter() - connected) * 1000, 3)
    return Wsman(connection, authentication, target)


def days_left(certificate: bytes) -> float | None:
    """Days until a certificate (DER) ends; None for one whose end cannot be told.

    Read from the certificate itself: of one that is trusted by its pinned key the ssl module tells nothing.
    """
    try:
        return round((_end_of(certificate) - time.time()) / 86_400, 2)
    except ValueError:  # such as a year that Python's calendar does not have
        return None


@lru_cache(maxsize=4096)
def _end_of(certificate: bytes) -> float:
    from cryptography import x509

    return x509.load_der_x509_certificate(certificate).not_valid_after_utc.timestamp()
