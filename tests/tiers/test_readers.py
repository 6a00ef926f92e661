"""Readers and the one writer: a reader that holds on for an hour does not let the WAL grow without bound."""

import asyncio
import contextlib
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from observations import FIELDS, START, typical
from stores import build

from rmm.errors import TierError
from rmm.model.identity import Acceptance, Refusal
from rmm.model.observation import decode_observation
from rmm.model.settings import Retention
from rmm.tiers.cold_sqlite import ColdReader, asking, writer
from rmm.tiers.cold_sqlite.writer import path_of
from rmm.tiers.fleet_sqlite import FleetFile, FleetStore
from rmm.tiers.fleet_sqlite import folder as fleet
from rmm.tiers.shard_store import open_shard

MOST = 4 << 20
HOLDING = """
import sqlite3, sys
connection = sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True, isolation_level=None)
connection.execute("BEGIN")
connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
print("holding", flush=True)
sys.stdin.readline()
"""


@contextlib.contextmanager
def holding(path: Path) -> Iterator[int]:
    """Another process that reads the file and does not let go; its number."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDING, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "holding\n"
    try:
        yield process.pid
    finally:
        process.communicate("\n", timeout=10)


async def test_the_wal_of_a_file_that_is_held_stays_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "MOST_WAL", MOST)
    path = path_of(tmp_path, "hq", 0)
    wal = path.with_name(path.name + "-wal")
    minute = 0

    async def some(rounds: int) -> TierError | None:
        nonlocal minute
        async with open_shard(tmp_path, "hq", 0, fields=FIELDS, now=lambda: START) as store:
            for _ in range(rounds):
                minute += 1
                for n in range(16):
                    await store.acknowledge(typical(f"srv-{n}", minute, seq=minute, services=3), None)
                await store.flush()
            largest = wal.stat().st_size if wal.exists() else 0
            await store.release()
            assert largest < 2 * MOST, largest
            return store.postponed

    assert await some(40) is None
    with holding(path) as process:
        postponed = await some(60)
        assert postponed is not None
        assert postponed.code == "tier.held"
        if sys.platform == "linux":
            assert f"(process {process})" in str(postponed)
        assert await some(1) is not None  # still held: the round after that polls and spools too
        spooled = [decode_observation(data) for data in _spooled(tmp_path)]
        assert len(spooled) > 16
    assert await some(1) is None
    assert _spooled(tmp_path) == []
    kept = ColdReader(tmp_path, "hq").statuses("srv-7", since=START, until=START + timedelta(days=1))
    assert len(kept) == minute == 102


async def test_the_wal_of_the_fleets_file_stays_bounded_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet, "MOST_WAL", MOST)
    path = fleet.path_of(tmp_path)
    wal = path.with_name(path.name + "-wal")
    largest, count = 0, 0

    async def some(rounds: int) -> TierError | None:
        nonlocal largest, count
        for _ in range(rounds):  # each opens the file, as each round does
            async with FleetStore.open(tmp_path) as store:
                try:
                    async with fleet.alone(tmp_path), store.transaction():
                        await store.add_acceptances([accepted(count)])
                    count += 1
                except TierError as error:
                    return error
                largest = max(largest, wal.stat().st_size)
        return None

    assert await some(60) is None
    with holding(path) as process:
        held = await some(60)
        assert held is not None
        assert held.code == "tier.held"
        if sys.platform == "linux":
            assert f"(process {process})" in str(held)
        assert await some(1) is not None
    assert MOST < largest < 2 * MOST
    assert await some(1) is None
    assert len(FleetFile(tmp_path).acceptances()) == count > 60


def accepted(number: int) -> Acceptance:
    return Acceptance(
        endpoint=f"srv-{number}", at=START, who="somebody", reason="x" * 150_000, refusal=Refusal(asked="srv")
    )


def _spooled(data: Path) -> list[bytes]:
    from rmm.tiers.spool import Spool

    return list(Spool(data / "spool" / "hq" / "0").replay())


def test_a_question_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build(tmp_path, days=1, last=2)
    monkeypatch.setattr(asking, "READ_S", 0.3)
    with contextlib.closing(asking.opened(path_of(tmp_path, "hq", 0))) as connection:
        began = time.monotonic()
        with pytest.raises(sqlite3.OperationalError, match="interrupted"):
            connection.execute(
                "WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n"
            ).fetchone()
        assert time.monotonic() - began < 10


def test_who_asks_slowly_holds_nothing(tmp_path: Path) -> None:
    """Between two answers of a question no file is being read: the writer can begin its WAL anew."""
    build(tmp_path, days=2, last=2)
    path = path_of(tmp_path, "hq", 0)
    answers = ColdReader(tmp_path, "hq")._segments("srv-1", "raw", 20_000, 21_000)
    next(answers)
    with contextlib.closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("DELETE FROM damaged")
        busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    assert busy == 0
    assert list(answers)


def test_a_reader_writes_nothing_when_it_leaves(tmp_path: Path) -> None:
    """Only the writer checkpoints, also when a reader is the last one to close."""
    path = tmp_path / "x.sqlite"
    script = (
        "import os, sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None);"
        "c.execute('PRAGMA journal_mode = WAL'); c.execute('CREATE TABLE t (x)'); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", script, str(path)], check=True)
    wal = path.with_name("x.sqlite-wal")
    before = path.read_bytes(), wal.read_bytes()
    assert before[1]
    with contextlib.closing(asking.opened(path)) as connection:
        assert connection.execute("SELECT count(*) FROM t").fetchone() == (0,)
    assert (path.read_bytes(), wal.read_bytes()) == before


async def test_a_reader_of_merged_history_delays_merging_and_no_round(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rmm.tiers import migrations

    monkeypatch.setattr(migrations, "WAIT_S", 0.2)
    build_at = tmp_path / "data"
    await asyncio.to_thread(build, build_at, days=2, last=2)
    daily = build_at / "cold" / "hq" / "0" / "daily.sqlite"
    end = START + timedelta(days=4)
    with holding(daily):
        async with open_shard(build_at, "hq", 0, fields=FIELDS, now=lambda: end, keep=Retention(0, 0, 0, 0)) as store:
            await store.acknowledge(typical("srv-1", 3 * 1440), None)
            await store.flush()
            await store.release()
        assert store.postponed is None
    times = {"since": START, "until": end}
    assert len(ColdReader(build_at, "hq").history("srv-1", "cpu.util_pct[0,1]", **times)) == 2 * 48 + 4 + 1


async def test_files_that_are_kept_open_show_what_is_new_and_hold_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sixty rounds beside a reader that goes on asking: its answers are the newest, and the WAL begins anew."""
    monkeypatch.setattr(writer, "MOST_WAL", MOST)
    path = path_of(tmp_path, "hq", 0)
    reader, day = ColdReader(tmp_path, "hq"), {"since": START, "until": START + timedelta(days=1)}
    async with open_shard(tmp_path, "hq", 0, fields=FIELDS, now=lambda: START) as store:
        with reader.kept_open():
            for minute in range(1, 61):
                for n in range(16):
                    await store.acknowledge(typical(f"srv-{n}", minute, seq=minute, services=3), None)
                await store.flush()
                assert len(reader.statuses("srv-7", **day)) == minute
            assert store.postponed is None
            assert path.with_name(path.name + "-wal").stat().st_size < 2 * MOST
        await store.release()
    with reader.kept_open():
        assert len(reader.statuses("srv-7", **day)) == 60
        path.rename(path.with_suffix(".damaged-1"))  # as a file that turned out damaged is
        async with open_shard(tmp_path, "hq", 0, fields=FIELDS, now=lambda: START) as store:
            await store.acknowledge(typical("srv-7", 99, seq=99), None)
            await store.flush()
            await store.release()
        assert len(reader.statuses("srv-7", **day)) == 1


def test_few_files_are_kept_open_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build(tmp_path, days=1, last=2)
    monkeypatch.setattr(asking, "MOST_OPEN", 2)
    paths = [path_of(tmp_path, "hq", 0)] + [tmp_path / f"{n}.sqlite" for n in range(3)]
    for copy in paths[1:]:
        copy.write_bytes(paths[0].read_bytes())
    files = asking.OpenFiles()
    connections = [files.get(path) for path in paths]
    for connection in connections[:-2]:
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            connection.execute("SELECT 1")
    assert files.get(paths[-1]) is connections[-1]
    paths[-1].unlink()
    with pytest.raises(sqlite3.OperationalError, match="unable to open"):
        files.get(paths[-1])
    files.close()
