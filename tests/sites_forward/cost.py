"""What forwarding costs a site collector: CPU time per observation of 60 metrics, and bytes. Run it by hand.

python tests/sites_forward/cost.py
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from model_hub import COLLECTOR, HUB_KEY, SITE, Hub, Time, beat, serving

from bench.shapes import Machine
from rmm.bus.memory import MemoryBus
from rmm.core.outgoing import glance, grade_of
from rmm.core.sealing import seal, unseal
from rmm.model.envelope import Entry, Envelope
from rmm.model.observation import CollectorResult, Observation, encode_observation
from rmm.model.outgoing import Item
from rmm.model.settings import SiteSettings
from rmm.site.forwarder import Forwarder
from rmm.tiers.outgoing import Log, SqliteShelf, open_outgoing, path_of, prepare

MACHINES, ROUNDS = 100, 10


def made() -> list[bytes]:
    """Observations as the spool has them."""
    begin, found = 1_790_000_000, []
    for number in range(MACHINES):
        machine = Machine(number, begin)
        for step in range(ROUNDS):
            at = begin + 300 * step
            parts = {
                name: CollectorResult(outcome="ok", readings=tuple(rows), gather_ms=12.5, bytes=900)
                for name, rows in machine.readings(at).items()
            }
            observation = Observation(
                endpoint=f"srv-{number}", name=f"SRV-{number}", site=SITE, shard=0,
                observed_at=datetime.fromtimestamp(at, UTC), duration_s=1.5, status="OK", fault=None, collectors=parts,
                epoch="0123456789abcdef", seq=number * ROUNDS + step + 1,
                telemetry={"requests": 9, "bytes_in": 20000, "bytes_out": 9000, "connect_ms": 1.2, "auth_ms": 9.5},
            )  # fmt: skip
            found.append(encode_observation(observation))
    return found


def items_of(bodies: list[bytes]) -> list[Item]:
    now = datetime.now(UTC)
    return [
        Item(id=seen.id, body=body, at=now, grade=grade_of(seen, (), "OK"), endpoint=seen.endpoint)
        for body in bodies
        for seen in (glance(body),)
    ]


async def measure() -> None:
    bodies = made()
    count = len(bodies)
    print(f"{count} observations of {sum(map(len, bodies)) / count:.0f} bytes")
    began = time.process_time()
    items = items_of(bodies)
    print(f"grade:  {(time.process_time() - began) / count * 1e6:6.0f} us each")
    with tempfile.TemporaryDirectory() as folder:
        for batch in (1, 8, 64):
            path = path_of(Path(folder), f"hq{batch}")
            await prepare(path)
            log = Log(SqliteShelf(path), SiteSettings(), f"{1:016x}")
            began = time.process_time()
            for first in range(0, count, batch):
                log.append(items[first : first + batch])
            spent = (time.process_time() - began) / count
            print(f"append: {spent * 1e6:6.0f} us each in batches of {batch}; {log.spooled().bytes / count:.0f} bytes")
            log.close()
        key = Ed25519PrivateKey.generate()
        check = key.public_key().verify

        def verify(data: bytes, signature: bytes) -> bool:
            check(signature, data)
            return True

        for batch in (1, 8, 64):
            now = datetime.now(UTC)
            sealed = []
            began = time.process_time()
            for first in range(0, count, batch):
                entries = tuple(
                    Entry(first + n + 1, "observation", now, body)
                    for n, body in enumerate(bodies[first : first + batch])
                )
                envelope = Envelope(site=SITE, collector=COLLECTOR, epoch="0" * 16, sent_at=now, entries=entries)
                sealed.append(seal(envelope, key.sign))
            spent = (time.process_time() - began) / count
            size = sum(map(len, sealed)) / count
            began = time.process_time()
            for data in sealed:
                unseal(data, lambda _site, _collector: verify)
            opened = (time.process_time() - began) / count
            print(f"seal:   {spent * 1e6:6.0f} us each, {batch} in one, unseal {opened * 1e6:.0f}; {size:.0f} bytes")
        bus, hub = MemoryBus(), Hub()
        async with open_outgoing(Path(folder), SITE, SiteSettings()) as outgoing:
            forwarder = Forwarder(
                bus, outgoing, site=SITE, collector=COLLECTOR, sign=key.sign, verify=HUB_KEY.verify, clock=Time(),
                settings=SiteSettings(), describe=beat,
            )  # fmt: skip
            hub.taken = lambda data: hub.take(unseal(data, lambda _site, _collector: verify))
            async with serving(hub, bus):
                task = asyncio.create_task(forwarder.run())
                while not forwarder.reached:
                    await asyncio.sleep(0.01)
                began = time.process_time()
                for first in range(0, count, 4):
                    await forwarder.append(items_of(bodies[first : first + 4]))
                    await asyncio.sleep(0)
                await forwarder.drain(60)
                spent = (time.process_time() - began) / count
                print(f"all of it, with a model of the hub, in batches of 4: {spent * 1e6:.0f} us each")
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))
    asyncio.run(measure())
