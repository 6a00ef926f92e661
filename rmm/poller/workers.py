"""Shards spread over worker processes, one event loop each; this side starts them, listens and ends them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence

from rmm import pipes
from rmm.errors import LeaseLost, RmmError
from rmm.poller import frames
from rmm.poller.tally import Tally
from rmm.ports import Outlet

MODULE = "rmm.worker"
STOP_S = 2.0


async def run_workers(
    orders: Sequence[frames.Order], *, outlet: Outlet, on_observation: Callable[[bytes], None]
) -> Tally:
    """Run one process per order until all are done.

    Raises what ended a worker first: LeaseLost or another RmmError. Cancellation stops all of them.
    """
    tasks = [asyncio.create_task(_run_one(order, outlet, on_observation)) for order in orders]
    try:
        tallies = await asyncio.gather(*tasks)
        faults = {fault.code: fault for tally in tallies for fault in tally.faults}
        return Tally(sum(tally.skipped for tally in tallies), tuple(faults.values()))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _run_one(order: frames.Order, outlet: Outlet, on_observation: Callable[[bytes], None]) -> Tally:
    process = await pipes.start(MODULE)
    assert process.stdin is not None
    assert process.stdout is not None
    answers: set[asyncio.Task[None]] = set()
    try:
        process.stdin.write(pipes.pack(order))
        await process.stdin.drain()
        while True:
            message = await frames.read(process.stdout)
            if isinstance(message, frames.Observed):
                on_observation(message.data)
                await outlet.publish(message.site, message.shard, message.data)
            elif isinstance(message, frames.Flushed):
                answer = asyncio.create_task(_answer(message, process.stdin, outlet))
                answers.add(answer)
                answer.add_done_callback(answers.discard)
            elif isinstance(message, frames.Ended):
                return _ended(message)
            else:
                code = await process.wait()
                raise RmmError(f"a worker process ended with code {code} before its work was done", code="worker.lost")
    finally:
        for answer in answers:
            answer.cancel()
        await pipes.end(process, frames.Stop(), STOP_S)


async def _answer(message: frames.Flushed, stream: asyncio.StreamWriter, outlet: Outlet) -> None:
    ok = await outlet.committed(message.site, message.shard)
    with contextlib.suppress(ConnectionError):
        stream.write(pipes.pack(frames.Committed(message.site, message.shard, ok)))
        await stream.drain()


def _ended(message: frames.Ended) -> Tally:
    if message.code == LeaseLost.code:
        raise LeaseLost(message.message)
    if message.code:
        raise RmmError(message.message, code=message.code, hint=message.hint)
    return Tally(message.skipped, message.faults)
