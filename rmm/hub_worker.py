"""The entry of a worker of the hub, `python -m rmm.hub_worker`: started by `rmm.hub.crew`, spoken to over its pipes."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec

from rmm.app import App, run
from rmm.bus.jetstream import open_bus
from rmm.coordinator import SitesCoordinator
from rmm.errors import RmmError
from rmm.hardening import keep_memory_private
from rmm.hub import frames
from rmm.hub.authority import Authority
from rmm.hub.hub import Hub, Trust
from rmm.hub.piped import PipedBus, PipedDelivery
from rmm.hub_run import run_part
from rmm.model.settings import Settings
from rmm.pipes import WorkerPipe
from rmm.ports import Bus, Delivery

REPORT_S = 1.0  # seconds between two reports to the main process

Pipe = WorkerPipe[frames.Message]


async def main() -> None:
    """Take one order, carry it out until Stop or the end of the pipe, report the end."""
    if sys.platform != "win32":  # a service manager tells all processes of a service: the main one says when to stop
        asyncio.get_running_loop().remove_signal_handler(signal.SIGTERM)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    pipe = frames.worker_pipe()
    order = await pipe.receive()
    if not isinstance(order, frames.Order):
        return
    deliveries: asyncio.Queue[Delivery] = asyncio.Queue()
    work = asyncio.ensure_future(_Part(pipe, order).serve(deliveries))
    listening = asyncio.ensure_future(_listen(pipe, deliveries, work))
    end = frames.Ended()
    try:
        await work
    except asyncio.CancelledError:
        pass
    except RmmError as error:
        end = frames.Ended(error.code, str(error), error.hint)
    finally:
        listening.cancel()
    await pipe.send(end)
    await pipe.close()


async def _listen(pipe: Pipe, deliveries: asyncio.Queue[Delivery], work: asyncio.Future[None]) -> None:
    while True:
        message = await pipe.receive()
        if isinstance(message, frames.Given):
            deliveries.put_nowait(PipedDelivery(pipe, message))
        elif message is None or isinstance(message, frames.Stop):
            work.cancel()
            return


class _Part:
    """What one order asks for."""

    def __init__(self, pipe: Pipe, order: frames.Order) -> None:
        self._pipe = pipe
        self._order = order
        self._troubles: asyncio.Queue[str] = asyncio.Queue(16)

    async def serve(self, deliveries: asyncio.Queue[Delivery]) -> None:
        """Until cancelled. Raises RmmError when it cannot begin."""
        app = App(msgspec.msgpack.decode(self._order.settings, type=Settings), lambda: self._order.passphrase)
        authority = Authority.open(Path(app.settings.folder))
        trust = Trust(authority.public_key_of, authority.sign)
        async with connected(app, authority) as bus:
            await run_part(
                app, PipedBus(bus, deliveries), trust, self._order.part, on_trouble=self._trouble, watch=self._report
            )

    def _trouble(self, error: RmmError | None) -> None:
        with contextlib.suppress(asyncio.QueueFull):
            self._troubles.put_nowait("" if error is None else error.told)

    async def _report(self, hub: Hub, coordinator: SitesCoordinator) -> None:
        """Every second, and at once when something is wrong."""
        await self._pipe.send(frames.Ready())
        told: dict[str, float] = {}
        while True:
            heard = dict(hub.ingest.heard)
            seen, since = coordinator.handed_on()
            await self._pipe.send(frames.State([site for site in heard if heard[site] != told.get(site)], seen, since))
            told = heard
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(REPORT_S):
                    await self._pipe.send(frames.Trouble(await self._troubles.get()))


@contextlib.asynccontextmanager
async def connected(app: App, authority: Authority) -> AsyncIterator[Bus]:
    """A connection of this process's own, that is looked for as long as it takes."""
    login = authority.login(app.settings.hub.urls, app.clock.now())
    async with open_bus(login, wait_s=2.0, patient=True, sites=()) as bus:
        yield bus


if __name__ == "__main__":
    # Ctrl-C reaches the whole group of processes; the main one says when to stop.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    keep_memory_private()
    run(main())
    sys.exit(0)
