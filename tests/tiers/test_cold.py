"""Cold tier and its in-memory twin pass the same suite; then what only SQLite has."""

import asyncio
import contextlib
import random
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from observations import FIELDS, START, observe, typical

from rmm.errors import TierError
from rmm.model.observation import Fault, Observation
from rmm.model.rollup import Rollup
from rmm.model.settings import Retention
from rmm.tiers.cold_sqlite import ColdReader, ColdTier, changes
from rmm.tiers.cold_sqlite.series import change_digest
from rmm.tiers.cold_sqlite.writer import Hint, path_of
from rmm.tiers.memory import MemoryTier

WEEK = {"since": START - timedelta(days=3), "until": START + timedelta(days=4)}


@asynccontextmanager
async def tier(kind: str, data: Path) -> AsyncIterator[tuple[Any, Any]]:
    """(writer, reader)."""
    if kind == "memory":
        memory = MemoryTier(FIELDS)
        yield memory, memory
    else:
        async with ColdTier(path_of(data, "hq", 0), FIELDS) as cold:
            yield cold, ColdReader(data, "hq")


both = pytest.mark.parametrize("kind", ["sqlite", "memory"])


@both
async def test_samples_come_back_exactly(kind: str, tmp_path: Path) -> None:
    async with tier(kind, tmp_path) as (writer, reader):
        for minute in range(5):
            rows = [
                {"core": "_Total", "util_pct": 0.1 * minute, "frequency_mhz": None},
                {"core": "0,0", "util_pct": 7, "frequency_mhz": 2400},
            ]
            await writer.store(
                [observe(minute=minute, cpu=rows, os=[{"build": 17763, "caption": "Windows Server 2019"}])]
            )
        got = reader.history("srv-1", "cpu.util_pct", **WEEK)
        assert got == [(START + timedelta(minutes=m), 0.1 * m) for m in range(5)]
        assert [value for _, value in reader.history("srv-1", "cpu.util_pct[0,0]", **WEEK)] == [7.0] * 5
        assert reader.history("srv-1", "cpu.frequency_mhz[_Total]", **WEEK) == []
        assert [value for _, value in reader.history("srv-1", "os.build", **WEEK)] == [17763.0] * 5
        assert reader.history("srv-2", "cpu.util_pct", **WEEK) == []
        assert (
            len(
                reader.history(
                    "srv-1", "os.build", since=START + timedelta(minutes=1), until=START + timedelta(minutes=3)
                )
            )
            == 3
        )


@both
async def test_hours_and_days(kind: str, tmp_path: Path) -> None:
    async with tier(kind, tmp_path) as (writer, reader):
        await writer.store(
            [observe(minute=minute, os=[{"build": minute, "caption": None}]) for minute in range(0, 150, 30)]
        )
        part = {"since": START + timedelta(minutes=10), "until": START + timedelta(minutes=61)}
        assert reader.rollups("srv-1", "os.build", step="hour", **part) == [
            Rollup(START, 2, 0.0, 15.0, 30.0, 30.0),
            Rollup(START + timedelta(hours=1), 2, 60.0, 75.0, 90.0, 90.0),
        ]
        assert reader.rollups("srv-1", "os.build", step="day", **part) == [
            Rollup(START.replace(hour=0), 5, 0.0, 60.0, 120.0, 120.0)
        ]
        assert reader.rollups("srv-1", "os.build", step="day", since=START, until=START - timedelta(days=1)) == []
        assert reader.rollups("srv-2", "os.build", step="day", **part) == []


@both
async def test_rows_that_come_and_go(kind: str, tmp_path: Path) -> None:
    async with tier(kind, tmp_path) as (writer, reader):
        for minute in range(4):
            names = ["C:", "D:"] if minute % 2 else ["C:"]
            await writer.store(
                [
                    observe(
                        minute=minute,
                        volumes=[{"volume": n, "size_b": 2**41, "free_b": minute, "label": "x"} for n in names],
                    )
                ]
            )
        assert [v for _, v in reader.history("srv-1", "volumes.free_b[D:]", **WEEK)] == [1.0, 3.0]
        assert [v for _, v in reader.history("srv-1", "volumes.free_b[C:]", **WEEK)] == [0.0, 1.0, 2.0, 3.0]
        assert [v for _, v in reader.history("srv-1", "volumes.size_b[C:]", **WEEK)] == [float(2**41)] * 4


