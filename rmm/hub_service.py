"""`rmm hub run`: the hub of a configuration folder with its broker, its authority and what it hands out."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from rmm.app import App
from rmm.bus.jetstream import JetStreamBus, open_bus
from rmm.bus.provision import check_those_that_answer, prepare
from rmm.bus.subjects import GUARD
from rmm.configured import Passphrase
from rmm.coordinator import tell_fault
from rmm.coordinator.acts import note
from rmm.durable import hold
from rmm.errors import BusError, RmmError
from rmm.hub.authority import Authority
from rmm.hub.brokers import keep_checking
from rmm.hub.bundle import Bundles, bundle_answers
from rmm.hub.enrolment import ENROLMENT, RENEWAL, Told, answer_enrolment, answer_renewal
from rmm.hub.hub import Reply, Trust
from rmm.hub.logins import hear_logins
from rmm.hub.outcomes import Outcomes
from rmm.hub.revocation import tell_brokers
from rmm.hub_run import run_crew, run_hub
from rmm.poller.colleagues import forget
from rmm.settings.load import load_settings
from rmm.settings.sheet import Flags
from rmm.settings.targets import changed_at

log = logging.getLogger(__name__)

LOOK_S = 5.0  # between two looks at the configuration
RETRY_S = (1.0, 5.0)  # between two looks for a broker, at first and at most
FORGET_S = 30.0  # between two looks at who was revoked
BROKER_S = 10.0  # for one of them
FINAL = ("bus.durability", "bus.version", "bus.url", "bus.tls")  # what no waiting mends
HUB_BROKER = "hub_broker"  # the alert that it is too lax, told straight to the channels
CLUSTER = 3  # servers from which on there are three copies of what the broker keeps

Say = Callable[[str], None]
Side = Callable[[], Awaitable[None]]


async def serve_hub(
    folder: Path, passphrase: Passphrase, say: Say, sides: Callable[[App], tuple[Side, ...]], flags: Flags = None
) -> int:
    """Until cancelled; a configuration that was changed is read again, and used when it is a good one.

    `sides`: what else serves beside it. `flags`: as of `load_settings`, over each configuration. Raises ConfigError and
    LeaseLost where it cannot begin, BusError for a broker that is reached and cannot be trusted with anything.
    """
    authority = Authority.open(folder)
    app = App(load_settings(folder, flags), passphrase)
    with hold(app.data / "locks" / "hub.lock", "the hub of this folder"):
        while True:
            app = await _life(folder, app, authority, passphrase, say, sides(app), flags)
            say("the configuration was changed: it is used from now on")


async def _life(
    folder: Path, app: App, authority: Authority, passphrase: Passphrase, say: Say, sides: tuple[Side, ...],
    flags: Flags,
) -> App:  # fmt: skip
    """Until the configuration is another one, which is returned."""
    outcomes = Outcomes(app.settings.sites, lambda acts, refused: note(app.fleet, *acts, refused=refused))
    running = asyncio.create_task(
        (run_hub if app.settings.hub.workers == 1 else run_crew)(
            app,
            lambda: _broker(app, authority, say, outcomes.hear),
            Trust(authority.public_key_of, authority.sign),
            answers=_answers(folder, app, authority, outcomes.hear),
            sides=(outcomes.run, *sides),
            ready=lambda: say(f"the hub of {len(app.settings.sites)} sites is at work"),
        )
    )
    changed = asyncio.create_task(_changed(folder, app, passphrase, flags))
    try:
        await asyncio.wait((running, changed), return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            running.result()
            raise BusError("the connection to the broker was closed")
        return changed.result()
    finally:
        for task in (running, changed):
            task.cancel()
        await asyncio.gather(running, changed, return_exceptions=True)


def _answers(folder: Path, app: App, authority: Authority, hear: Told) -> Mapping[str, Reply]:
    """Who answers questions of sites; receipts, the ingest does itself."""
    urls, sites = app.settings.hub.urls, app.settings.sites
    return {
        ENROLMENT: answer_enrolment(authority, sites, urls, app.clock, hear),
        RENEWAL: answer_renewal(authority, urls, app.clock, hear),
        "rmm.ask.*.bundle": bundle_answers(Bundles(folder, authority.sign, now=app.clock.now)),
    }


@asynccontextmanager
async def _broker(app: App, authority: Authority, say: Say, hear: Told) -> AsyncIterator[JetStreamBus]:
    """The bus, as soon as there is a broker, with its streams; looked for again and again.

    Raises BusError for a broker that promises too little; also later, as an ExceptionGroup with it.
    """
    urls = app.settings.hub.urls
    wait_s, silent = RETRY_S[0], True
    while True:
        try:
            async with contextlib.AsyncExitStack() as stack:
                bus = await stack.enter_async_context(_opened(app, authority))
                system = authority.system_login(urls, app.clock.now())
                await prepare(
                    bus, sites=list(app.settings.sites), replicas=3 if len(urls) >= CLUSTER else 1, system=system
                )
                with _told("brokers may not know who is revoked"):
                    await tell_brokers(authority, urls, app.clock.now())
                stack_open = stack.pop_all()
            break
        except BusError as error:
            if error.code in FINAL:
                raise
            if silent:
                say(f"no broker yet, it is looked for again: {error.told}")
                silent = False
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, RETRY_S[1])
    async with stack_open, asyncio.TaskGroup() as group:
        beside = [
            group.create_task(one)
            for one in (
                _forget(bus, authority), _check(bus, app, authority), hear_logins(authority, urls, app.clock, hear)
            )
        ]  # fmt: skip
        try:
            yield bus
        finally:
            for task in beside:
                task.cancel()


def _opened(app: App, authority: Authority) -> AbstractAsyncContextManager[JetStreamBus]:
    login = authority.login(app.settings.hub.urls, app.clock.now())
    return open_bus(login, wait_s=BROKER_S, sites=list(app.settings.sites))


async def _check(bus: JetStreamBus, app: App, authority: Authority) -> None:
    """Raises BusError once the broker promises too little, which people hear of before the hub ends for it."""

    async def check() -> bool:
        return await check_those_that_answer(system=authority.system_login(app.settings.hub.urls, app.clock.now()))

    try:
        await keep_checking(bus, check)
    except BusError as error:
        with contextlib.suppress(TimeoutError):
            await tell_fault(app.channels(), app.clock, HUB_BROKER, f"the hub has ended: {error.told}")
        raise


async def _forget(bus: JetStreamBus, authority: Authority) -> None:
    """What a revoked collector might still have spent of accounts goes to the others of its site."""
    done: set[tuple[str, str]] = set()
    while True:
        try:
            for one in (await asyncio.to_thread(authority.registry.read)).collectors.values():
                if one.revoked_at is not None and (one.site, one.id) not in done:
                    await forget(bus.keys(GUARD), one.site, one.id)
                    done.add((one.site, one.id))
        except RmmError as error:
            log.debug("rights of revoked collectors: %s", error)
        await asyncio.sleep(FORGET_S)


@contextlib.contextmanager
def _told(what: str) -> Iterator[None]:
    """A BusError is a line in the log; the hub itself refuses whoever is revoked."""
    try:
        yield
    except BusError as error:
        log.warning("%s: %s", what, error.told)


async def _changed(folder: Path, app: App, passphrase: Passphrase, flags: Flags) -> App:
    """Waits for another configuration that is a good one; what is wrong with one is told once."""
    before = changed_at(app.settings)
    while True:
        await asyncio.sleep(LOOK_S)
        now = changed_at(app.settings)
        if now == before:
            continue
        before = now
        try:
            other = App(load_settings(folder, flags), passphrase)
            _ = other.rulebook, other.routing()
        except RmmError as error:
            log.error("the configuration was changed and cannot be used, the one before counts: %s", error.told)  # noqa: TRY400
            continue
        return other
