"""Runs a lab: one process, one listener per port, every address 127.x.y.z an endpoint."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
import ssl
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from rmm.durable import replace_file
from rmm.errors import ConfigError
from rmm.lab.configuration import LabAccess, new_password, write_configuration
from rmm.lab.faults import MachineFaults, Plan, load_plan
from rmm.lab.fleet import LabFleet
from rmm.lab.machine import Engine, Machine
from rmm.lab.recorded import RecordedFleet, RecordedMachine, RecordedService
from rmm.lab.wire.accounts import Change, accounts_of
from rmm.lab.wire.dns import serve_names
from rmm.lab.wire.http import HANDLED, Handler, Reply, Request, ServerConnection
from rmm.lab.wire.kerberos import Acceptor
from rmm.lab.wire.logon import Logon, Ways
from rmm.lab.wire.service import Lab, Service
from rmm.lab.wire.shells import ShellHost
from rmm.lab.wire.tls import Authority, answer_as_old, common_name

log = logging.getLogger(__name__)

CONTROL = "127.0.0.1"  # no endpoint has an address in 127.0.0.0/24
BACKLOG = 4096
REAP_S = 5.0
HANDSHAKE_S = 20.0


class LabOptions(msgspec.Struct, kw_only=True):
    """What to simulate, and where to write how it is reached."""

    endpoints: int
    config: Path
    http_port: int = 0
    https_port: int = 0
    seed: int = 1
    profiles: tuple[
        str, ...
    ] = ()  # kinds of machines, see `rmm.lab.kinds`; without: one of each system, then at random
    faults: Path | None = None
    plan: Plan | None = None  # instead of `faults`
    by_name: bool = False  # endpoints are reached by name, through the lab's own name server
    idle_rate: float = 1.0  # how much faster than the clock shells become idle
    ready_file: Path | None = None
    scheme: str = "http"
    password: str = ""
    recording: Path | None = None  # one machine that answers from this file, instead of `endpoints`
    keytab: Path | None = None  # keys of the machines' services: Kerberos is offered
    credssp: bool = False  # CredSSP is offered
    client_certificate: str = ""  # common name: a certificate is issued into `config` and mapped to the lab's account
    concurrency: int = 0  # polls at once in the written configuration at most; 0: as many as suit the fleet
    started: datetime | None = None  # when the fleet's life began; now, if it is not given
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)  # the time of the machines
    collectors: tuple[Path, ...] = ()  # folders of collectors whose samples the machines answer from too
    unmapped: bool = False  # the certificate is issued and trusted, but mapped to nobody


class LabInfo(msgspec.Struct):
    """A lab that is up. `stats_url` gives its counters as JSON."""

    endpoints: int
    http_port: int
    https_port: int
    config: str
    ca_file: str
    username: str
    password: str

    @property
    def stats_url(self) -> str:
        """On loopback, without authentication."""
        return f"http://{CONTROL}:{self.http_port}/lab/stats"


class _Front:
    """Turns connections into services."""

    def __init__(self, lab: Lab, authority: Authority, plan: Plan) -> None:
        self._lab = lab
        self._authority = authority
        self._plan = plan
        self._secure_port = 0
        self.open: set[ServerConnection] = set()
        self._handshakes: set[asyncio.Task[None]] = set()

    def connection(self) -> ServerConnection:
        """For HTTP."""
        return ServerConnection(lambda one: self._opened(one, secure=False), self.open.discard)

    def secure_connection(self) -> ServerConnection:
        """For HTTPS."""
        return ServerConnection(lambda one: self._opened(one, secure=True), self.open.discard)

    def _opened(self, connection: ServerConnection, *, secure: bool) -> Handler | None:
        self.open.add(connection)
        if not connection.local.startswith("127."):
            connection.close(reset=True)  # never anything but loopback, however the listener was bound
            return None
        if connection.local.startswith("127.0.0."):
            return self._control
        machine = self._lab.fleet.machine_at(connection.local)
        if machine is None:
            connection.close(reset=True)
            return None
        self._lab.counts.connections += 1
        faults = self._plan.of(machine)
        if faults is not None and any(fault.connected(connection) for fault in faults.strike("connected", "connect")):
            return None
        kind = RecordedService if isinstance(machine, RecordedMachine) else Service
        service = kind(self._lab, machine, secure=secure, faults=faults)  # type: ignore[arg-type]
        if secure:
            service.logon.binding = self._authority.binding(machine)
        if secure:
            assert connection.transport is not None
            connection.transport.pause_reading()  # at once: the client's first bytes belong to the handshake
            connection.held = True
            task = asyncio.ensure_future(self._handshake(connection, machine, faults, service.logon))
            self._handshakes.add(task)
            task.add_done_callback(self._handshakes.discard)
        if faults is None:
            return service.handle
        service.logon.refuse_all = faults.refuses_logons
        connection.logon = service.logon
        if faults.policy is not None:
            service.logon.policy = faults.policy
        return _faulty(service, faults, connection)

    async def _handshake(
        self, connection: ServerConnection, machine: Machine, faults: MachineFaults | None, logon: Logon
    ) -> None:
        plain = connection.transport
        if plain is None:
            return
        try:
            context = next(
                (
                    made
                    for fault in (faults.strike("certified", "connect") if faults else ())
                    if (made := fault.certified(self._authority, machine)) is not None
                ),
                None,
            ) or self._authority.context(machine)
            with plain.get_extra_info("socket").dup() as spare:
                try:
                    secured = await asyncio.get_running_loop().start_tls(
                        plain, connection, context, server_side=True, ssl_handshake_timeout=HANDSHAKE_S
                    )
                except ssl.SSLError as error:
                    answer_as_old(spare, context, error)
                    raise
        except OSError:
            connection.close(reset=True)
            return
        if secured is not None:
            logon.client_name = common_name(secured)
            connection.upgrade(secured)

    def _control(self, request: Request) -> Reply:
        if request.method == "GET" and request.path == "/lab/stats":
            return Reply(200, ["Content-Type: application/json"], msgspec.json.encode(self._lab.stats()))
        if request.method == "GET" and request.path == "/lab/shells":
            rows = [
                {
                    "machine": shell.machine.name, "id": shell.id, "name": shell.name, "owner": shell.owner,
                    "configuration": shell.uri.rpartition("/")[2], "idle_s": self._lab.inactive_s(shell),
                }
                for shell in self._lab.shells.values()
            ]  # fmt: skip
            return Reply(200, ["Content-Type: application/json"], msgspec.json.encode(rows))
        if request.method == "POST" and request.path == "/lab/accounts":
            return self._change(request.body)
        return Reply(404)

    def _change(self, body: bytes) -> Reply:
        """An administrator's work at run time: another password, another state."""
        try:
            change = msgspec.json.decode(body, type=Change)
            name = change.name or self._lab.accounts.username
            self._lab.accounts.change(name, password=change.password, state=change.state)
        except (msgspec.DecodeError, ValueError, KeyError) as error:
            return Reply(400, ["Content-Type: text/plain"], str(error).encode())
        return Reply(200, ["Content-Type: application/json"], msgspec.json.encode(self._lab.stats().accounts))