@both
async def test_redelivery_and_order_change_nothing(kind: str, tmp_path: Path) -> None:
    items = [
        observe(f"srv-{n % 3}", n, seq=n, cpu=[{"core": "_Total", "util_pct": n, "frequency_mhz": 1}])
        for n in range(60)
    ]
    items.append(observe("srv-0", 70, seq=70, fault=Fault("timeout")))
    delivered = items * 3
    random.Random(4).shuffle(delivered)
    async with tier(kind, tmp_path) as (writer, reader):
        for start in range(0, len(delivered), 7):
            await writer.store(delivered[start : start + 7])
        assert [v for _, v in reader.history("srv-0", "cpu.util_pct", **WEEK)] == [float(n) for n in range(0, 60, 3)]
        assert [row["status"] for row in reader.statuses("srv-0", **WEEK)] == ["OK"] * 20 + ["TIMEOUT"]


@both
async def test_changes_are_stored_when_they_happen(kind: str, tmp_path: Path) -> None:
    async with tier(kind, tmp_path) as (writer, reader):
        states = ["Running", "Running", "Stopped", "Stopped", None]
        for minute, state in enumerate(states):
            listed = [{"service": "Spooler", "state": "Running", "account": "LocalSystem"}]
            if state:
                listed.append({"service": "Büro", "state": state, "account": ".\\x"})
            await writer.store([observe(minute=minute, services=listed)])
            await writer.store([observe(minute=minute, services=listed)])
        seen = [(c["at"], c["field"], c["value"]) for c in reader.changes("srv-1", **WEEK) if c["key"] == "Büro"]
    at = [START + timedelta(minutes=m) for m in range(5)]
    assert seen == [
        (at[0], "", True),
        (at[0], "account", ".\\x"),
        (at[0], "state", "Running"),
        (at[2], "state", "Stopped"),
        (at[4], "", None),
    ]


@both
async def test_metrics_are_listed(kind: str, tmp_path: Path) -> None:
    async with tier(kind, tmp_path) as (writer, reader):
        await writer.store(
            [observe(os=[{"build": 1, "caption": "x"}], cpu=[{"core": "_Total", "util_pct": 1, "frequency_mhz": 2}])]
        )
        assert reader.metrics("srv-1", **WEEK) == ["cpu.frequency_mhz[_Total]", "cpu.util_pct[_Total]", "os.build"]
        with pytest.raises(ValueError, match=r"collector\.field"):
            reader.history("srv-1", "nonsense", **WEEK)


def invented(chance: random.Random, count: int) -> list[Observation]:
    """A history of three endpoints in which services come, go and change their state."""
    items = []
    for number in range(count):
        parts: dict[str, Any] = {}
        if chance.random() < 0.7:
            names = chance.sample(["a", "b", "c", "d"], chance.randint(0, 4))
            parts["services"] = [{"service": n, "state": chance.choice("RS"), "account": "x"} for n in names]
        if chance.random() < 0.3:
            parts["os"] = [{"build": number, "caption": chance.choice("UV")}]
        items.append(observe(f"srv-{number % 3}", number, seq=number, **parts))
    return items


