"""Sealing and merging: what is packed reads as it did before, whatever comes late, twice, or in pieces."""

import asyncio
import contextlib
import gzip
import json
import math
import random
import shutil
import sqlite3
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from observations import FIELDS, START, observe

from rmm.core.columns import Number, pack, unpack
from rmm.core.rollup import roll, told
from rmm.errors import TierError
from rmm.model.observation import Fault, Observation
from rmm.model.settings import Retention
from rmm.tiers.cold_sqlite import ColdReader, ColdTier, SiteHistory
from rmm.tiers.cold_sqlite import segment as segments
from rmm.tiers.cold_sqlite.merging import Merger
from rmm.tiers.cold_sqlite.planes import DamagedSegment
from rmm.tiers.cold_sqlite.sealed import folder_of, sealed_files
from rmm.tiers.cold_sqlite.segment import Seen, Segment
from rmm.tiers.cold_sqlite.whole import SiteSamples
from rmm.tiers.cold_sqlite.writer import path_of

DATA = Path(__file__).parents[1] / "data" / "cold-1"
ALL = {"since": START - timedelta(days=400), "until": START + timedelta(days=400)}
NUMBERS = st.one_of(
    st.integers(-(2**63), 2**64 - 1),
    st.integers(-1000, 1000),
    st.floats(),
    st.decimals(-1000, 1000, places=3).map(float),
)


def same(one: Sequence[Number], other: Sequence[Number]) -> bool:
    """Equal to the bit: also for what is not a number, and for the two zeros."""
    return len(one) == len(other) and all(
        (a == b and math.copysign(1, a) == math.copysign(1, b)) or (a != a and b != b)
        for a, b in zip(one, other, strict=True)
    )


@settings(max_examples=400, deadline=None)
@given(
    st.one_of(
        st.lists(NUMBERS, max_size=40),
        st.lists(st.integers(-(2**61), 2**61)),
        st.lists(st.decimals(-1000, 1000, places=3).map(float)),
        st.lists(st.integers(0, 50).map(lambda number: 4096 * number)),
    )
)
def test_a_column_comes_back_to_the_bit(values: list[Number]) -> None:
    assert same(unpack(pack(values), len(values)), values)


def test_columns_are_packed_each_its_own_way() -> None:
    line = pack([10 * number for number in range(288)])
    assert (line.planes, line.order, line.step) == (b"", 0, 10) or line.order in (1, 2)
    assert len(pack([5] * 288).planes) == 0
    drive = [1 << 40] + [(1 << 40) - 4096 * (number * 37 % 101) for number in range(287)]
    assert (pack(drive).step, len(pack(drive).planes)) == (4096, 288)  # one byte of each
    assert pack([0.1 * 3, 1.5]).places == -1  # 0.30000000000000004 is no decimal
    assert pack([2**63, 0.5]).places == -1
    assert pack([2**63 + 1, 0.5]).places == -2  # float64 does not hold it
    assert pack([-0.0, 1.0]).places == -1


SEEN = st.builds(
    Seen,
    at=st.integers(0, 10**9),
    epoch=st.sampled_from(["e1", "e2"]),
    seq=st.integers(0, 9),
    status=st.sampled_from(["OK", "PARTIAL"]),
    fault=st.just(""),
    duration_ms=st.floats(0, 1e6),
)
NAMES = st.tuples(st.sampled_from(["cpu", "disk"]), st.sampled_from(["", "C:"]), st.sampled_from(["a", "b", "c"]))
OBSERVED = st.lists(st.tuples(SEEN, st.dictionaries(NAMES, st.integers(-9, 9) | st.floats(0, 1, width=16))))


@settings(max_examples=150, deadline=None)
@given(st.lists(OBSERVED, max_size=4), st.sampled_from([segments.QUICK, segments.SMALL]))
def test_a_segment_holds_each_observation_once(parts: list[Any], level: int) -> None:
    joined = segments.join([segments.gather(part) for part in parts])
    known: dict[Any, Any] = {}
    for part in parts:
        for seen, values in part:
            known.setdefault(seen[:3], (seen, values))
    assert segments.scattered(joined) == [known[key] for key in sorted(known)]
    names, data = segments.encode(joined, level)
    read = Segment(data, len(names))
    assert read.samples(names) == joined
    assert read.seen() == joined.seen
    for number, name in enumerate(names):
        series = joined.series[name]
        assert read.one(number) == ([joined.seen[place].at for place in series.places], series.values)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 100), NUMBERS.filter(lambda value: abs(value) < 1e300)), min_size=1))
