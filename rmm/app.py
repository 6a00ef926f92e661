"""The composition root: settings become concrete objects here and nowhere else."""

from __future__ import annotations

import contextlib
import logging
import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, AsyncExitStack, asynccontextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from rmm.core.rule_check import misfits
from rmm.core.shard import selected, shard_of
from rmm.errors import ConfigError, RmmError, TierError
from rmm.loop import SystemClock, run
from rmm.model.counts import Counts
from rmm.model.endpoint import Credential, Endpoint, Secret
from rmm.model.observation import Observation, decode_observation
from rmm.model.round import PollRequest, PollSummary
from rmm.model.settings import Settings
from rmm.plugins import build
from rmm.resources import shipped
from rmm.settings.keyfiles import check_key_file
from rmm.settings.load import VAULT, load_settings
from rmm.settings.rules import shipped_rules
from rmm.settings.targets import Targets, changed_at

if TYPE_CHECKING:
    from rmm.coordinator import Coordinator
    from rmm.model.collector import Collector
    from rmm.model.rule import Rule
    from rmm.poller.kit import Kit
    from rmm.poller.round import ShardWork
    from rmm.poller.tally import Tally
    from rmm.ports import AuthGate, Channel, ShardStore, Transport
    from rmm.tiers.cold_sqlite import CollectorFields
    from rmm.vault import Vault

log = logging.getLogger(__name__)

PASSPHRASE_FILE = "passphrase"  # noqa: S105 - the name of a file; a lab has one beside its vault

Passphrase = Callable[[], str]