@pytest.mark.parametrize("seed", range(6))
async def test_the_two_tiers_tell_the_same(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rmm.tiers.cold_sqlite.changes.DELTAS", 3)
    chance = random.Random(seed)
    items = invented(chance, 90)
    memory = MemoryTier(FIELDS)
    await memory.store(items)
    for start in range(0, len(items), 9):
        async with tier("sqlite", tmp_path) as (writer, reader):  # a new process each time
            await writer.store(items[start : start + 9])
            await writer.store(chance.sample(items[: start + 9], 5))
    for n in range(3):
        assert reader.changes(f"srv-{n}", **WEEK) == memory.changes(f"srv-{n}", **WEEK)
        assert reader.metrics(f"srv-{n}", **WEEK) == memory.metrics(f"srv-{n}", **WEEK)
        late = {"since": START + timedelta(minutes=50), "until": START + timedelta(minutes=70)}
        assert reader.changes(f"srv-{n}", **late) == memory.changes(f"srv-{n}", **late)
        values = reader.values(f"srv-{n}", "os.caption", **WEEK)
        assert [v for _, v in values] == [
            c["value"] for c in memory.changes(f"srv-{n}", **WEEK) if c["key"] == "" and c["field"]
        ]


@pytest.mark.parametrize("seed", range(6))
async def test_late_readings_do_not_become_the_current_ones(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    items = [item for item in invented(chance, 60) if item.endpoint == "srv-1"]
    memory = MemoryTier(FIELDS)
    await memory.store(items)
    chance.shuffle(items)
    async with tier("sqlite", tmp_path) as (writer, reader):
        for item in items:
            await writer.store([item])

    def current(told: list[dict[str, Any]]) -> dict[tuple[str, str, str], Any]:
        now: dict[tuple[str, str, str], Any] = {}
        for change in told:
            if change["field"] == "" and change["value"] is None:
                now = {place: v for place, v in now.items() if place[:2] != (change["collector"], change["key"])}
            else:
                now[change["collector"], change["key"], change["field"]] = change["value"]
        return now

    assert current(reader.changes("srv-1", **WEEK)) == current(memory.changes("srv-1", **WEEK))


async def test_a_change_that_cannot_be_read_is_passed_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def services(minute: int) -> list[dict[str, Any]]:
        return [{"service": "a", "state": f"state {minute}", "account": "x"}]

    for minute in range(6):
        async with tier("sqlite", tmp_path) as (writer, reader):
            await writer.store([observe(minute=minute, services=services(minute))])
        if minute == 2:
            with contextlib.closing(sqlite3.connect(path_of(tmp_path, "hq", 0), isolation_level=None)) as db:
                ((rowid, value),) = db.execute("SELECT rowid, value FROM change ORDER BY at LIMIT 1, 1")
                db.execute("UPDATE change SET value = ? WHERE rowid = ?", (value.replace(b"state", b"stave"), rowid))
    assert "kept whole" in caplog.text  # the next one after the damage says all again
    values = reader.values("srv-1", "services.state[a]", **WEEK)
    assert values == [(START + timedelta(minutes=n), f"state {n}") for n in (0, 3, 4, 5)]
    assert "cannot be read (its checksum is another one)" in caplog.text
    async with tier("sqlite", tmp_path) as (writer, reader):
        await writer.expire(START + timedelta(days=90) + timedelta(minutes=5), Retention())
    assert reader.values("srv-1", "services.state[a]", **WEEK) == values[-2:]


async def test_changes_of_earlier_versions_are_read() -> None:
    delta = {"a": {"state": "x"}, "b": None}
    assert changes.unpack(b'{"a":{"state":"x"},"b":null}') == delta
    assert changes.unpack(changes.pack(delta)) == delta
    for place in range(len(changes.pack(delta))):
        damaged = bytearray(changes.pack(delta))
        damaged[place] ^= 4
        with pytest.raises(changes.DamagedChange):
            changes.unpack(bytes(damaged))


async def test_an_endpoint_that_moved_to_another_file_has_one_history(tmp_path: Path) -> None:
    for minute, (shard, caption) in enumerate([(0, "x"), (0, "y"), (1, "y"), (1, "x"), (0, "x"), (0, "z")]):
        async with ColdTier(path_of(tmp_path, "hq", shard), FIELDS) as cold:
            moved = minute in (2, 4)
            hint = Hint(anew=frozenset({"os"}) if moved else frozenset())
            await cold.store([observe(minute=minute, seq=minute, os=[{"build": minute, "caption": caption}])], [hint])
    reader = ColdReader(tmp_path, "hq")
    assert [v for _, v in reader.history("srv-1", "os.build", **WEEK)] == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    at = [START + timedelta(minutes=minute) for minute in range(6)]
    assert reader.values("srv-1", "os.caption", **WEEK) == [(at[0], "x"), (at[1], "y"), (at[3], "x"), (at[5], "z")]
    standing = {"since": at[4], "until": at[5]}
    assert reader.values("srv-1", "os.caption", **standing) == [(at[3], "x"), (at[5], "z")]


async def test_a_cancelled_store_is_whole_and_the_tier_goes_on(tmp_path: Path) -> None:
    async with tier("sqlite", tmp_path) as (writer, reader):
        for delay in (0.0, 0.001, 0.003):
            storing = asyncio.create_task(writer.store([typical(f"srv-{n}", delay * 1000) for n in range(50)]))
            await asyncio.sleep(delay)
            storing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await storing
        await writer.store([typical("srv-0", 9)])
        assert reader.statuses("srv-0", **WEEK)[-1]["at"] == START + timedelta(minutes=9)
        assert len({len(reader.statuses(f"srv-{n}", **WEEK)) for n in range(1, 50)}) == 1


async def test_readers_work_while_the_writer_is_in_a_transaction(tmp_path: Path) -> None:
    async with tier("sqlite", tmp_path) as (writer, reader):
        await writer.store([typical("srv-1", 0)])
        storing = [asyncio.create_task(writer.store([typical(f"srv-{n}", m) for n in range(50)])) for m in range(5)]
        while not all(task.done() for task in storing):
            assert await asyncio.to_thread(reader.statuses, "srv-1", **WEEK)
        await asyncio.gather(*storing)


async def test_a_hostile_endpoint_cannot_invent_series_without_end(tmp_path: Path) -> None:
    async with tier("sqlite", tmp_path) as (writer, reader):
        await writer.store([observe(cpu=[{"core": str(n), "util_pct": 1, "frequency_mhz": 2} for n in range(50_000)])])
        assert len(reader.metrics("srv-1", **WEEK)) <= 4096


async def test_expiry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rmm.tiers.cold_sqlite.retention.MOST_ROWS", 7)
    monkeypatch.setattr("rmm.tiers.cold_sqlite.retention.MOST_PLACES", 2)
    async with tier("sqlite", tmp_path) as (writer, reader):
        for name in ("srv-1", "srv-2", "srv-3"):
            await writer.store(
                [observe(name, m, seq=m, os=[{"build": m, "caption": f"version {m // 30}"}]) for m in range(100)]
            )
        assert await writer.expire(START + timedelta(days=90) + timedelta(minutes=40), Retention()) == 120
        assert await writer.expire(START + timedelta(days=90) + timedelta(minutes=40), Retention()) == 0
        for name in ("srv-1", "srv-2", "srv-3"):
            assert [v for _, v in reader.history(name, "os.build", **WEEK)] == [float(m) for m in range(40, 100)]
            # What stood at the limit is still known.
            told = [(c["at"], c["value"]) for c in reader.changes(name, **WEEK)]
            assert told == [(START + timedelta(minutes=m), f"version {m // 30}") for m in (30, 60, 90)]
        assert len(reader.metrics("srv-1", **WEEK)) == 1
        assert await writer.expire(START + timedelta(days=90) + timedelta(days=90), Retention()) == 180
        assert reader.metrics("srv-1", **WEEK) == []
        await writer.store([observe(minute=200_000, os=[{"build": 1, "caption": "version 3"}])])
    check = sqlite3.connect(path_of(tmp_path, "hq", 0))
    assert check.execute("SELECT count(*) FROM layout").fetchone() == (1,)
    assert check.execute("SELECT count(*) FROM change").fetchone() == (3,)
    check.close()


def test_of_several_processes_that_open_a_new_file_one_makes_it(tmp_path: Path) -> None:
    opening = """
import asyncio, sys
from importlib.resources import files
from pathlib import Path
from rmm.tiers.migrations import open_writer

async def race():
    for number in range(20):
        path = Path(sys.argv[1]) / f"{number}.sqlite"
        connection = await open_writer(path, files("rmm.tiers.fleet_sqlite") / "sql")
        await connection.close()

asyncio.run(race())
"""
    racers = [
        subprocess.Popen([sys.executable, "-c", opening, str(tmp_path)], stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    said = [racer.communicate(timeout=60)[1] for racer in racers]
    assert ["".join(text.splitlines()[-1:]) for text in said] == [""] * 4


async def test_a_newer_file_and_a_broken_file_are_refused_with_a_reason(tmp_path: Path) -> None:
    newer = sqlite3.connect(tmp_path / "newer.sqlite")
    newer.execute("PRAGMA user_version = 99")
    newer.commit()
    newer.close()
    with pytest.raises(TierError, match="schema 99"):
        async with ColdTier(tmp_path / "newer.sqlite", FIELDS):
            pass


async def test_a_damaged_file_is_kept_aside_and_history_begins_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = path_of(tmp_path, "hq", 0)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"no database" * 1000)
    async with tier("sqlite", tmp_path) as (writer, reader):
        await writer.store([observe(os=[{"build": 1, "caption": "x"}])])
        assert len(reader.history("srv-1", "os.build", **WEEK)) == 1
    assert path.with_name("0.damaged-1").read_bytes() == b"no database" * 1000
    assert "0.damaged-1" in caplog.text


async def test_a_damaged_page_is_a_named_error(tmp_path: Path) -> None:
    path = path_of(tmp_path, "hq", 0)
    async with tier("sqlite", tmp_path) as (writer, _):
        await writer.store([typical(f"srv-{n}", m) for n in range(5) for m in range(50)])
    content = bytearray(path.read_bytes())
    page = 16384
    for start in range(5 * page, len(content), page):
        content[start : start + 64] = bytes(64)
    path.write_bytes(content)
    with pytest.raises(TierError) as caught:
        for n in range(5):
            ColdReader(tmp_path, "hq").history(f"srv-{n}", "cpu.util_pct[0,0]", **WEEK)
    assert caught.value.code == "tier.damaged"


WRITER = """
import asyncio, pathlib, sys
sys.path.insert(0, sys.argv[3])
from observations import FIELDS, typical
from rmm.tiers.cold_sqlite import ColdTier
from rmm.tiers.cold_sqlite.writer import path_of
async def main():
    async with ColdTier(path_of(pathlib.Path(sys.argv[1]), "hq", 0), FIELDS) as cold:
        minute = int(sys.argv[2])
        while True:
            await cold.store([typical(f"srv-{n}", minute) for n in range(5)])
            print(minute, flush=True)
            minute += 1
asyncio.run(main())
"""


@pytest.mark.crash
def test_kills_at_random_moments_lose_nothing(tmp_path: Path) -> None:
    acknowledged: list[int] = []
    for turn in range(10):
        command = [sys.executable, "-c", WRITER, str(tmp_path), str(turn * 100), str(Path(__file__).parent)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert process.stdout is not None
        first = process.stdout.readline()
        time.sleep(random.random() * 0.2)
        process.kill()  # SIGKILL; TerminateProcess on Windows
        text = first + process.stdout.read()
        process.stdout.close()
        process.wait()
        acknowledged += [int(line) for line in text.split(b"\n")[:-1]]
    reader = ColdReader(tmp_path, "hq")
    for endpoint in range(5):
        kept = {row["at"] for row in reader.statuses(f"srv-{endpoint}", **WEEK)}
        assert {START + timedelta(minutes=minute) for minute in acknowledged} <= kept
    check = sqlite3.connect(path_of(tmp_path, "hq", 0))
    assert check.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    check.close()


async def test_ingest_costs_little(tmp_path: Path) -> None:
    """A round's worth of observations against the same samples in a plain narrow table, in CPU time of one run."""
    items = [typical(f"srv-{n}", 0) for n in range(250)]
    unchanged = [Hint(unchanged=frozenset({"services"}))] * len(items)
    async with ColdTier(path_of(tmp_path, "hq", 0), FIELDS) as cold:
        began = time.process_time()
        for start in range(0, 250, 50):
            await cold.store(items[start : start + 50], unchanged[start : start + 50])
        ours = time.process_time() - began
    plain = sqlite3.connect(tmp_path / "plain.sqlite")
    plain.execute("CREATE TABLE sample (endpoint TEXT, metric TEXT, at INTEGER, value REAL)")
    plain.execute("CREATE INDEX sample_by ON sample (endpoint, metric, at)")
    began = time.process_time()
    for item in items:
        rows = [
            (item.endpoint, f"cpu.{field}[{row['core']}]", 0, row[field])
            for row in item.collectors["cpu"].readings
            for field in ("util_pct", "frequency_mhz")
        ]
        plain.executemany("INSERT INTO sample VALUES (?, ?, ?, ?)", rows)
    plain.commit()
    narrow = time.process_time() - began
    plain.close()
    print(f"cold {ours / 250 * 1000:.3f} ms, narrow table {narrow / 250 * 1000:.3f} ms per observation")
    assert ours < narrow


def test_a_digest_depends_on_values_and_not_on_the_order_of_rows() -> None:
    fields = FIELDS["services"]
    rows = [{"service": f"s{n}", "state": "R", "account": None, "pid": n} for n in range(9)]
    same = [{**row, "pid": 7} for row in reversed(rows)]  # pid is not stored
    assert change_digest(rows, fields) == change_digest(same, fields)
    for other in (rows[:-1], [*rows[:-1], {**rows[-1], "state": "S"}], [*rows[:-1], {**rows[-1], "account": ""}]):
        assert change_digest(other, fields) != change_digest(rows, fields)
    assert change_digest([{"service": None, "state": 1, "account": 1}, *rows], fields)
    assert change_digest([{"service": "s"}, *rows], fields) != change_digest(rows, fields)
    assert change_digest([{"build": 1, "caption": "x"}], FIELDS["os"]) != change_digest([], FIELDS["os"])