def _faulty(service: Service, faults: MachineFaults, connection: ServerConnection) -> Handler:
    async def later(pending: object) -> Reply | None:
        step = service.step
        reply = await pending if asyncio.iscoroutine(pending) else pending
        if reply is HANDLED:
            return HANDLED
        if isinstance(reply, Reply) and any(
            fault.replied(connection, reply) for fault in faults.strike("replied", step)
        ):
            return HANDLED
        return reply if isinstance(reply, Reply) else None

    def struck(request: Request) -> bool:
        return any(fault.requested(connection, request) for fault in faults.strike("requested", service.step))

    def handle(request: Request) -> object:
        step = service.step = service.step_of(request)
        if step and struck(request):
            return HANDLED
        service.arrived = lambda: struck(request)
        return asyncio.ensure_future(later(service.handle(request)))

    return handle  # type: ignore[return-value]


def _listener(port: int) -> socket.socket:
    """A socket for all of 127.0.0.0/8 and nothing else."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    if sys.platform != "win32":
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if hasattr(socket, "SO_BINDTODEVICE"):
        # Where the system does not allow it, connections from outside are reset when they are accepted.
        with contextlib.suppress(OSError):
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo\0")
    try:
        listener.bind(("", port))
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"port {port} is taken: {error.strerror}", hint="Choose another port, or 0 for a free one."
        ) from error
    listener.listen(BACKLOG)
    listener.setblocking(False)
    return listener


def _lab(
    options: LabOptions, fleet: LabFleet | RecordedFleet, engine: Engine | ShellHost, access: LabAccess, plan: Plan
) -> Lab:
    """The machines with their accounts, and the ways in which they let one log on."""
    try:
        lab = Lab(fleet, engine, accounts_of(access.username, access.password, plan.document))
    except ValueError as error:
        raise ConfigError(f"accounts of the fault plan: {error}", hint="See docs/security.md, the lab.") from error
    lab.idle_rate, lab.now = options.idle_rate, options.clock
    mapped = {options.client_certificate: access.username} if options.client_certificate else {}
    lab.ways = Ways(
        kerberos=Acceptor(options.keytab) if options.keytab else None,
        credssp=options.credssp,
        mapped={} if options.unmapped else mapped,
    )
    return lab


async def serve(
    options: LabOptions, engine: Engine | ShellHost, *, ready: Callable[[LabInfo], None], stop: asyncio.Event
) -> None:
    """Serve until `stop` is set. Raises ConfigError when something it was given cannot be used."""
    if not isinstance(engine, ShellHost):
        await _serve(options, engine, ready, stop)
        return
    try:
        await engine.start()
        await _serve(options, engine, ready, stop)
    finally:
        await engine.aclose()


async def _serve(
    options: LabOptions, engine: Engine | ShellHost, ready: Callable[[LabInfo], None], stop: asyncio.Event
) -> None:
    loop = asyncio.get_running_loop()
    fleet = _fleet(options)
    plan = options.plan or (load_plan(options.faults) if options.faults else Plan())
    options.config.mkdir(parents=True, exist_ok=True)
    ca_file = options.config / "lab-ca.pem"
    authority = Authority(ca_file)
    password = options.password or new_password()
    access_listeners = [_listener(options.http_port), _listener(options.https_port)]
    http_port, https_port = (listener.getsockname()[1] for listener in access_listeners)
    names, dns_port = await serve_names(fleet, plan)
    access = LabAccess(
        http_port, https_port, ca_file, password, scheme=options.scheme, concurrency=options.concurrency,
        dns_port=dns_port if options.by_name else 0,
    )  # fmt: skip
    lab = _lab(options, fleet, engine, access, plan)
    front = _Front(lab, authority, plan)
    if options.client_certificate:
        authority.asks_for_certificates = True
        authority.client_certificate(options.client_certificate, options.config)
    servers = [
        await loop.create_server(factory, sock=listener)
        for factory, listener in zip((front.connection, front.secure_connection), access_listeners, strict=True)
    ]
    try:
        write_configuration(options.config, fleet, access, plan)
        for text in plan.unmatched(fleet):
            log.warning("%s", text)
        info = LabInfo(
            len(fleet),
            http_port,
            https_port,
            str(options.config.resolve()),
            str(ca_file.resolve()),
            access.username,
            password,
        )
        if options.ready_file is not None:
            facts = {"http_port": http_port, "https_port": https_port, "endpoints": len(fleet), "config": info.config}
            replace_file(options.ready_file, json.dumps(facts).encode())
        ready(info)
        while not stop.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(REAP_S / max(1.0, lab.idle_rate)):
                    await stop.wait()
            lab.reap()
    finally:
        names.close()
        for server in servers:
            server.close()
        for connection in list(front.open):
            connection.close(reset=True)
        await asyncio.sleep(0)


def _fleet(options: LabOptions) -> LabFleet | RecordedFleet:
    if options.recording:
        return RecordedFleet(options.recording)
    try:
        return LabFleet(
            options.endpoints, options.seed, started=options.started, profiles=options.profiles,
            collectors=options.collectors,
        )  # fmt: skip
    except ValueError as error:
        raise ConfigError(str(error), hint="`rmm lab profiles` lists some.") from error


def run(options: LabOptions, engine: Engine | ShellHost, *, ready: Callable[[LabInfo], None]) -> None:
    """Serve until Ctrl-C or SIGTERM."""
    import signal

    async def main() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()

        def end(*_: object) -> None:
            loop.call_soon_threadsafe(stop.set)

        for name in ("SIGINT", "SIGTERM", "SIGBREAK"):
            number = getattr(signal, name, None)
            if number is not None:
                signal.signal(number, end)  # unlike loop.add_signal_handler this works on Windows too
        await serve(options, engine, ready=ready, stop=stop)

    # The standard loop: uvloop's start_tls loses handshakes when several connections are accepted at once.
    asyncio.run(main())
