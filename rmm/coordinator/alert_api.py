"""Alertmanager's API v2 of our own: alerts are pushed and listed. On loopback, with a token, everything bounded.

limit                     what happens beyond it
MOST connections          a further one is closed
HEAD bytes of a head      431
BODY bytes of a body      413
REQUEST_S for a request   the connection is closed
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import ipaddress
import logging
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

import h11
import msgspec

from rmm import __version__
from rmm.coordinator import acts
from rmm.coordinator.service import Coordinator
from rmm.core.alerting import external
from rmm.core.alerting.external import (
    Posted,
    Refused,
    changes,
    checked,
    expired,
    filters_of,
    gettable,
    labels_of,
    passes,
)
from rmm.errors import ConfigError, RmmError
from rmm.model.endpoint import Secret
from rmm.ports import Clock
from rmm.tiers.fleet_sqlite import FleetFile, Place

log = logging.getLogger(__name__)

MOST = 32
HEAD, BODY = 16 << 10, 1 << 20
REQUEST_S, ANSWER_S = 10.0, 30.0
EXPIRE_S = 10.0
LINGER_S = 0.5

_SILENCE = "/api/v2/silence/"

_posted = msgspec.json.Decoder(list[Posted])
_silence = msgspec.json.Decoder(external.PostedSilence)


class Answer(NamedTuple):
    """What is sent, as JSON."""

    status: int
    content: Any


class AlertApi:
    """Serves one coordinator."""

    def __init__(
        self, where: Path | Place, coordinator: Coordinator, token: Secret, receivers: Sequence[str], clock: Clock
    ) -> None:
        self._where = where
        self._coordinator = coordinator
        self._token = token.reveal().encode()
        self._receivers = tuple(receivers)
        self._clock = clock
        self._began = clock.now()
        self._open: set[asyncio.Task[None]] = set()

    async def serve(self, host: str, port: int, ready: Callable[[str], None]) -> None:
        """Until cancelled; `ready` is told the address. Raises ConfigError where it may not or cannot listen."""
        if not _is_loopback(host):
            raise ConfigError(
                f"--listen {host}: this API listens on loopback alone",
                hint="Put a reverse proxy with TLS in front of it where others are to reach it.",
            )
        try:
            server = await asyncio.start_server(self._accept, host, port, limit=HEAD, backlog=MOST)
        except OSError as error:
            raise ConfigError(
                f"--listen {host}:{port}: {error.strerror or error}", hint="Choose another port."
            ) from error
        async with server:
            address = server.sockets[0].getsockname()
            ready(f"http://{f'[{address[0]}]' if ':' in address[0] else address[0]}:{address[1]}")
            try:
                while True:
                    await asyncio.sleep(EXPIRE_S)
                    await self._expire()
            finally:
                for task in self._open:
                    task.cancel()
                await asyncio.gather(*self._open, return_exceptions=True)

    async def _expire(self) -> None:
        now = self._clock.now()
        try:
            if any(expired({alert.key: alert}, now) for alert in await self._coordinator.alerts()):
                await self._coordinator.change(lambda live: expired(live, now))
        except RmmError as error:
            log.warning("alerts that have ended are looked at again: %s", error)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._open) >= MOST:
            writer.transport.abort()
            return
        task = asyncio.get_running_loop().create_task(self._heard(reader, writer))
        self._open.add(task)
        task.add_done_callback(self._open.discard)

    async def _heard(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        http = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD)
        try:
            try:
                async with asyncio.timeout(REQUEST_S):
                    request, body = await _received(http, reader, self._admits)
                answer = await self._answered(request, body)
            except _Early as early:
                answer = early.answer
            except h11.RemoteProtocolError as error:
                answer = Answer(error.error_status_hint, "no request that is understood here")
            async with asyncio.timeout(ANSWER_S):
                writer.write(_encoded(http, answer))
                await writer.drain()
                writer.write_eof()
            # What is closed while the client still sends may be lost on its way: let it end first, for a moment.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LINGER_S):
                    while await reader.read(HEAD):
                        pass
            writer.close()
        except (TimeoutError, OSError, h11.ProtocolError):
            pass
        except Exception:  # a defect must not end the server
            log.exception("a request could not be answered")
        finally:
            if not writer.transport.is_closing():
                writer.transport.abort()

    def _admits(self, request: h11.Request) -> None:
        given = dict(request.headers).get(b"authorization", b"")
        if not hmac.compare_digest(given, b"Bearer " + self._token):
            raise _Early(Answer(401, "a token is needed: Authorization: Bearer ..."))

    async def _answered(self, request: h11.Request, body: bytes) -> Answer:
        url = urlsplit(request.target.decode("ascii", "replace"))
        ways: dict[tuple[str, str], Callable[[], Awaitable[Answer]]] = {
            ("GET", "/api/v2/alerts"): lambda: self._alerts(url.query),
            ("POST", "/api/v2/alerts"): lambda: self._take(body),
            ("GET", "/api/v2/status"): self._status,
            ("GET", "/api/v2/receivers"): self._names,
            ("GET", "/api/v2/silences"): self._silences,
            ("POST", "/api/v2/silences"): lambda: self._silence(body),
        }
        if request.method == b"DELETE" and url.path.startswith(_SILENCE):
            return await self._unsilence(url.path.removeprefix(_SILENCE))
        way = ways.get((request.method.decode(), url.path.rstrip("/")))
        if way is None:
            return Answer(404, "there are /api/v2/alerts, /api/v2/receivers and /api/v2/status")
        try:
            return await way()
        except (Refused, msgspec.DecodeError, UnicodeDecodeError) as error:
            return Answer(400, str(error)[:500])
        except RmmError as error:
            log.warning("a request could not be carried out: %s", error)
            return Answer(503, "the fleet's database is not to be had now; try again")

    async def _take(self, body: bytes) -> Answer:
        posted, now = checked(_posted.decode(body)), self._clock.now()
        await self._coordinator.change(lambda live: changes(posted, live, now))
        return Answer(200, None)

    async def _alerts(self, query: str) -> Answer:
        asked = parse_qs(query, max_num_fields=50)
        active = asked.get("active", ["true"])[-1] != "false"
        suppressed = asked.get("silenced", ["true"])[-1] != "false"
        found, filters = [], filters_of(asked.get("filter", ()))
        for alert in await self._coordinator.alerts():
            wanted = {"firing": active, "acknowledged": suppressed}.get(alert.state, False)
            if wanted and passes(labels_of(alert), filters):
                found.append(gettable(alert, self._receivers))
        return Answer(200, found)

    async def _status(self) -> Answer:
        version = {name: "" for name in ("branch", "buildDate", "buildUser", "goVersion", "revision")}
        return Answer(
            200,
            {
                "cluster": {"status": "disabled"},
                "config": {"original": "# rmm's own: see `rmm notify list`\n"},
                "uptime": self._began.isoformat().replace("+00:00", "Z"),
                "versionInfo": {**version, "version": f"rmm {__version__}"},
            },
        )

    async def _silences(self) -> Answer:
        now = self._clock.now()
        found = await asyncio.to_thread(FleetFile(self._where).silences, now)
        return Answer(200, [external.gettable_silence(one, now) for one in found])

    async def _silence(self, body: bytes) -> Answer:
        now = self._clock.now()
        number = await acts.silence(self._where, external.silence_of(_silence.decode(body), now), now)
        return Answer(200, {"silenceID": str(number)})

    async def _unsilence(self, number: str) -> Answer:
        by = acts.By("Alertmanager's API", self._clock.now())
        if not number.isdigit() or len(number) > 15 or await acts.unsilence(self._where, [int(number)], by):
            return Answer(404, "there is no such silence")
        return Answer(200, None)

    async def _names(self) -> Answer:
        return Answer(200, [{"name": name} for name in self._receivers])


class _Early(Exception):
    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self.answer = answer


async def _received(
    http: h11.Connection, reader: asyncio.StreamReader, admits: Callable[[h11.Request], None]
) -> tuple[h11.Request, bytes]:
    """A request and its body; who may not ask is told so before the body is read."""
    request, body = None, bytearray()
    while True:
        event = http.next_event()
        if isinstance(event, h11.Request):
            request = event
            admits(request)
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > BODY:
                raise _Early(Answer(413, f"more than {BODY} bytes"))
        elif isinstance(event, h11.EndOfMessage):
            assert request is not None
            return request, bytes(body)
        elif event is h11.NEED_DATA:
            http.receive_data(await reader.read(HEAD))
        else:
            raise ConnectionError("closed without a request")


def _encoded(http: h11.Connection, answer: Answer) -> bytes:
    body = b"" if answer.content is None else msgspec.json.encode(answer.content)
    headers = [
        ("Content-Type", "application/json"), ("Content-Length", str(len(body))), ("Connection", "close"),
        ("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff"),
    ]  # fmt: skip
    reason = HTTPStatus(answer.status).phrase
    data = http.send(h11.Response(status_code=answer.status, reason=reason, headers=headers)) or b""
    return data + (http.send(h11.Data(data=body)) or b"") + (http.send(h11.EndOfMessage()) or b"")


def _is_loopback(host: str) -> bool:
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"
