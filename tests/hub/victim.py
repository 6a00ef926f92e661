"""A hub in a process of its own, that a test kills: takes what the spool of a broker, which is a folder, holds.

    python victim.py FOLDER

FOLDER/up has a file for each message; it goes when it is acknowledged, so what is left comes again, as from a broker.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "postgres"))

from cluster import adopt
from hubside import OWNERS, SITES, Keys, Time, hub, plan

from rmm.channels.memory import MemoryChannel
from rmm.hub import history


class FileDelivery:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.subject = f"rmm.up.{path.name.split('.')[1]}"
        self.data = path.read_bytes()
        self.attempt = 1

    async def ack(self) -> None:
        self.path.unlink(missing_ok=True)

    async def later(self, delay_s: float) -> None:
        raise AssertionError(delay_s)


async def main(folder: Path) -> None:
    history.LOOK_S, history.AGE_S = 0.02, 0.05  # so that kills meet history at work, too
    keys = Keys(*((site, "c1") for site in SITES), seed=7)
    clock = Time()
    clock.add(minutes=121)
    channel = MemoryChannel("memory")
    async with hub(folder / "data", clock, plan(SITES, OWNERS, clock), keys.trust, channel=channel) as opened:
        keeping = asyncio.create_task(opened.history.run())
        print("ready", flush=True)
        while waiting := sorted((folder / "up").iterdir()):
            for n in range(0, len(waiting), 3):
                await opened.ingest.take([FileDelivery(path) for path in waiting[n : n + 3]])
                await opened.rounds.look()
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)


if __name__ == "__main__":
    adopt()
    asyncio.run(main(Path(sys.argv[1])))
