"""Nothing that a collector signs, however extreme, keeps the hub from hearing other sites, or itself from going on."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import os
import random
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hubside import (
    OWNERS,
    SITES,
    START,
    Given,
    Keys,
    Receiver,
    Site,
    Time,
    hub,
    observation,
    plan,
    rows,
    running,
    until,
)

from rmm.bus.memory import MemoryBus
from rmm.core import sealing
from rmm.core.sealing import open_receipt
from rmm.errors import TierError
from rmm.hub import books
from rmm.hub.receipts import Receipts
from rmm.model.envelope import ENVELOPE_CONTEXT, Marks
from rmm.model.observation import encode_observation
from rmm.tiers.fleet_sqlite import FleetStore
from rmm.tiers.fleet_sqlite.database import UNFIT
from rmm.tiers.fleet_sqlite.sites import SiteStore

pytestmark = pytest.mark.databases("sqlite", "postgres")

ONE_MINUTE = timedelta(minutes=1)
ANCIENT = "0001-01-01T00:00:00+14:00"  # before the first day of the calendar, in UTC
TIMES = (ANCIENT, "9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00", "2026-03-01T12:00:00", "1999-12-31T00:00:00Z")
NUMBERS = (-1, 1 << 31, (1 << 63) - 1, 1 << 63, (1 << 64) - 1, -(1 << 63) - 1, 10**400, 1e308, 10**5000)
TEXTS = ("", "\0", "x" * 70_000, "\ud800", "${jndi:x}\r\n", "\u202e", "'; DROP TABLE act; --")
OTHERS: tuple[Any, ...] = (None, [], {}, True, [[[]]], {"": {"": 1 << 70}})


@pytest.fixture
def big_numbers() -> Any:
    """Written by a test, which is no limit for whoever writes bytes."""
    before = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    yield
    sys.set_int_max_str_digits(before)


class Forger:
    """A collector's key in hands that write bytes, and not types."""

    def __init__(self, keys: Keys, site: str) -> None:
        self.id, self.subject, self.epoch = site, f"rmm.up.{site}", os.urandom(8).hex()
        self._sign: Callable[[bytes], bytes] = keys.of[site, "c1"].sign
        self.given: list[dict[str, Any]] = []

    def put(self, kind: Any, body: Any, **fields: Any) -> None:
        self.given.append(
            {"seq": len(self.given) + 1, "kind": kind, "at": START.isoformat(), "body": body, **fields}
        )  # fmt: skip

    def forged(self, entries: list[dict[str, Any]], **header: Any) -> bytes:
        body = msgspec.msgpack.encode(entries)
        last, count = entries[-1]["seq"], entries[-1].get("count", 1)
        if isinstance(last, int) and isinstance(count, int):
            last = max(-(1 << 63), min((1 << 64) - 1, last + count - 1))
        fields: dict[str, Any] = {
            "schema": 1, "site": self.id, "collector": "c1", "epoch": self.epoch, "sent_at": START,
            "first": entries[0]["seq"], "last": last, "size": len(body), "body": sealing.pressed(body), **header,
        }  # fmt: skip
        signed = msgspec.msgpack.encode(fields)
        signature = self._sign(ENVELOPE_CONTEXT + signed)
        return bytes((signed[0] + 1,)) + signed[1:] + sealing._TAIL + signature


def json_of(value: Any) -> bytes:
    """Also of what `msgspec` would not write."""
    return json.dumps(value).encode()


def polled(**fields: Any) -> bytes:
    whole = msgspec.json.decode(encode_observation(observation("berlin", "berlin-1", START, 1)))
    return json_of({**whole, **fields})


def act(**fields: Any) -> bytes:
    one = {"at": START.isoformat(), "who": "ada", "what": "ack", "key": "k", "reason": "r", "detail": "d"}
    return json_of({**one, **fields})


