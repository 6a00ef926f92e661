"""`rmm site run`: the parts of a site collector put together, from its start to its end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from rmm import __version__
from rmm.app import App, SiteCollector
from rmm.bus.jetstream import JetStreamBus, open_bus
from rmm.bus.subjects import GUARD, LEASES
from rmm.configured import Passphrase, proxy_of
from rmm.errors import BusError, ConfigError, RmmError, TierError
from rmm.loop import SystemClock
from rmm.model.envelope import Beat
from rmm.model.lease import Terms
from rmm.model.outgoing import Spooled
from rmm.model.round import PollRequest
from rmm.poller.colleagues import Colleagues
from rmm.settings.load import load_own, load_settings
from rmm.settings.places import has_settings
from rmm.settings.targets import changed_at
from rmm.site import control, enrolling
from rmm.site.bundle import Bundles
from rmm.site.control import DRAIN, STOP, Status
from rmm.site.forwarder import Forwarder, with_log
from rmm.site.identity import Identity
from rmm.site.leases import Leases
from rmm.site.outlet import ForwardingOutlet
from rmm.site.rounds import Rounds
from rmm.tiers.layout import left_over
from rmm.tiers.outgoing import OutgoingLog, open_outgoing

if TYPE_CHECKING:
    from rmm.coordinator import Coordinator
    from rmm.poller.round import Round
    from rmm.ports import Outlet

log = logging.getLogger(__name__)

AGAIN = "again"  # how a life may end beside STOP and DRAIN: another configuration or certificate counts
LOOK_S = 0.5  # between two looks at what is asked for
SHOW_S = 2.0  # between two writes of the status
FETCH_S, FIRST_FETCH_S = 60.0, 5.0  # between two questions for a configuration; while there is none
LONGEST_S, SHORTEST_S = 300.0, 15.0  # between the starts of two rounds, whatever the intervals of collectors
DRAIN_S = 240.0  # for handing over what waits
BROKER_S = 2.0  # for the first connection; what comes later is used when it is there

FLAGS = {"poll.workers": 1}  # a fence is kept by one process
Say = Callable[[str], None]


async def run_site(folder: Path, passphrase: Passphrase, say: Say, *, kept: bool = False) -> int:
    """Poll and forward until somebody asks for the end; returns the exit code. `kept`: as of `control.collecting`.

    Raises ConfigError where the folder is not that of an enrolled collector, and LeaseLost where one runs already.
    """
    Identity.load(folder)
    data = load_own(folder).data
    with control.collecting(data, kept=kept) as may:
        while may:
            may = await _Life(folder, data, passphrase, say).run() == AGAIN
        if control.read_stopped(data):
            say("it stays stopped until `rmm site start`")
    return 0


class _Life:
    """From a start to the end, or to the next configuration or certificate."""

    def __init__(self, folder: Path, data: Path, passphrase: Passphrase, say: Say) -> None:
        self._folder = folder
        self._data = data
        self._passphrase = passphrase
        self._say = say
        self._clock = SystemClock()
        self._identity = Identity.load(folder)
        self._started = self._clock.now()
        self._told = Rounds(data, f"{self._identity.site}/{self._identity.collector}", self._clock, say)
        self._bundles = Bundles(
            folder, self._identity.site, verify=self._identity.verify_hub, check=self._check, refused=self._told.refused
        )
        self._app: App | None = None
        self._ending = ""
        self._ends = asyncio.Event()
        self._doing = "starting"
        self._polled_at: datetime | None = None
        self._trouble = ""  # of the last round
        self._link: tuple[str, datetime] = ("down", self._started)
        self._polling: Round | None = None  # the newest round
        self._statuses: dict[str, str] = {}  # endpoint -> status of its newest observation that was handed on
        self._outgoing: OutgoingLog
        self._forwarder: Forwarder
        self._leases: Leases

    def _check(self, bundle: Path) -> Sequence[str]:
        return App(load_settings(self._folder, bundle=bundle), self._passphrase).proved()

    def _end(self, how: str) -> None:
        if self._ending != STOP:
            self._ending = how
        self._ends.set()

    async def run(self) -> str:
        """How it ended."""
        self._bundles.recover()
        forward = load_own(self._folder).forward
        if has_settings(self._folder):
            try:
                self._app = App(load_settings(self._folder, FLAGS), self._passphrase)
                _ = self._app.rulebook, self._app.intervals()
            except ConfigError as error:
                if self._bundles.roll_back(str(error)):
                    return AGAIN
                # A newer one may mend it; until then this says why nothing is polled, and ends no service.
                self._app, self._trouble = None, f"the configuration cannot be used: {error}"
                log.error("%s", self._trouble)  # noqa: TRY400 - no traceback for a file of people
            else:
                forward = self._app.settings.forward
        site, collector = self._identity.site, self._identity.collector
        shards = self._app.settings.sites[site].shards if self._app else 0
        async with AsyncExitStack() as stack:
            self._outgoing = await stack.enter_async_context(open_outgoing(self._data, site, forward))
            login = self._identity.login(proxy_of(self._folder, forward, self._passphrase))
            login = msgspec.structs.replace(login, urls=forward.urls or login.urls)
            bus = await stack.enter_async_context(open_bus(login, wait_s=BROKER_S, patient=True))
            self._forwarder = Forwarder(
                bus, self._outgoing, site=site, collector=collector, sign=self._identity.sign,
                verify=self._identity.verify_hub, clock=self._clock, settings=forward, describe=self._beat,
            )  # fmt: skip
            terms = Terms()
            keys = bus.keys(LEASES, ttl_s=terms.ttl)
            self._leases = Leases(keys, site, collector, shards, terms=terms, data=self._data, on_loss=self._lost)
            await stack.enter_async_context(self._leases.running())
            if self._app is not None:
                self._app.colleagues = Colleagues(
                    bus.keys(GUARD), site, collector, self._data, self._clock, self._app.settings.lockout,
                    lambda: self._leases.members,
                )  # fmt: skip
                await stack.enter_async_context(self._app.colleagues.running())
            beside = [
                asyncio.create_task(one)
                for one in (self._forwarder.run(), self._configure(bus), self._show(bus), self._heed())
            ]
            try:
                await self._live(beside)
            finally:
                for task in beside:
                    task.cancel()
                await asyncio.gather(*beside, return_exceptions=True)
            await self._write("ended", None)
        return self._ending

    async def _live(self, beside: Sequence[asyncio.Task[None]]) -> None:
        """Rounds until the end is asked for; then what has to be done before it. Raises what a task failed with."""
        rounds = asyncio.create_task(self._rounds())
        ends = asyncio.create_task(self._ends.wait())
        waiting = {rounds, ends, *beside}
        try:
            while not rounds.done() and not ends.done():
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
            if self._ending == STOP:
                self._doing = "stopping"
                rounds.cancel()
            elif self._ending == DRAIN:
                self._doing = "draining"
            await asyncio.wait((rounds,))
            if not rounds.cancelled():
                rounds.result()
        finally:
            ends.cancel()
            rounds.cancel()
            await asyncio.gather(rounds, ends, return_exceptions=True)
        if self._ending == DRAIN and not await self._forwarder.drain(DRAIN_S):
            self._say(f"the hub did not take everything in {DRAIN_S:.0f} s; the rest waits for the next start")
        if self._ending == DRAIN and self._app is not None and self._app.colleagues is not None:
            with contextlib.suppress(BusError):  # what it may still spend of accounts is the others'
                await self._app.colleagues.leave()

    # Rounds.

    async def _rounds(self) -> None:
        while not self._ending:
            began, held = self._clock.monotonic(), self._leases.held()
            period = LOOK_S
            if self._app is not None and (held or left_over(self._data, self._identity.site, held)):
                self._doing = "polling"
                await self._round(self._app)
                self._doing, period = "waiting", _period(self._app)
            else:
                self._doing = "waiting for a configuration" if self._app is None else "waiting for a lease"
            await self._pause(began + period, held)

    async def _pause(self, until: float, held: Collection[int]) -> None:
        """Until the next round is due, another shard is to be polled, or the end is asked for."""
        while not self._ending and (left := until - self._clock.monotonic()) > 0:
            if not set(self._leases.held()) <= set(held):
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(left, LOOK_S)):
                    await self._ends.wait()

    async def _round(self, app: App) -> None:
        """One round over the shards that are held; whatever becomes of it, the next one comes."""
        held = self._leases.held()
        began, error = self._clock.now(), None
        try:
            with contextlib.ExitStack() as using:
                for shard in held:
                    using.enter_context(self._leases.using(shard))
                summary = await app.poll(
                    PollRequest(mode="due", sites=(self._identity.site,)),
                    on_observation=lambda _: None,
                    config=self._folder,
                    collector=SiteCollector(held, self._leases, self._outlet, self._begun),
                )
            await self._told.ended(self._forwarder.append, summary, began)
        except RmmError as failed:
            error = failed
            log.warning("a round failed: %s", failed.told)
        self._trouble = f"the last round failed: {error.told}" if error else ""
        self._polled_at = self._clock.now()
        if self._bundles.tried(error, app.settings.bundle):
            self._end(AGAIN)
        await asyncio.to_thread(app.archive)

    def _begun(self, polling: Round) -> None:
        self._polling = polling

    def _lost(self, site: str, shard: int) -> None:
        """A shard may not be polled any more: what runs of it ends."""
        if self._polling is not None:
            self._polling.drop(site, shard)

    @asynccontextmanager
    async def _outlet(self, local: Outlet, coordinator: Coordinator) -> AsyncIterator[Outlet]:
        async with ForwardingOutlet.open(
            local,
            self._forwarder.append,
            self._clock,
            fence_of=self._leases.fence_of,
            judged=True,
            statuses=self._statuses,
        ) as outlet:
            coordinator.on_folded = outlet.folded
            yield outlet

    # What goes on beside the rounds.

    async def _configure(self, bus: JetStreamBus) -> None:
        """Fetch configurations, renew the certificate, notice what was changed here."""
        before = changed_at(self._app.settings) if self._app else None
        began = self._clock.monotonic()
        while not self._ending:
            if await self._bundles.pull(bus):
                self._say(f"configuration {self._bundles.running} counts from now on")
                self._end(AGAIN)
                return
            if self._app is not None and changed_at(self._app.settings) != before:
                self._say("the files of this site were changed: they are read again")
                self._end(AGAIN)
                return
            if self._clock.now() >= self._identity.renews_at and await self._renew(bus):
                self._end(AGAIN)
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FETCH_S if self._app is not None else FIRST_FETCH_S):
                    await self._ends.wait()
            if self._app is None and self._clock.monotonic() - began > FETCH_S and has_settings(self._folder):
                self._end(AGAIN)  # somebody may have mended what could not be used
                return

    async def _renew(self, bus: JetStreamBus) -> bool:
        try:
            await enrolling.renew(bus, self._identity, self._clock)
        except RmmError as error:
            until = f"the certificate was not renewed, it is good until {self._identity.expires_at}: {error.told}"
            log.warning("%s", ended.told if (ended := self._identity.ended(self._clock.now())) else until)
            return False
        self._say("the certificate was renewed")
        return True

    async def _heed(self) -> None:
        """Requests of other processes."""
        while not self._ending:
            if asked := control.take_request(self._data):
                self._say(f"asked to {asked}")
                self._end(asked)
                return
            await asyncio.sleep(LOOK_S)

    async def _show(self, bus: JetStreamBus) -> None:
        while True:
            await self._write(self._doing, bus)
            await asyncio.sleep(SHOW_S)

    async def _write(self, doing: str, bus: JetStreamBus | None) -> None:
        link = "up" if bus is not None and bus.connected and self._forwarder.reached else "down"
        if link != self._link[0]:
            self._link = (link, self._clock.now())
        trouble = (self._identity.ended(self._clock.now()) or bus.trouble) if bus and link == "down" else None
        spooled = await self._spooled()
        status = Status(
            pid=os.getpid(), beat=with_log(self._beat(), spooled), link=link, link_since=self._link[1],
            trouble=trouble.told if trouble else "", acknowledged_at=spooled.heard, doing=doing,
        )  # fmt: skip
        await asyncio.to_thread(control.write_status, self._data, status)

    async def _spooled(self) -> Spooled:
        """How the outgoing log stands; what is in its file alone may be older than the newest receipt."""
        try:
            return await self._outgoing.spooled()
        except TierError:
            return Spooled()

    def _beat(self) -> Beat:
        """What is said of this collector; the forwarder adds what waits."""
        held = self._leases.held()
        problems = (*self._bundles.problems, *((self._trouble,) if self._trouble else ()))
        return Beat(
            site=self._identity.site,
            collector=self._identity.collector,
            at=self._clock.now(),
            version=__version__,
            started_at=self._started,
            bundle=self._bundles.running,
            shards=tuple(held),
            endpoints=self._endpoints(held),
            expires_at=self._identity.expires_at.astimezone(UTC),
            polled_at=self._polled_at,
            problems=problems,
            refused=self._bundles.refusals,
        )

    def _endpoints(self, held: Collection[int]) -> int:
        if self._app is None:
            return 0
        site = self._identity.site
        return sum(
            one.enabled and one.site == site and self._app.shard(one) in held for one in self._app.settings.endpoints
        )


def _period(app: App) -> float:
    """Seconds between the starts of two rounds: what the collector that comes most often asks for."""
    shortest = min(app.intervals().values(), default=LONGEST_S)
    return max(app.settings.forward.tick, min(LONGEST_S, max(SHORTEST_S, shortest)))