def test_rollups_are_what_their_samples_come_to(pairs: list[tuple[int, Number]]) -> None:
    pairs.sort(key=lambda pair: pair[0])
    at, values = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    rollups, whole = roll(at, values, 10, 200)
    _, data = segments.encode_rollups({("a", "", "b"): rollups}, segments.SMALL)
    assert segments.RolledSegment(data, 1).one(0) == rollups
    for span, count, least, mean, most, last in told(rollups):
        part = [value for moment, value in pairs if moment // 10 == span]
        assert (count, least, most, last) == (len(part), min(part), max(part), part[-1])
        assert mean == pytest.approx(math.fsum(part) / len(part), rel=1e-12, abs=1e-12)
    ((_, count, least, _, most, last),) = told(whole)
    assert (count, least, most, last) == (len(values), min(values), max(values), values[-1])


def test_any_bit_that_flips_in_a_segment_is_found() -> None:
    dice = random.Random(1)
    observed = [
        (Seen(n * 10**6, "e", n, "OK", "", 1.5), {("cpu", "", "x"): dice.random(), ("cpu", "", "y"): n})
        for n in range(60)
    ]
    names, data = segments.encode(segments.gather(observed), segments.SMALL)
    for place in range(0, len(data) * 8, 7):
        broken = bytearray(data)
        broken[place // 8] ^= 1 << place % 8
        with contextlib.suppress(DamagedSegment):
            read = Segment(bytes(broken), len(names)).samples(names)
            # Only what says nothing may differ, such as a reserved bit of a frame's header.
            assert segments.scattered(read) == observed, place


def series(days: int, endpoints: int = 2, *, step: int = 20) -> list[Observation]:
    """Observations of some days, every 20 minutes; now and then a failure, a new volume, a large integer."""
    found = []
    for minute in range(0, days * 1440, step):
        for number in range(endpoints):
            if minute % 700 == 0 and number:
                found.append(observe(f"srv-{number}", minute, seq=minute, fault=Fault("tcp.refused")))
                continue
            cpu = [{"core": "_Total", "util_pct": (minute * 7 + number) % 100 / 7, "frequency_mhz": None}]
            volumes = [{"volume": "C:", "size_b": 2**63 + 1, "free_b": 2**39 - minute * 4096, "label": "System"}]
            if minute > 900:
                volumes.append({"volume": "D:", "size_b": 10, "free_b": minute, "label": f"v{minute // 600}"})
            parts = {"cpu": cpu} if minute % 60 else {"cpu": cpu, "volumes": volumes}
            found.append(observe(f"srv-{number}", minute, seq=minute, **parts))
    return found


def answers(data: Path, endpoints: int = 2) -> dict[str, Any]:
    reader = SiteHistory(data, "hq")
    found: dict[str, Any] = {}
    for number in range(endpoints):
        name = f"srv-{number}"
        metrics = [one for one in reader.metrics(name, **ALL) if reader.history(name, one, **ALL)]
        found[name] = {
            "history": {metric: reader.history(name, metric, **ALL) for metric in metrics},
            "statuses": reader.statuses(name, **ALL),
            "changes": reader.changes(name, **ALL),
            "hours": {metric: reader.rollups(name, metric, **ALL, step="hour") for metric in metrics},
            "days": {metric: reader.rollups(name, metric, **ALL, step="day") for metric in metrics},
        }
    steps: list[tuple[str, Literal["hour", "day"]]] = [("cpu.util_pct", "hour"), ("volumes.free_b[C:]", "day")]
    for metric, step in steps:
        singly = {f"srv-{n}": reader.rollups(f"srv-{n}", metric, **ALL, step=step) for n in range(endpoints)}
        assert reader.everyones(metric, **ALL, step=step) == {name: one for name, one in singly.items() if one}
    assert reader.damaged == 0
    return found


def differing(one: Any, other: Any, path: str = "") -> list[str]:
    """Where two answers differ, for people."""
    if isinstance(one, dict) and isinstance(other, dict):
        return [
            text
            for key in sorted(one.keys() | other.keys(), key=str)
            for text in differing(one.get(key), other.get(key), f"{path}/{key}")
        ]
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return [
            text
            for place, (a, b) in enumerate(zip(one, other, strict=True))
            for text in differing(a, b, f"{path}[{place}]")
        ]
    return [] if one == other else [f"{path}: {one} | {other}"]


async def test_what_is_sealed_and_merged_reads_as_before(tmp_path: Path) -> None:
    path = path_of(tmp_path, "hq", 0)
    async with ColdTier(path, FIELDS) as cold:
        await cold.store(series(9))
        before, checksum = answers(tmp_path), SiteSamples(tmp_path, "hq").checksum()
        assert before["srv-0"]["history"]["volumes.size_b[C:]"][0][1] == 2**63 + 1
        for hour in range(0, 10 * 24, 7):
            await cold.seal(START + timedelta(hours=hour))
        assert counted(path, "observation") == 0
        assert differing(answers(tmp_path), before) == []
        for day in range(11):
            await cold.merge(START + timedelta(days=day))
            assert differing(answers(tmp_path), before) == []
        assert counted(path, "hour") == 0
    kinds = [file.kind for file in sealed_files(folder_of(path))]
    assert kinds == ["daily", "hourly", "raw", "raw"]
    assert SiteSamples(tmp_path, "hq").checksum() == checksum


async def test_redelivery_and_what_comes_late_give_an_equal_store(tmp_path: Path) -> None:
    observations = series(3)
    async with ColdTier(path_of(tmp_path / "once", "hq", 0), FIELDS) as cold:
        await cold.store(observations)
    wanted = SiteSamples(tmp_path / "once", "hq").checksum()
    again = observations * 3
    random.Random(7).shuffle(again)
    async with ColdTier(path_of(tmp_path / "often", "hq", 0), FIELDS) as cold:
        for place in range(0, len(again), 50):
            await cold.store(again[place : place + 50])
            if place % 200 == 0:
                await cold.seal(START + timedelta(days=4))
            if place % 300 == 0:
                await cold.merge(START + timedelta(days=5))
        assert differing(answers(tmp_path / "often"), answers(tmp_path / "once")) == []
        assert SiteSamples(tmp_path / "often", "hq").checksum() == wanted
        await cold.seal(START + timedelta(days=4))
        await cold.merge(START + timedelta(days=5))
    assert differing(answers(tmp_path / "often"), answers(tmp_path / "once")) == []
    assert SiteSamples(tmp_path / "often", "hq").checksum() == wanted


async def test_a_merge_that_is_broken_off_is_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = path_of(tmp_path, "hq", 0)
    merge = Merger.merge

    async def interrupted(self: Merger, day: int, parts: Any) -> None:
        await merge(self, day, parts)
        raise TierError("the power went", code="tier.test")

    async with ColdTier(path, FIELDS) as cold:
        await cold.store(series(2))
        before = answers(tmp_path)
        await cold.seal(START + timedelta(days=3))
        with monkeypatch.context() as patched:
            patched.setattr(Merger, "merge", interrupted)
            with pytest.raises(TierError):
                await cold.merge(START + timedelta(days=4))
        assert counted(path, "hour") > 0
        assert differing(answers(tmp_path), before) == []
        await cold.merge(START + timedelta(days=4))
    assert counted(path, "hour") == 0
    assert differing(answers(tmp_path), before) == []


async def test_a_damaged_segment_is_kept_aside_and_the_rest_goes_on(tmp_path: Path) -> None:
    path = path_of(tmp_path, "hq", 0)
    async with ColdTier(path, FIELDS) as cold:
        await cold.store(series(1))
        await cold.seal(START + timedelta(days=2))
        damage(path, "hour")
        reader = ColdReader(tmp_path, "hq")
        told = reader.history("srv-0", "cpu.util_pct", **ALL)
        assert (len(told), reader.damaged) == (72 - 3, 1)
        await cold.merge(START + timedelta(days=3))
    assert counted(path, "damaged") == 1
    assert len(ColdReader(tmp_path, "hq").history("srv-0", "cpu.util_pct", **ALL)) == 72 - 3
    raw = next(file.path for file in sealed_files(folder_of(path), "raw"))
    damage(raw, "segment")
    async with ColdTier(path, FIELDS) as cold:
        await cold.store([observe("srv-0", 5, cpu=[{"core": "_Total", "util_pct": 1.0, "frequency_mhz": None}])])
        await cold.seal(START + timedelta(days=2))
        await cold.merge(START + timedelta(days=3))
    assert counted(raw, "damaged") == 1
    assert ColdReader(tmp_path, "hq").history("srv-0", "cpu.util_pct", **ALL)[0][1] == 1.0


async def test_history_goes_by_whole_files(tmp_path: Path) -> None:
    path = path_of(tmp_path, "hq", 0)
    keep = Retention(samples=14, changes=14, hourly=60, daily=0)
    async with ColdTier(path, FIELDS) as cold:
        for days in (0, 30):
            await cold.store([o for o in later(series(2, 1), days)])
            await cold.seal(START + timedelta(days=days + 3))
            await cold.merge(START + timedelta(days=days + 4))
        await cold.expire(START + timedelta(days=34), keep)
        names = [file.path.name for file in sealed_files(folder_of(path))]
        assert names == ["daily.sqlite", "hourly-2026-11.sqlite", "hourly-2026-12.sqlite", "raw-2026-W52.sqlite"]
        reader = ColdReader(tmp_path, "hq")
        assert {at.month for at, _ in reader.history("srv-0", "cpu.util_pct", **ALL)} == {12}
        assert len({one.at.month for one in reader.rollups("srv-0", "cpu.util_pct", **ALL, step="hour")}) == 2
        await cold.expire(START + timedelta(days=120), keep)
        assert [file.kind for file in sealed_files(folder_of(path))] == ["daily"]
        assert len(reader.rollups("srv-0", "cpu.util_pct", **ALL, step="day")) == 6


async def test_a_store_of_the_first_release_answers_the_same(tmp_path: Path) -> None:
    path = path_of(tmp_path, "hq", 0)
    path.parent.mkdir(parents=True)
    shutil.copy(DATA / "0.sqlite", path)
    wanted = json.loads(gzip.decompress((DATA / "answers.json.gz").read_bytes()))
    assert plain(tmp_path) == wanted  # as it is, before any writer has opened it
    async with ColdTier(path, FIELDS) as cold:
        assert plain(tmp_path) == wanted
        await cold.seal(START + timedelta(days=3))
        assert plain(tmp_path) == wanted
        await cold.merge(START + timedelta(days=4))
    assert counted(path, "observation") + counted(path, "hour") == 0
    assert plain(tmp_path) == wanted


async def test_reading_never_waits_for_a_merge(tmp_path: Path) -> None:
    async with ColdTier(path_of(tmp_path, "hq", 0), FIELDS) as cold:
        await cold.store(series(4))
        before = answers(tmp_path)

        async def packing() -> None:
            await cold.seal(START + timedelta(days=6))
            await cold.merge(START + timedelta(days=6))

        task = asyncio.create_task(packing())
        looks = 0
        while not task.done():
            assert differing(await asyncio.to_thread(answers, tmp_path), before) == []
            looks += 1
        await task
    assert looks > 1


def later(observations: list[Observation], days: int) -> list[Observation]:
    return [
        observe(o.endpoint, (o.observed_at - START) / timedelta(minutes=1) + days * 1440, seq=o.seq, **parts(o))
        for o in observations
    ]


def parts(observation: Observation) -> dict[str, Any]:
    return {name: result.readings for name, result in observation.collectors.items()}


def plain(data: Path) -> dict[str, Any]:
    reader, found = ColdReader(data, "hq"), {}
    window = {"since": START - timedelta(days=3), "until": START + timedelta(days=4)}
    for name in ("srv-0", "srv-1"):
        metrics = reader.metrics(name, **window)
        found[name] = {
            "metrics": metrics,
            "history": {
                metric: [[at.isoformat(), value] for at, value in reader.history(name, metric, **window)]
                for metric in metrics
            },
            "statuses": [texts(one) for one in reader.statuses(name, **window)],
            "changes": [texts(one) for one in reader.changes(name, **window)],
        }
    return found


def texts(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in row.items()}


def counted(path: Path, table: str) -> int:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def damage(path: Path, table: str) -> None:
    """Flip a bit in the middle of the first segment."""
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        place, data = connection.execute(f"SELECT place, data FROM {table} ORDER BY place").fetchone()
        broken = bytearray(data)
        broken[len(broken) // 2] ^= 4
        connection.execute(f"UPDATE {table} SET data = ? WHERE place = ?", (bytes(broken), place))