def round_end(**fields: Any) -> bytes:
    one = {"began": START.isoformat(), "ended": START.isoformat(), "planned": 1, "tried": 1, "faults": []}
    return json_of({**one, **fields})


HOSTILE: dict[str, tuple[str, bytes, dict[str, Any]]] = {
    "shard": ("observation", polled(), {"shard": 1 << 63, "fence": 1}),
    "fence": ("observation", polled(), {"fence": 1 << 63}),
    "written before all time": ("observation", polled(), {"at": ANCIENT, "fence": 1}),
    "done before all time": ("audit", act(at=ANCIENT), {}),
    "round without offset": ("round", round_end(ended="2026-03-01T12:00:00"), {}),
    "round before all time": ("round", round_end(began=ANCIENT, ended=ANCIENT), {}),
    "number of an observation": ("observation", polled(seq=1 << 63), {}),
    "number of digits": ("audit", act(number="N").replace(b'"N"', b"9" * 5000), {}),
}


@pytest.mark.parametrize("hostile", HOSTILE)
async def test_one_signed_entry_of_a_site_stops_nothing(tmp_path: Path, clock: Time, keys: Keys, hostile: str) -> None:
    berlin, lyon = Forger(keys, "berlin"), Site(keys, "lyon")
    kind, body, fields = HOSTILE[hostile]
    berlin.put(kind, body, **fields)
    berlin.put("observation", polled(endpoint="berlin-0"), fence=1)
    lyon.observe(observation("lyon", "lyon-0", START, 1), fence=1)
    bus, heard = MemoryBus(), Receiver(keys)
    async with hub(tmp_path, clock, plan(SITES, OWNERS, clock), keys.trust) as opened, running(opened, bus):
        listening = asyncio.create_task(heard.listen(bus))
        await bus.publish(berlin.subject, berlin.forged(berlin.given))
        await bus.publish(lyon.subject, lyon.sealed())
        await until(lambda: heard.marks(berlin) == Marks(2) and heard.marks(lyon) == Marks(1), 10)
        listening.cancel()
    assert [row[0] for row in rows(tmp_path, "SELECT id FROM endpoint ORDER BY id")] == ["berlin-0", "lyon-0"]
    assert rows(tmp_path, "SELECT site, reason, number FROM site_refused") == [("berlin", "entry.format", 1)]


def bodies() -> list[tuple[str, bytes]]:
    """Each field of what is in each kind of entry, with each extreme value."""
    values = [*TIMES, *NUMBERS, *TEXTS, *OTHERS]
    whole = json.loads(polled())
    numbers = itertools.count(1)

    def later(**fields: Any) -> bytes:  # each of them is news
        n = next(numbers)
        return polled(**{"seq": n, "observed_at": (START + timedelta(seconds=n)).isoformat(), **fields})

    reading = whole["collectors"]["cpu"]["readings"][0]
    found = [("observation", later(**{field: value})) for field in whole for value in values]
    found += [
        ("observation", later(collectors={"cpu": {"outcome": "ok", "readings": [{**reading, name: value}]}}))
        for name in ("core", "util_pct", "other")
        for value in values
    ]
    found += [("audit", act(**{field: value})) for field in (*json.loads(act()), "number") for value in values]
    found += [("round", round_end(**{field: value})) for field in json.loads(round_end()) for value in values]
    return found + [("round", round_end(faults=[[value] * 4])) for value in (*TEXTS, *OTHERS)]


HEADERS: list[dict[str, Any]] = [
    {"at": at, "fence": fence, "shard": shard}
    for at in (START.isoformat(), *TIMES[:2], TIMES[-1])
    for fence in (0, 1, (1 << 63) - 1, 1 << 63)
    for shard in (0, 4095, 4096, 1 << 63)
]


