"""`rmm hub run`, put together: the hub of a configuration folder, over whatever bus it is given."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from rmm.coordinator import tell_fault
from rmm.core.alerting.link import Limits
from rmm.core.shard import shard_of
from rmm.errors import LeaseLost, RmmError, TierError
from rmm.hub.frames import Order
from rmm.hub.head import Head
from rmm.hub.history import Keeping
from rmm.hub.hub import Hub, Plan, Reply, Trust
from rmm.hub.ingest import Place
from rmm.poller.outlet import BusOutlet
from rmm.report_run import run_due
from rmm.tiers.layout import follow
from rmm.tiers.room import check_room, floor_of, make_ready, make_reserve

if TYPE_CHECKING:
    from rmm.app import App
    from rmm.coordinator import SitesCoordinator
    from rmm.ports import Bus

log = logging.getLogger(__name__)

TIMES_ITS_SHARE = 20
LEAST_RATE = 20.0  # observations per second that any site may have taken
MOST_INTERVAL_S = 300.0
CHORES_S = 60.0
AWAY_S = 2.0  # before what failed for the database is tried again
HUB_DISK = "hub_disk"  # the alert that nothing can be stored, told straight to the channels

Side = Callable[[], Awaitable[None]]  # something else that serves until it is cancelled


async def run_hub(
    app: App,
    open_bus: Callable[[], AbstractAsyncContextManager[Bus]],
    trust: Trust,
    *,
    answers: Mapping[str, Reply] | None = None,
    sides: tuple[Side, ...] = (),
    ready: Callable[[], None] = lambda: None,
) -> None:
    """Until cancelled, as SIGTERM and Ctrl-C do; what was taken until then is in history at the end.

    Args:
        app: the hub's configuration folder.
        open_bus: connects to the broker; it may raise BusError, which ends this.
        trust: whom the hub believes.
        answers: subject pattern -> who answers questions of it: enrolment, renewals, bundles.
        sides: what else serves beside it, such as metrics.
        ready: is called when everything is at work.

    Raises TierError, LeaseLost and BusError when it cannot begin.
    """
    with _unwrapped():
        await _run(app, open_bus, trust, answers or {}, sides, ready)


@contextlib.contextmanager
def _unwrapped() -> Iterator[None]:
    """The first RmmError of several tasks, as it was raised."""
    try:
        yield
    except ExceptionGroup as group:
        known = group.subgroup(RmmError)
        while known is not None and isinstance(known.exceptions[0], ExceptionGroup):
            known = known.exceptions[0]
        if known is None:
            raise
        raise known.exceptions[0] from group


async def _run(
    app: App, open_bus: Callable[[], AbstractAsyncContextManager[Bus]], trust: Trust, answers: Mapping[str, Reply],
    sides: tuple[Side, ...], ready: Callable[[], None],
) -> None:  # fmt: skip
    make_ready(app.data)
    telling = _Telling(app)
    async with app.sites_coordinator() as coordinator, telling:
        await _relocate(app, coordinator)
        async with (
            Hub.open(app.data, coordinator, plan_of(app), trust, app.clock, on_trouble=telling.trouble) as hub,
            open_bus() as bus,
            asyncio.TaskGroup() as group,
        ):
            hub.history.look_after([(site.id, n) for site in app.settings.sites.values() for n in range(site.shards)])
            others = [group.create_task(_side(one)) for one in (coordinator.delivery.run, *sides)]
            others.append(group.create_task(_chores(app)))
            ready()
            await hub.run(bus, answers)
            for task in others:
                task.cancel()


async def run_crew(
    app: App,
    open_bus: Callable[[], AbstractAsyncContextManager[Bus]],
    trust: Trust,
    *,
    answers: Mapping[str, Reply] | None = None,
    sides: tuple[Side, ...] = (),
    ready: Callable[[], None] = lambda: None,
) -> None:
    """The same as `run_hub` with `hub.workers` processes that share the sites, each of which is `run_part`."""
    with _unwrapped():
        make_ready(app.data)
        telling = _Telling(app)
        async with app.sites_coordinator() as coordinator, telling:
            await _relocate(app, coordinator)
            head = Head(
                coordinator, plan_of(app), trust, app.clock, _orders(app), on_trouble=telling.trouble, ready=ready
            )
            await head.load()
            async with open_bus() as bus, asyncio.TaskGroup() as group:
                others = [group.create_task(_side(one)) for one in (coordinator.delivery.run, *sides)]
                others.append(group.create_task(_chores(app)))
                await head.run(bus, answers or {})
                for task in others:
                    task.cancel()


def _orders(app: App) -> list[Order]:
    count = app.settings.hub.workers
    # The database's password is all that a worker may want of the vault.
    passphrase = app.passphrase() if app.settings.hub.database_password else ""
    encoded = msgspec.msgpack.encode(app.settings)
    return [Order(encoded, passphrase, (number, count)) for number in range(count)]


async def run_part(
    app: App, bus: Bus, trust: Trust, part: tuple[int, int], *, on_trouble: Callable[[RmmError | None], None],
    watch: Callable[[Hub, SitesCoordinator], Awaitable[None]],
) -> None:  # fmt: skip
    """One worker's share, until cancelled: the sites whose shard of `part[1]` is `part[0]`.

    `watch` runs beside it, from when everything is at work. Raises TierError and LeaseLost when it cannot begin.
    """

    def mine(site: str) -> bool:
        return shard_of(site, part[1]) == part[0]

    plan = plan_of(app)
    sites = [site for site in app.settings.sites.values() if mine(site.id)]
    plan = plan._replace(place=plan.place._replace(sites=[site.id for site in sites]))
    with _unwrapped():
        async with (
            app.sites_coordinator(tells=False) as coordinator,
            Hub.open(app.data, coordinator, plan, trust, app.clock, on_trouble=on_trouble, whole=False) as hub,
            asyncio.TaskGroup() as group,
        ):
            hub.history.look_after([(site.id, n) for site in sites for n in range(site.shards)], mine)
            watching = group.create_task(_side(lambda: watch(hub, coordinator)))
            await hub.run(bus)
            watching.cancel()


async def _side(serve: Side) -> None:
    """Until it ends by itself; a database that is away is waited for, as the ingest does."""
    while True:
        try:
            await serve()
        except (TierError, LeaseLost) as error:
            log.debug("waits for the database: %s", error)
            await asyncio.sleep(AWAY_S)
        else:
            return


def plan_of(app: App) -> Plan:
    """What the configuration says of what a hub does."""
    settings = app.settings
    shards = {site.id: site.shards for site in settings.sites.values()}
    owners = {endpoint.id: endpoint.site for endpoint in settings.endpoints}
    own = dict.fromkeys(shards, 0)
    for endpoint in settings.endpoints:
        own[endpoint.site] += 1
    often = min((*app.intervals().values(), MOST_INTERVAL_S))

    def rate(site: str) -> float:
        """Observations per second."""
        return float(settings.hub.rate) or max(LEAST_RATE, TIMES_ITS_SHARE * own.get(site, 0) / often)

    return Plan(
        place=Place(shards, owners, lambda site, endpoint: shard_of(endpoint, shards[site])),
        keeping=Keeping(
            app.fields, app.clock.now, settings.retention, lambda: check_room(app.data, floor_of(settings)),
            settings.archive.after_days > 0,
        ),
        limits=Limits(settings.hub.silent_after, settings.hub.slow_after, int(settings.forward.spool_gb * 1e9)),
        rate=rate,
        listed={endpoint.id for endpoint in settings.endpoints if endpoint.enabled},
    )  # fmt: skip


async def _relocate(app: App, coordinator: SitesCoordinator) -> None:
    """Follow changed numbers of shards."""
    async with BusOutlet.open(coordinator.fold) as outlet:
        for site in app.settings.sites.values():
            await follow(app.data, site.id, site.shards, fields=app.fields, now=app.clock.now, outlet=outlet)


async def _chores(app: App) -> None:
    """Reports that are due, the archive, the reserve on the disk; in threads, so that nothing waits for them."""
    while True:
        await asyncio.sleep(CHORES_S)
        for chore in (_reports, _archive, _reserve):
            try:
                await asyncio.to_thread(chore, app, app.clock.now())
            except RmmError as error:
                log.warning("%s", error)
            except Exception:  # a defect must not end the hub
                log.exception("a chore of the hub failed")


def _reports(app: App, now: datetime) -> None:
    for line in run_due(app, now):
        log.info("report %s", line)


def _archive(app: App, _now: datetime) -> None:
    app.archive()


def _reserve(app: App, _now: datetime) -> None:
    make_reserve(app.data, floor_of(app.settings))


class _Telling:
    """Tells straight to the channels that nothing can be stored: the database cannot say it then."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> _Telling:
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def trouble(self, error: RmmError | None) -> None:
        """Something cannot be stored; None: it can again, which the log has."""
        if error is not None:
            task = asyncio.create_task(self._tell(f"the hub takes nothing of its sites: {error.told}"))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _tell(self, text: str) -> None:
        with contextlib.suppress(TimeoutError):
            await tell_fault(self._app.channels(), self._app.clock, HUB_DISK, text)
