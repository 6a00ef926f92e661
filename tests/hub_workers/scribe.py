"""A worker that writes down what it is given: `python -m scribe`, spoken to as `rmm.hub_worker` is.

The `settings` of its order are JSON: `log`, a file that gets a line for each delivery; `slow`, seconds for each;
`die_at`, after so many deliveries of its first life; `fail`, the error of its first start; `mute`, whether its first
life says nothing.
"""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

from rmm.hub import frames


async def main() -> None:
    pipe = frames.worker_pipe()
    order = await pipe.receive()
    if not isinstance(order, frames.Order):
        return
    plan = json.loads(order.settings)
    log = Path(plan["log"])
    first = not log.exists()
    if plan.get("fail"):
        await pipe.send(frames.Ended("config", plan["fail"], "repair it"))
        await pipe.close()
        return
    with log.open("a") as out:
        if first and plan.get("mute"):
            await asyncio.Event().wait()
        await pipe.send(frames.Ready())
        count = 0
        while isinstance(message := await pipe.receive(), frames.Given):
            await asyncio.sleep(plan.get("slow", 0))
            print(message.subject.rpartition(".")[2], message.data.decode(), file=out, flush=True)
            count += 1
            if first and count == plan.get("die_at"):
                os._exit(9)
            await pipe.send(frames.Acked(message.number))
        if isinstance(message, frames.Stop):
            await pipe.send(frames.Ended())
    await pipe.close()


if __name__ == "__main__":
    asyncio.run(main())
