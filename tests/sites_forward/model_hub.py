"""A hub that is a dictionary: it has marks, counts what comes twice, and can be lossy, silent and restored."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import hashlib
import hmac
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import msgspec

from rmm.bus.memory import MemoryBus
from rmm.core.marks import added, gaps
from rmm.core.outgoing import glance
from rmm.core.sealing import seal_receipt, unseal
from rmm.model.envelope import DROPPED, OBSERVATION, Beat, Envelope, Marks, Receipt

START = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)
SITE, COLLECTOR = "hq", "collector-1"


class Keyed:
    """A signature that is none, but of the right length."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def sign(self, data: bytes) -> bytes:
        return hmac.digest(self._key, data, hashlib.sha512)

    def verify(self, data: bytes, signature: bytes) -> bool:
        return hmac.compare_digest(self.sign(data), signature)


SITE_KEY, HUB_KEY = Keyed(b"site"), Keyed(b"hub")


class Time:
    """`ports.Clock` of which the wall is moved by hand."""

    def __init__(self) -> None:
        self.wall = START

    def now(self) -> datetime:
        return self.wall

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    def move(self, **by: float) -> None:
        self.wall += timedelta(**by)


def beat() -> Beat:
    return Beat(site=SITE, collector=COLLECTOR, at=START, version="1", started_at=START)


class State:
    """What is in the hub's database: it can be copied and put back."""

    def __init__(self) -> None:
        self.marks: dict[str, Marks] = {}
        self.rows: dict[str, bytes] = {}  # by the id of the observation
        self.dropped = 0
        self.order: list[str] = []


class Hub:
    """`again` counts entries that came although their mark was there; `take` is idempotent all the same."""

    def __init__(self, site: str = SITE, seed: int = 0) -> None:
        self.site = site
        self.state = State()
        self.again = 0
        self.kinds: Counter[str] = Counter()
        self._random = random.Random(seed)
        self._name = self._new()
        self._number = 0

    def _new(self) -> str:
        return f"{self._random.getrandbits(64):016x}"

    def restart(self) -> None:
        self._name, self._number = self._new(), 0

    def backup(self) -> State:
        return copy.deepcopy(self.state)

    def restore(self, state: State) -> None:
        self.state = copy.deepcopy(state)
        self.restart()

    def take(self, envelope: Envelope) -> None:
        marks = self.state.marks.get(envelope.epoch, Marks())
        for entry in envelope.entries:
            last = entry.seq + entry.count - 1
            before = marks
            marks = added(marks, entry.seq, last)
            self.kinds[entry.kind] += 1
            if marks == before:
                self.again += 1
            elif entry.kind == DROPPED:
                self.state.dropped += entry.count
            elif entry.kind == OBSERVATION:
                name = glance(entry.body).id
                self.state.rows[name] = entry.body
                self.state.order.append(name)
        self.state.marks[envelope.epoch] = marks

    def receipt(self) -> Receipt:
        self._number += 1
        wanted = {epoch: found for epoch, marks in self.state.marks.items() if (found := tuple(gaps(marks)))}
        return Receipt(
            site=self.site, hub=self._name, number=self._number, at=START, marks=dict(self.state.marks), wanted=wanted
        )

    def sealed_receipt(self) -> bytes:
        return seal_receipt(self.receipt(), HUB_KEY.sign)

    def taken(self, data: bytes) -> None:
        self.take(unseal(data, lambda _site, _collector: SITE_KEY.verify, site=self.site))


@asynccontextmanager
async def serving(hub: Hub, bus: MemoryBus, *, loss: float = 0.0, seed: int = 0) -> AsyncIterator[None]:
    """The hub takes what comes on the bus and answers; of what it takes and tells a part is lost."""
    chance = random.Random(seed)

    async def take() -> None:
        async with bus.subscribe(f"rmm.up.{hub.site}") as deliveries:
            async for one in deliveries:
                if chance.random() >= loss:
                    hub.taken(one.data)
                await one.ack()
                if chance.random() >= loss:
                    await bus.tell(f"rmm.down.{hub.site}", hub.sealed_receipt())

    async def answer(_subject: str, _question: bytes) -> bytes:
        return hub.sealed_receipt()

    async with bus.answer(f"rmm.ask.{hub.site}.receipt", answer):
        task = asyncio.create_task(take())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


def observation(number: int, endpoint: str = "srv-1", *, status: str = "OK", size: int = 0, epoch: str = "e1") -> bytes:
    """A tiny one."""
    return msgspec.json.encode(
        {
            "endpoint": endpoint, "name": endpoint.upper(), "site": SITE, "shard": 0, "observed_at": START,
            "duration_s": 0.1, "status": status, "fault": None, "collectors": {}, "epoch": epoch, "seq": number,
            "errors": ["x" * size],
        }
    )  # fmt: skip
