"""What tests of whole rounds share: endpoints that take as long as the test says, over real stores and a real bus."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NoReturn, cast

from rmm.catalog.load import load_catalog
from rmm.errors import ConnectError, DeadlineError, RmmError
from rmm.loop import SystemClock
from rmm.model.endpoint import Credential, Endpoint, Secret, Target
from rmm.model.observation import Observation, decode_observation
from rmm.model.settings import PollSettings
from rmm.poller.kit import Kit
from rmm.poller.outlet import BusOutlet
from rmm.poller.round import Round, ShardWork
from rmm.resources import shipped
from rmm.tiers.shard_store import open_shard

CATALOG = load_catalog([shipped("collectors")])  # once: it takes longer than what some tests measure
COLLECTOR = "availability"  # what the poller itself saw: no script is needed for it
CREDENTIAL = Credential(name="c", username="CORP\\poll", secret=Secret("x"))


class Session:
    """A session in which nothing is run."""

    peer: Mapping[str, str] = {}
    telemetry: Mapping[str, float] = {}


class Sleepy:
    """A transport whose sessions open after `seconds(endpoint)`; None: never, and then it is a timeout."""

    name = "winrm"

    def __init__(self, seconds: Callable[[str], float | None]) -> None:
        self.seconds = seconds
        self.open = 0
        self.most = 0

    @asynccontextmanager
    async def session(self, target: Target, *, deadline: float) -> AsyncIterator[Session]:
        self.open += 1
        self.most = max(self.most, self.open)
        try:
            wanted = self.seconds(target.endpoint)
            async with asyncio.timeout_at(deadline):
                await asyncio.sleep(3600 if wanted is None else wanted)
            yield Session()
        except TimeoutError as error:
            raise DeadlineError from error
        finally:
            self.open -= 1

    async def aclose(self) -> None:
        """Nothing is kept."""


class Refusing(Sleepy):
    """Nobody is there."""

    @asynccontextmanager
    async def session(self, target: Target, *, deadline: float) -> AsyncIterator[Session]:
        if target.endpoint:
            raise ConnectError("refused", code="tcp.no_route")
        yield Session()


class Peer(Sleepy):
    """Sessions of a peer that says who it is."""

    def __init__(self, peer: Mapping[str, str], telemetry: Mapping[str, float] | None = None) -> None:
        super().__init__(lambda _: 0.0)
        self.peer = peer
        self.telemetry = telemetry or {}

    @asynccontextmanager
    async def session(self, target: Target, *, deadline: float) -> AsyncIterator[Session]:
        session = Session()
        session.peer = self.peer
        session.telemetry = self.telemetry
        yield session


def work(shards: int, each: int) -> list[ShardWork]:
    return [
        ShardWork("hq", n, tuple(Endpoint(id=f"e{n}-{k}", name=f"E{n}-{k}", site="hq") for k in range(each)))
        for n in range(shards)
    ]


async def _nobody(target: Target, deadline: float) -> NoReturn:
    raise ConnectError("refused", code="tcp.refused")


class Bench:
    """Rounds over one data folder; `seen` is (seconds since the round began, observation)."""

    def __init__(self, data: Path, transport: Sleepy, *, concurrency: int, timeout: float) -> None:
        self.data = data
        self.transport = transport
        self.poll = PollSettings(concurrency=concurrency, timeout=timeout)
        self.seen: list[tuple[float, Observation]] = []
        self.folded: list[Observation] = []
        self.failure: RmmError | None = None

    def kit(self, epoch: str, clock: SystemClock, names: tuple[str, ...] = (COLLECTOR,)) -> Kit:
        catalog = CATALOG
        return Kit(
            collectors={name: catalog[name] for name in names},
            intervals=dict.fromkeys(names, 60),
            bundle=cast("Any", None),
            transport=lambda _: cast("Any", self.transport),
            target=self._target,
            transport_of=lambda _: "winrm",
            shell_of=lambda _: "auto",
            rights=cast("Any", None),
            identify=_nobody,
            ladder=cast("Any", None),
            poll=self.poll,
            clock=clock,
            epoch=epoch,
        )

    async def round(self, shards: list[ShardWork], epoch: str) -> Round:
        self.seen = []
        clock = SystemClock()
        kit = self.kit(epoch, clock)
        began = clock.monotonic()
        async with BusOutlet.open(self._fold) as outlet:
            one = Round(
                kit,
                data=self.data,
                open_store=lambda site, shard: open_shard(self.data, site, shard, fields={}, now=clock.now),
                outlet=outlet,
                on_observation=lambda o: self.on_observation(clock.monotonic() - began, o),
                mode="all",
            )
            await one.run(shards)
        return one

    def on_observation(self, at: float, observation: Observation) -> None:
        self.seen.append((at, observation))

    async def _fold(self, batch: Any) -> None:
        if self.failure is not None:
            raise self.failure
        self.folded += map(decode_observation, batch)

    def _target(self, endpoint: Endpoint) -> Target:
        return Target(
            endpoint=endpoint.id, name=endpoint.name, host="127.0.0.1", port=9, scheme="http", transport="winrm",
            auth="ntlm", session="new", credential=CREDENTIAL,
        )  # fmt: skip
