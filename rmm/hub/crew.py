"""Worker processes of a hub: deliveries are dealt out to them, and what they answer is said to the broker.

    main process   the one durable consumer  ->  a pipe to each worker, a site always to the same  ->  Ingest there
    worker         acknowledged or put off   ->  the pipe                                          ->  the broker

What a worker has, it has in order, and it is bounded: when one is behind, what comes for its sites is put off, so that
the broker goes on with the others. What a worker had when it died is given back at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from asyncio.subprocess import Process
from collections.abc import Callable, Sequence

from rmm import pipes
from rmm.bus.subjects import UP, site_of
from rmm.core.shard import shard_of
from rmm.errors import BusError, RmmError
from rmm.hub import frames
from rmm.hub.dealing import PutOff
from rmm.ports import Bus, Delivery

log = logging.getLogger(__name__)

MODULE = "rmm.hub_worker"
MOST, MOST_BYTES = 256, 16 << 20  # deliveries that a worker has not answered, and their bytes
BUSY_S, AWAY_S = 0.25, 1.0  # for how long one is put off: while its worker is behind, while there is none
AGAIN_S, MOST_AGAIN_S = 0.5, 30.0  # before a worker that died is started again, at first and at most
STEADY_S = 60.0  # one that lived so long begins anew with AGAIN_S
SILENT_S = 60.0  # a worker says something every second
STOP_S = 30.0  # for a worker's last batch and its history

OnState = Callable[[int, frames.State], None]
OnTrouble = Callable[[int, str], None]


class Crew:
    """Use `run`, once.

    Args:
        orders: one for each worker, by its number.
        on_state: is told what each worker says of its sites, with its number.
        on_trouble: number, why that worker can store nothing; empty when that is over.
        ready: is called when all are at work for the first time.
    """

    def __init__(
        self, orders: Sequence[frames.Order], *, on_state: OnState, on_trouble: OnTrouble,
        ready: Callable[[], None],
    ) -> None:  # fmt: skip
        self._off = PutOff()
        self._starting = set(range(len(orders)))
        self._on_ready = ready
        self._workers = [
            _Worker(n, order, self._off, on_state, on_trouble, self._ready) for n, order in enumerate(orders)
        ]

    def _ready(self, number: int) -> None:
        if self._starting:
            self._starting.discard(number)
            if not self._starting:
                self._on_ready()

    async def run(self, bus: Bus) -> None:
        """Until cancelled, or until the bus is closed. Raises what kept a worker from its first start."""
        while True:
            try:
                async with bus.subscribe(UP) as deliveries, asyncio.TaskGroup() as group:
                    tasks = [group.create_task(worker.run()) for worker in self._workers]
                    async for delivery in deliveries:
                        await self._deal(delivery)
                    for task in tasks:
                        task.cancel()
                return
            except BusError as error:
                log.warning("nothing comes from sites: %s", error)
                await asyncio.sleep(AWAY_S)

    async def _deal(self, delivery: Delivery) -> None:
        now = asyncio.get_running_loop().time()
        site = site_of(delivery.subject)
        worker = self._workers[shard_of(site, len(self._workers))]
        if worker.has_room and self._off.is_next(site, delivery.data, now):
            worker.give(delivery)
            return
        delay = BUSY_S if worker.is_there else AWAY_S
        self._off.put(site, delivery.data, now + delay)
        with contextlib.suppress(BusError):  # it comes again by itself
            await delivery.later(delay)


class _Worker:
    """One place in the crew, with whatever process has it."""

    def __init__(
        self, number: int, order: frames.Order, off: PutOff, on_state: OnState,
        on_trouble: OnTrouble, on_ready: Callable[[int], None],
    ) -> None:  # fmt: skip
        self._number = number
        self._order = order
        self._off = off
        self._on_state = on_state
        self._on_trouble = on_trouble
        self._on_ready = on_ready
        self._stdin: asyncio.StreamWriter | None = None
        self._given: dict[int, Delivery] = {}  # not answered, oldest first
        self._bytes = 0
        self._count = 0
        self._was_ready = False

    @property
    def is_there(self) -> bool:
        return self._stdin is not None and not self._stdin.is_closing()

    @property
    def has_room(self) -> bool:
        return self.is_there and len(self._given) < MOST and self._bytes < MOST_BYTES

    def give(self, delivery: Delivery) -> None:
        """Hand over a delivery, without waiting: what is not read yet is bounded by `has_room`."""
        self._count += 1
        self._given[self._count] = delivery
        self._bytes += len(delivery.data)
        self._write(frames.Given(self._count, delivery.subject, delivery.data, delivery.attempt))

    def _write(self, message: frames.Message) -> None:
        # That it is dead shows at the other pipe, and what it was given is given back then.
        with contextlib.suppress(ConnectionError, RuntimeError):
            if self._stdin is not None:
                self._stdin.write(pipes.pack(message))

    async def run(self) -> None:
        """Start it, again and again, until cancelled. Raises what kept it from its first start."""
        loop, pause = asyncio.get_running_loop(), AGAIN_S
        while True:
            began = loop.time()
            error = await self._live()
            if not self._was_ready:
                raise error
            if loop.time() - began > STEADY_S:
                pause = AGAIN_S
            log.warning("worker %d of the hub is started again in %g s: %s", self._number, pause, error)
            await asyncio.sleep(pause)
            pause = min(MOST_AGAIN_S, 2 * pause)

    async def _live(self) -> RmmError:
        """One process, to its end, which is returned. Cancelled, it is asked to end, and what it says still counts."""
        process = await pipes.start(MODULE)
        listening = asyncio.create_task(self._listen(process))
        try:
            self._stdin = process.stdin
            self._write(self._order)
            return await asyncio.shield(listening)
        except asyncio.CancelledError:
            self._write(frames.Stop())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STOP_S):
                    await asyncio.shield(listening)
            raise
        finally:
            self._stdin = None
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
            await pipes.end(process, frames.Stop(), 0.5)
            await self._give_back()

    async def _listen(self, process: Process) -> RmmError:
        if process.stdout is None:
            raise RuntimeError("a process without its pipe")
        try:
            while True:
                async with asyncio.timeout(SILENT_S):
                    message = await frames.read(process.stdout)
                if isinstance(message, frames.Ended):
                    return RmmError(
                        message.message or "it was stopped", code=message.code or "stopped", hint=message.hint
                    )
                if message is None:
                    return RmmError("a worker of the hub died", code="worker.lost")
                await self._heed(message)
        except TimeoutError:
            return RmmError(f"a worker of the hub was silent for {SILENT_S:g} s", code="worker.lost")

    async def _heed(self, message: frames.Message) -> None:
        if isinstance(message, frames.Acked | frames.Later):
            delivery = self._given.pop(message.number, None)
            if delivery is None:
                return
            self._bytes -= len(delivery.data)
            with contextlib.suppress(BusError):  # it comes again, and the marks know it
                if isinstance(message, frames.Acked):
                    await delivery.ack()
                else:
                    await delivery.later(message.delay_s)
        elif isinstance(message, frames.State):
            self._on_state(self._number, message)
        elif isinstance(message, frames.Trouble):
            self._on_trouble(self._number, message.text)
        elif isinstance(message, frames.Ready):
            self._was_ready = True
            self._on_ready(self._number)

    async def _give_back(self) -> None:
        """In order, at once."""
        now = asyncio.get_running_loop().time()
        given, self._given, self._bytes = self._given, {}, 0
        of: dict[str, list[bytes]] = {}
        for delivery in given.values():
            of.setdefault(site_of(delivery.subject), []).append(delivery.data)
        for site, older in of.items():  # than what came between its death and now
            self._off.put_before(site, older, now)
        for delivery in given.values():
            with contextlib.suppress(BusError):
                await delivery.later(0)
        self._on_trouble(self._number, "")
