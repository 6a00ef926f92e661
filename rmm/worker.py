"""The entry of a worker process, `python -m rmm.worker`: started by `rmm.poller.workers`, spoken to over its pipes."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import msgspec

from rmm.app import App, run
from rmm.errors import RmmError
from rmm.hardening import keep_memory_private
from rmm.model.observation import Observation
from rmm.model.round import PollRequest
from rmm.model.settings import PollSettings
from rmm.pipes import WorkerPipe
from rmm.poller.frames import Committed, Ended, Flushed, Message, Observed, Order, Stop, worker_pipe
from rmm.poller.tally import Tally
from rmm.settings.load import load_settings


class PipeOutlet:
    """`ports.Outlet` to the main process."""

    def __init__(self, pipe: WorkerPipe[Message]) -> None:
        self._pipe = pipe
        self._answers: dict[tuple[str, int], asyncio.Future[bool]] = {}

    async def publish(self, site: str, shard: int, data: bytes) -> None:
        """Send one acknowledged observation."""
        await self._pipe.send(Observed(site, shard, data))

    async def committed(self, site: str, shard: int) -> bool:
        """Ask, and wait for the answer; the pipe keeps the order, so the question covers all that was published."""
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._answers[(site, shard)] = answer
        await self._pipe.send(Flushed(site, shard))
        return await answer

    def answered(self, message: Committed) -> None:
        """An answer has arrived."""
        answer = self._answers.pop((message.site, message.shard), None)
        if answer is not None and not answer.done():
            answer.set_result(message.ok)


async def main() -> None:
    """Take one order, carry it out, report the end."""
    pipe = worker_pipe()
    order = await pipe.receive()
    if not isinstance(order, Order):
        return
    outlet = PipeOutlet(pipe)
    work = asyncio.ensure_future(_poll(order, outlet))
    listening = asyncio.ensure_future(_listen(pipe, outlet, work))
    try:
        tally = await work
        end = Ended(skipped=tally.skipped, faults=tally.faults)
    except asyncio.CancelledError:
        end = Ended(code="stopped", message="stopped")
    except RmmError as error:
        end = Ended(code=error.code, message=str(error), hint=error.hint)
    finally:
        listening.cancel()
    await pipe.send(end)
    await pipe.close()


async def _listen(pipe: WorkerPipe[Message], outlet: PipeOutlet, work: asyncio.Future[Tally]) -> None:
    while True:
        message = await pipe.receive()
        if isinstance(message, Committed):
            outlet.answered(message)
        elif message is None or isinstance(message, Stop):
            work.cancel()
            return


async def _poll(order: Order, outlet: PipeOutlet) -> Tally:
    settings = load_settings(Path(order.config), bundle=Path(order.bundle) if order.bundle else None)
    settings = msgspec.structs.replace(settings, poll=msgspec.json.decode(order.poll, type=PollSettings))
    app = App(settings, lambda: order.passphrase)
    request = msgspec.json.decode(order.request, type=PollRequest)
    mine = set(order.shards)
    work = [shard for shard in app.work(request) if (shard.site, shard.shard) in mine]
    return await app.poll_here(request, work, outlet, _nobody, order.epoch)


def _nobody(_: Observation) -> None:
    """The main process hears of observations through the outlet."""


if __name__ == "__main__":
    # Ctrl-C reaches the whole group of processes; the main one says when to stop.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    keep_memory_private()
    run(main())
    sys.exit(0)