async def test_no_value_of_any_field_stops_the_hub_or_holds_up_another_site(
    tmp_path: Path, clock: Time, keys: Keys, big_numbers: None, caplog: pytest.LogCaptureFixture
) -> None:
    """All of them, shuffled, among what another site sends; then time passes and history is written."""
    dice = random.Random(11)
    made = bodies()
    dice.shuffle(made)
    berlin, lyon = Forger(keys, "berlin"), Site(keys, "lyon")
    for kind, body in made:
        berlin.put(kind, body, **(dice.choice(HEADERS) if dice.random() < 0.3 else {}))
    for number in range(20):
        lyon.observe(observation("lyon", "lyon-0", START + ONE_MINUTE * number, number + 1), fence=1)
    clock.add(minutes=20)
    caplog.set_level(logging.ERROR)
    async with hub(tmp_path, clock, plan(SITES, OWNERS, clock), keys.trust) as opened:
        size = -(-len(made) // 20)
        mine = [berlin.forged(berlin.given[n : n + size]) for n in range(0, len(made), size)]
        for hostile, good in zip(mine, lyon.envelopes(1), strict=True):
            given = [Given(berlin.subject, hostile), Given(lyon.subject, good)]
            async with asyncio.timeout(60):
                await opened.ingest.take(given)
            assert all(one.acked for one in given)
        for _ in range(2):
            clock.add(seconds=130)
            await opened.rounds.look()
        assert opened.books.marks("lyon") == {lyon.epoch: Marks(20)}
        assert opened.books.marks("berlin") == {berlin.epoch: Marks(len(made))}
        await readable(opened.receipts, keys)
    assert "lyon-0" in {row[0] for row in rows(tmp_path, "SELECT id FROM endpoint")}
    # Cold has an exception of its own for one that it cannot store: that is told, and history goes on.
    assert {one.name for one in caplog.records if one.levelno >= logging.ERROR} <= {"rmm.tiers.shard_store"}


async def readable(receipts: Receipts, keys: Keys) -> None:
    """They can be read by sites."""
    for site in SITES:
        open_receipt(receipts.receipt(site), keys.hub.verify, site=site)


def year_10000() -> Any:
    """A timestamp of MessagePack that is a second later than any that Python has."""
    return msgspec.msgpack.Ext(-1, bytes(4) + (253_402_300_800).to_bytes(8, "big"))


async def test_no_header_of_an_envelope_or_entry_stops_the_hub(tmp_path: Path, clock: Time, keys: Keys) -> None:
    """They are refused as a whole, where a number is none; and the next envelope is taken."""
    berlin, lyon = Forger(keys, "berlin"), Site(keys, "lyon")
    berlin.put("observation", polled())
    (good,) = berlin.given
    values = [*TIMES, *(one for one in NUMBERS if not isinstance(one, int) or -(1 << 63) <= one < 1 << 64)]
    values += [year_10000(), *(one for one in TEXTS if one != "\ud800"), *OTHERS[:-1]]
    names = ("schema", "site", "collector", "epoch", "sent_at", "first", "last", "size", "body")
    sealed = [berlin.forged([good], **{name: value}) for name in names for value in values]
    entries = [{**good, name: value} for name in (*good, "shard", "fence", "count") for value in values]
    sealed += [berlin.forged([one], **promised) for one in entries for promised in ({}, {"first": 1, "last": 1})]
    async with hub(tmp_path, clock, plan(SITES, OWNERS, clock), keys.trust) as opened:
        for n in range(len(sealed)):
            lyon.observe(observation("lyon", "lyon-0", START + timedelta(seconds=n), n + 1), fence=1)
            if n % 20 == 0 or n + 1 == len(sealed):
                given = [*(Given(berlin.subject, bad) for bad in sealed[max(0, n - 20) : n + 1])]
                given.append(Given(lyon.subject, lyon.sealed(lyon.entries[-21:])))
                await opened.ingest.take(given)
                assert all(each.acked for each in given)
        assert opened.books.marks("lyon") == {lyon.epoch: Marks(len(sealed))}
        await readable(opened.receipts, keys)


async def test_a_receipt_can_be_sealed_however_many_gaps_a_site_makes(tmp_path: Path, clock: Time, keys: Keys) -> None:
    made = []
    for _ in range(30):
        site = Forger(keys, "berlin")
        entries = [{"seq": (1 << 38) + 2 * n, "kind": "x", "at": START.isoformat(), "body": b""} for n in range(1024)]
        made.append((site, Given(site.subject, site.forged(entries))))
    async with hub(tmp_path, clock, plan(SITES, OWNERS, clock), keys.trust) as opened:
        await opened.ingest.take([one for _, one in made])
        await readable(opened.receipts, keys)
        marks = opened.books.marks("berlin")
        assert [*marks] == [site.epoch for site, _ in made]
        assert len(marks[made[-1][0].epoch].above) == 1024  # the newest is whole
        assert sum(len(one.above) for one in marks.values()) == books.MOST_SPANS


@pytest.mark.parametrize("broken", ["act", "marks", "refused"])
async def test_what_cannot_be_stored_is_left_out_and_the_rest_goes_on(
    tmp_path: Path, clock: Time, keys: Keys, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    """By a defect that nobody knows of yet, whichever part of a transaction has it, and whatever it raises."""
    berlin, lyon = Forger(keys, "berlin"), Site(keys, "lyon")
    error = TierError("no such number", code=UNFIT) if broken == "act" else ZeroDivisionError("a defect")

    def breaking(kind: type, name: str, is_bad: Callable[[Any], bool]) -> None:
        real = getattr(kind, name)

        async def instead(self: Any, given: Any) -> None:
            found = list(given)
            if any(map(is_bad, found)):
                raise error
            await real(self, found)

        monkeypatch.setattr(kind, name, instead)

    if broken == "act":
        breaking(FleetStore, "add_acts", lambda one: one.who == "eve at berlin")
        berlin.put("audit", act(who="eve"))
    elif broken == "marks":
        breaking(SiteStore, "put_marks", lambda one: one.epoch == berlin.epoch)
        berlin.put("observation", polled())
    else:
        breaking(SiteStore, "add_refused", lambda one: one.site == "berlin")
        berlin.put("round", b"[]")
    lyon.observe(observation("lyon", "lyon-0", START, 1))
    given = [Given(berlin.subject, berlin.forged(berlin.given)), Given(lyon.subject, lyon.sealed())]
    async with hub(tmp_path, clock, plan(SITES, OWNERS, clock), keys.trust) as opened:
        async with asyncio.timeout(10):
            await opened.ingest.take(given)
        assert opened.books.marks("lyon") == {lyon.epoch: Marks(1)}
        assert opened.books.has("berlin", berlin.epoch, 1) == (broken == "act")
    assert [row[0] for row in rows(tmp_path, "SELECT id FROM endpoint")] == ["lyon-0"]
    refused = rows(tmp_path, "SELECT reason FROM site_refused WHERE site = 'berlin'")
    assert refused == ([("internal",)] if broken == "act" else [])


async def test_a_site_that_cannot_be_judged_keeps_no_other_one_from_it(
    tmp_path: Path, clock: Time, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged = []
    async with hub(tmp_path, clock, plan(SITES, OWNERS, clock), keys.trust) as opened:
        real = opened.ingest._coordinator.judge

        async def judge(ended: Any, listed: Any = ()) -> None:
            if "berlin" in ended:
                raise OverflowError("a defect")
            judged.extend(ended)
            await real(ended, listed)

        monkeypatch.setattr(opened.ingest._coordinator, "judge", judge)
        sites = [Site(keys, one) for one in SITES]
        for one in sites:
            one.round_over(START)
        await opened.ingest.take([Given(one.subject, one.sealed()) for one in sites])
        await opened.rounds.look()
        assert judged == ["lyon"] and not opened.ingest.ended
