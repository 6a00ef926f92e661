"""Brokers from `rmm hub config`, a hub that answers enrolment on them, and connections by hand."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from nats_servers import Server, free_ports

from rmm.bus.jetstream import JetStreamBus, open_bus
from rmm.bus.link import Link
from rmm.bus.login import Login
from rmm.hub.authority import Authority
from rmm.hub.broker_config import Ports, servers_of, write_brokers
from rmm.hub.broker_config import Server as Planned
from rmm.hub.enrolment import ENROLMENT, RENEWAL, Outcome, answer_enrolment, answer_renewal
from rmm.hub.invitations import invite
from rmm.model.enrolment import Token
from rmm.site.enrolling import enroll
from rmm.site.identity import Identity

SITES = ("berlin", "tokyo")


class Clock:
    """This machine's time, and how far off it is."""

    def __init__(self, off: timedelta = timedelta(0)) -> None:
        self.off = off

    def now(self) -> datetime:
        return datetime.now(UTC) + self.off

    def monotonic(self) -> float:
        return 0.0


class Configured(Server):  # type: ignore[misc]  # found on the path, not by mypy
    """A nats-server with a configuration that is there already."""

    def __init__(self, config: Path, planned: Planned) -> None:
        self.folder, self.config, self.name = config.parent, config, planned.name
        self.port, self.http_port = planned.ports.client, planned.ports.monitor
        self.ws_port, self.cluster_port = planned.ports.websocket, planned.ports.cluster
        self.scheme, self.process, self.log = "tls", None, config.parent / "server.log"


@contextlib.contextmanager
def brokers(authority: Authority, count: int, out: Path) -> Iterator[list[Configured]]:
    """One or three, ready; on 127.0.0.1, with ports that are free."""
    ports = free_ports(4 * count)
    planned = [
        Planned(host=one.host, name=one.name, listen=one.listen, ports=Ports(*ports[4 * n : 4 * n + 4]))
        for n, one in enumerate(servers_of(["127.0.0.1"], count, Ports(), "127.0.0.1"))
    ]
    paths = write_brokers(authority, planned, out, datetime.now(UTC))
    servers = [Configured(path, one) for path, one in zip(paths, planned, strict=True)]
    with contextlib.ExitStack() as stack:
        for server in servers:
            stack.callback(server.kill)
            server.start(wait=False)
        for server in servers:
            server.wait_ready()
        yield servers


class World:
    """A hub, its brokers and what sites do."""

    def __init__(self, authority: Authority, clock: Clock, servers: Sequence[Configured], folder: Path) -> None:
        self.authority = authority
        self.clock = clock
        self.servers = servers
        self.folder = folder
        self.urls = tuple(server.url for server in servers)
        self.sites = list(SITES)
        self.outcomes: list[Outcome] = []

    def invited(self, site: str = "berlin", *, hours: float = 1, name: str = "") -> Token:
        return invite(
            self.authority,
            site,
            sites=self.sites,
            urls=self.urls,
            lasts=timedelta(hours=hours),
            now=self.clock.now(),
            name=name,
        )

    @contextlib.asynccontextmanager
    async def hub(self) -> AsyncIterator[JetStreamBus]:
        """The hub answers while this lasts."""
        told = self.outcomes.append
        async with (
            open_bus(self.authority.login(self.urls, self.clock.now())) as bus,
            bus.answer(ENROLMENT, answer_enrolment(self.authority, self.sites, self.urls, self.clock, told)),
            bus.answer(RENEWAL, answer_renewal(self.authority, self.urls, self.clock, told)),
        ):
            yield bus

    async def enrolled(self, site: str = "berlin", where: str = "", name: str = "") -> Identity:
        """A collector of the site, in a configuration folder of its own; the hub must be there."""
        config = self.folder / (where or f"{site}-config")
        return await enroll(self.invited(site, name=name), config, clock=self.clock, host="PC 01.corp")


@contextlib.asynccontextmanager
async def link(login: Login) -> AsyncIterator[Link]:
    """A bare connection."""
    made = Link(login)
    made.start()
    try:
        await made.ready(20)  # a busy machine
        yield made
    finally:
        await made.aclose()