class App:
    """One configuration folder, and everything that is made of it, each when it is first needed."""

    def __init__(self, settings: Settings, passphrase: Passphrase) -> None:
        self.settings = settings
        self.clock = SystemClock()
        self._passphrase = passphrase
        self._credentials: dict[str, Credential] = {}
        self.targets = Targets(settings, self.credential, self.clock)

    @property
    def data(self) -> Path:
        """The data folder."""
        return Path(self.settings.data)

    @cached_property
    def catalog(self) -> dict[str, Collector]:
        """All collectors that are not disabled: the shipped ones and the configured folders."""
        from rmm.catalog.load import load_catalog

        folders = [shipped("collectors"), *(Path(name) for name in self.settings.collectors.folders)]
        found = load_catalog(folders)
        unknown = [
            name
            for name in (*self.settings.collectors.disable, *self.settings.collectors.interval)
            if name not in found
        ]
        if unknown:
            names = ", ".join(sorted(found))
            raise ConfigError(f"rmm.yaml: collectors: there is no {', '.join(unknown)}; there are {names}")
        return {name: found[name] for name in found if name not in self.settings.collectors.disable}

    @cached_property
    def fields(self) -> Mapping[str, CollectorFields]:
        """How the cold tier keeps each collector's fields."""
        from rmm.tiers.cold_sqlite import fields_of

        return {name: fields_of(collector.manifest) for name, collector in self.catalog.items()}

    @cached_property
    def rules(self) -> tuple[Rule, ...]:
        """Shipped rules, collectors' rules, and the configuration's own, which replace others of the same id."""
        rules = {rule.id: rule for rule in shipped_rules()}
        for collector in self.catalog.values():
            rules |= {rule.id: rule for rule in collector.manifest.rules}
        rules |= {rule.id: rule for rule in self.settings.rules}
        self._check_rules()
        return tuple(rules.values())

    def _check_rules(self) -> None:
        """The configuration's own rules speak of collectors and fields that exist; a disabled collector's may stay."""
        problems = []
        for rule in self.settings.rules:
            if not rule.collector or rule.collector in self.settings.collectors.disable:
                continue
            collector = self.catalog.get(rule.collector)
            if collector is None:
                problems.append(f"rules: {rule.id}: collector: there is no {rule.collector!r}")
            else:
                found = misfits(rule, collector.manifest)
                problems += [f"rules: {rule.id}: {key}: {reason}" for key, reason in found]
        if problems:
            raise ConfigError(problems=tuple(problems))

    @cached_property
    def vault(self) -> Vault:
        """The unlocked vault; asks for the passphrase once."""
        from rmm.vault import Vault

        return Vault.open(self.vault_path, self.passphrase())

    @property
    def vault_path(self) -> Path:
        """The vault's file."""
        return Path(self.settings.folder) / VAULT

    def passphrase(self) -> str:
        """The vault's passphrase, from wherever it was given."""
        return self._passphrase()

    def credential(self, name: str) -> Credential:
        """A credential by name; each is unsealed once."""
        if name not in self._credentials:
            credential = self.vault.credential(name)
            check_key_file(credential)
            self._credentials[name] = credential
        return self._credentials[name]

    def shard(self, endpoint: Endpoint) -> int:
        """The endpoint's storage shard within its site."""
        return shard_of(endpoint.id, self.targets.site(endpoint).shards)

    def known_site(self, site: str) -> None:
        """ConfigError where no site has this id."""
        if site not in self.settings.sites:
            raise ConfigError(f"there is no site {site!r}; there are {', '.join(self.settings.sites)}")

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

        return Gate(self.data, self.clock, self.settings.lockout)

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
                accepted={one.endpoint: one for one in FleetFile(self.data).acceptances()},
                changed_at=changed_at(Path(self.settings.folder)),
            )
        finally:
            for used in transports.values():
                await used.aclose()

    def recorded(self, endpoint: Endpoint, file: Path, *, names: bool) -> AbstractContextManager[None]:
        """Record what is said to an endpoint while this lasts; see `rmm.transports.ladders.recorded`."""
        from rmm.transports.ladders import recorded

        return recorded(self.targets.target(endpoint), file, names=names, now=self.clock.now)

    def intervals(self) -> dict[str, int]:
        """Collector name -> seconds, cheap ones first: what costs most waits behind what matters most."""
        own = self.settings.collectors.interval
        manifests = [collector.manifest for collector in self.catalog.values()]
        ordered = sorted(manifests, key=lambda manifest: (manifest.cost, manifest.name))
        return {manifest.name: own.get(manifest.name, manifest.interval) for manifest in ordered}

    @asynccontextmanager
    async def coordinator(self) -> AsyncIterator[Coordinator]:
        """The coordinator of this data folder, with the configured channels."""
        from rmm.coordinator import Coordinator

        channels = self._channels()
        keys = {name: collector.manifest.key for name, collector in self.catalog.items()}
        async with Coordinator.open(
            self.data, rules=self.rules, keys=keys, channels=channels, clock=self.clock
        ) as coordinator:
            yield coordinator

    def _channels(self) -> list[Channel]:
        given = self.settings.channels or {"log": {"type": "log"}}
        return [self._channel(name, options) for name, options in given.items()]

    def _channel(self, name: str, options: Mapping[str, Any]) -> Channel:
        kind = str(options["type"])
        rest = {key: value for key, value in options.items() if key != "type"}
        if kind == "log":
            rest["file"] = str(self.data / str(rest.get("file", "notifications.log")))
        channel: Channel = build("channels", kind, name=name, options=rest)
        return channel

    async def poll(
        self, request: PollRequest, *, on_observation: Callable[[Observation], None], config: Path
    ) -> PollSummary:
        """One round: poll, keep, fold, alert."""
        from rmm.core.counting import note
        from rmm.poller.outlet import BusOutlet
        from rmm.tiers.counts_file import counted
        from rmm.tiers.room import make_ready, room_faults

        make_ready(self.data)
        work = self.work(request)
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
            outlet = await stack.enter_async_context(BusOutlet.open(coordinator.fold))
            await self._relocate(work, outlet)
            if self.settings.poll.workers > 1 and len(work) > 1:
                tally = await self._poll_in_workers(request, work, outlet, seen, config)
            else:
                tally = await self.poll_here(request, work, outlet, seen)
            await outlet.drain()
            summary.skipped, summary.faults = tally.skipped, (*tally.faults, *room_faults(self.settings, tally.faults))
            listed = {endpoint.id for endpoint in self.settings.endpoints if endpoint.enabled}
            counts = await coordinator.finish(summary.faults, listed)
            summary.firing, summary.resolved = counts.get("firing", 0), counts.get("resolved", 0)
        summary.duration_s = time.monotonic() - began
        return summary

    @asynccontextmanager
    async def _telling_of_the_disk(self) -> AsyncIterator[None]:
        """What cannot be kept is not acknowledged and ends the round; who can be told without the disk, is told."""
        from rmm.coordinator import tell_fault

        try:
            yield
        except TierError as error:
            text = f"the site collector cannot store readings: {error}"
            with contextlib.suppress(TimeoutError):
                await tell_fault(self._channels(), self.clock, "collector_disk", text)
            raise

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
    ) -> Tally:
        """Poll in this process."""
        from rmm.poller.round import Round

        async with self.kit(epoch or secrets.token_hex(8), polls=True) as kit:
            one = Round(
                kit, data=self.data, open_store=self._open_store, outlet=outlet, on_observation=on_observation,
                mode=request.mode,
            )  # fmt: skip
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
