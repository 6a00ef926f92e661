"""The composition root: settings become concrete objects here and nowhere else."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from rmm.configured import Passphrase
from rmm.core.shard import selected
from rmm.errors import ConfigError, LeaseLost, RmmError, TierError
from rmm.loop import run
from rmm.model.counts import Counts
from rmm.model.endpoint import Endpoint, Secret
from rmm.model.observation import Observation, decode_observation
from rmm.model.round import PollRequest, PollSummary
from rmm.plugins import build
from rmm.settings.load import load_settings
from rmm.settings.targets import changed_at
from rmm.telling import Telling

if TYPE_CHECKING:
    from rmm.coordinator import Coordinator
    from rmm.poller.colleagues import Colleagues
    from rmm.poller.kit import Kit
    from rmm.poller.round import Round, ShardWork
    from rmm.poller.tally import Tally
    from rmm.ports import AuthGate, Fence, Outlet, ShardStore, Transport

log = logging.getLogger(__name__)


class SiteCollector(NamedTuple):
    """What a site collector makes different about a round.

    Attributes:
        shards: that it holds; no other is polled.
        fence: whether it still does.
        outlet: given the way to the coordinator of this process, and that coordinator, the one that hands on as well.
        begun: given the round, whose `drop` ends a shard that was lost meanwhile.
    """

    shards: Collection[int]
    fence: Fence
    outlet: Callable[[Outlet, Coordinator], AbstractAsyncContextManager[Outlet]]
    begun: Callable[[Round], None]


class App(Telling):
    """One configuration folder, and everything that is made of it, each when it is first needed.

    `colleagues`: the other collectors of the site, with which accounts are shared; None: this one is alone.
    """

    colleagues: Colleagues | None = None

    def work(self, request: PollRequest) -> list[ShardWork]:
        """The shards and endpoints that a request covers."""
        from rmm.poller.round import ShardWork

        wanted = {self.targets.endpoint(name).id for name in request.endpoints}
        for site in request.sites:
            self.known_site(site)
        shards: dict[tuple[str, int], list[Endpoint]] = {}
        for endpoint in self.settings.endpoints:
            if not endpoint.enabled or (wanted and endpoint.id not in wanted):
                continue
            if request.sites and endpoint.site not in request.sites:
                continue
            shard = self.shard(endpoint)
            if selected(shard, request.part):
                shards.setdefault((endpoint.site, shard), []).append(endpoint)
        return [ShardWork(site, shard, tuple(endpoints)) for (site, shard), endpoints in sorted(shards.items())]

    def gate(self) -> AuthGate:
        """The logon gate of this data folder."""
        from rmm.poller.gate import Gate

        return Gate(self.data, self.clock, self.settings.lockout, colleagues=self.colleagues)

    @asynccontextmanager
    async def kit(self, epoch: str, *, polls: bool = False) -> AsyncIterator[Kit]:
        """What a poller needs; transports that were used are closed at the end.

        `polls`: by the holder of leases, whose shells a later poll may end; any other user's shells have another name.
        """
        from rmm.catalog.bundle import bundler, rights_script
        from rmm.poller.journal import installation
        from rmm.poller.kit import Kit
        from rmm.tiers.fleet_sqlite import FleetFile
        from rmm.transports.ladders import ladder_of
        from rmm.transports.winrm.identify import identify

        gate = self.gate()
        owner = f"rmm {installation(self.data)}" + ("" if polls else f" {epoch}")
        transports: dict[str, Transport] = {}

        def transport(name: str) -> Transport:
            if name not in transports:
                transports[name] = build("transports", name, gate=gate, settings=self.settings, owner=owner)
            return transports[name]

        try:
            yield Kit(
                collectors=self.catalog,
                intervals=self.intervals(),
                bundle=bundler(self.catalog),
                rights=rights_script(),
                identify=identify,
                ladder=lambda target: ladder_of(target, self.targets.neighbours(target), transport(target.transport)),
                transport=transport,
                target=self.targets.target,
                transport_of=self.targets.transport_of,
                shell_of=self.targets.shell_of,
                poll=self.settings.poll,
                clock=self.clock,
                epoch=epoch,
                accepted={one.endpoint: one for one in FleetFile(self.fleet).acceptances()},
                changed_at=changed_at(self.settings),
            )
        finally:
            for used in transports.values():
                await used.aclose()

    def recorded(self, endpoint: Endpoint, file: Path, *, names: bool) -> AbstractContextManager[None]:
        """Record what is said to an endpoint while this lasts; see `rmm.transports.ladders.recorded`."""
        from rmm.transports.ladders import recorded

        return recorded(self.targets.target(endpoint), file, names=names, now=self.clock.now)

    async def poll(
        self,
        request: PollRequest,
        *,
        on_observation: Callable[[Observation], None],
        config: Path,
        collector: SiteCollector | None = None,
    ) -> PollSummary:
        """One round: poll, keep, fold, alert. `collector`: of a site, which hands on what is seen."""
        from rmm.core.counting import note
        from rmm.poller.outlet import BusOutlet
        from rmm.tiers.counts_file import counted
        from rmm.tiers.room import make_ready, room_faults

        make_ready(self.data)
        work = [one for one in self.work(request) if collector is None or one.shard in collector.shards]
        summary, polled = PollSummary(planned=sum(len(shard.endpoints) for shard in work)), Counts()
        began = time.monotonic()
        if work:
            # Before anything is touched: a wrong passphrase or a missing credential stops the round here.
            self._unlock(work)

        def seen(observation: Observation) -> None:
            summary.count(observation)
            note(polled, observation)
            on_observation(observation)

        async with self._telling_of_the_disk(), AsyncExitStack() as stack:
            stack.enter_context(counted(self.data, polled, summary))
            coordinator = await stack.enter_async_context(self.coordinator())
            local = await stack.enter_async_context(BusOutlet.open(coordinator.fold))
            outlet: Outlet = local
            if collector is not None:
                outlet = await stack.enter_async_context(collector.outlet(local, coordinator))
            await self._relocate(work, outlet)
            if collector is not None:
                await self._hand_over(request.sites, collector.shards, outlet)
            if self.settings.poll.workers > 1 and len(work) > 1:
                tally = await self._poll_in_workers(request, work, outlet, seen, config)
            else:
                fence, begun = (collector.fence, collector.begun) if collector is not None else (None, None)
                tally = await self.poll_here(request, work, outlet, seen, fence=fence, begun=begun)
            await local.drain()
            summary.skipped, summary.faults = tally.skipped, (*tally.faults, *room_faults(self.settings, tally.faults))
            listed = {endpoint.id for endpoint in self.settings.endpoints if endpoint.enabled}
            counts = await coordinator.finish(summary.faults, listed)
            summary.firing, summary.resolved = counts.get("firing", 0), counts.get("resolved", 0)
        summary.duration_s = time.monotonic() - began
        return summary

    def _unlock(self, work: Sequence[ShardWork]) -> None:
        endpoints = [endpoint for shard in work for endpoint in shard.endpoints]
        nameless = [endpoint.name for endpoint in endpoints if not self.targets.credential_of(endpoint)]
        if nameless:
            shown = ", ".join(nameless[:5]) + (f" and {len(nameless) - 5} more" if len(nameless) > 5 else "")
            raise ConfigError(
                f"{shown}: neither the endpoint nor its site names a credential",
                hint="Set `credential` for the site in rmm.yaml, and `rmm credentials set` it.",
            )
        for name in sorted({self.targets.credential_of(endpoint) for endpoint in endpoints}):
            self.credential(name)

    async def _relocate(self, work: Sequence[ShardWork], outlet: Any) -> None:
        """Follow a changed number of shards."""
        from rmm.tiers.layout import follow

        for name in sorted({shard.site for shard in work}):
            count = self.settings.sites[name].shards
            await follow(self.data, name, count, fields=self.fields, now=self.clock.now, outlet=outlet)

    async def _hand_over(self, sites: Collection[str], held: Collection[int], outlet: Outlet) -> None:
        """What an earlier process left of shards that others poll now; it must not keep this one from polling."""
        from rmm.tiers.layout import hand_over, left_over

        for site in sites:
            for shard in left_over(self.data, site, held):
                try:
                    await hand_over(self.data, site, shard, self._open_store, outlet)
                except (TierError, LeaseLost) as error:
                    log.warning("what is left of shard %d of site %s waits: %s", shard, site, error)

    def archive(self) -> None:
        """Archive one day of each site where one is due; for after a round. What hinders it is told in the log."""
        from rmm.tiers.archive import files

        after = self.settings.archive.after_days
        if after and files.available():
            from rmm.tiers.archive.archiver import after_round

            today = files.day_of(self.clock.now().date().isoformat())
            after_round(self.data, self.settings.sites, today - after + 1, self._check_room)

    def _check_room(self) -> None:
        """TierError where history and the archive have to wait, so that what is left of the disk is the spool's."""
        from rmm.tiers.room import check_room, floor_of

        check_room(self.data, floor_of(self.settings))

    def _open_store(self, site: str, shard: int) -> AbstractAsyncContextManager[ShardStore]:
        from rmm.tiers.shard_store import open_shard

        return open_shard(
            self.data, site, shard, fields=self.fields, now=self.clock.now, keep=self.settings.retention,
            room=self._check_room, archiving=self.settings.archive.after_days > 0,
        )  # fmt: skip

    async def poll_here(
        self,
        request: PollRequest,
        work: Sequence[ShardWork],
        outlet: Any,
        on_observation: Callable[[Observation], None],
        epoch: str = "",
        *,
        fence: Fence | None = None,
        begun: Callable[[Round], None] | None = None,
    ) -> Tally:
        """Poll in this process. `begun` is given the round, whose `drop` ends a shard that was lost meanwhile."""
        from rmm.poller.round import Round

        async with self.kit(epoch or secrets.token_hex(8), polls=True) as kit:
            one = Round(
                kit, data=self.data, open_store=self._open_store, outlet=outlet, on_observation=on_observation,
                mode=request.mode, fence=fence,
            )  # fmt: skip
            if begun is not None:
                begun(one)
            await one.run(work)
            return one.tally

    async def _poll_in_workers(
        self,
        request: PollRequest,
        work: Sequence[ShardWork],
        outlet: Any,
        on_observation: Callable[[Observation], None],
        config: Path,
    ) -> Tally:
        from rmm.poller.frames import Order
        from rmm.poller.workers import run_workers

        count = min(self.settings.poll.workers, len(work))
        epoch = secrets.token_hex(8)
        encoded = msgspec.json.encode(request)
        orders = [
            Order(
                config=str(config),
                passphrase=self.passphrase(),
                request=encoded,
                shards=[(shard.site, shard.shard) for shard in work[number::count]],
                poll=msgspec.json.encode(self.settings.poll),
                epoch=f"{epoch[:-2]}{number:02x}",
                bundle=self.settings.bundle,
            )
            for number in range(count)
        ]
        return await run_workers(
            orders, outlet=outlet, on_observation=lambda data: on_observation(decode_observation(data))
        )


def open_app(folder: Path, passphrase: Passphrase, flags: Mapping[str, Any] | None = None) -> App:
    """Read a configuration folder. Raises ConfigError with all of its problems."""
    return App(load_settings(folder, flags), passphrase)


__all__ = ["App", "Passphrase", "RmmError", "Secret", "build", "open_app", "run"]
