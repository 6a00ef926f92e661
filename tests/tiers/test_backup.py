"""A backup taken while a shard is at work: nothing acknowledged before it is missing, nothing is there twice."""

import asyncio
import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path

from observations import FIELDS, START

from rmm.tiers.cold_sqlite import ColdReader
from rmm.tiers.shard_store import open_shard
from rmm.tiers.store.backup import backup
from rmm.tiers.store.check import Finding, check
from rmm.tiers.store.restore import restore

WRITER = """
import asyncio, pathlib, sys
from datetime import timedelta
sys.path.insert(0, sys.argv[2])
from observations import FIELDS, START, typical
from rmm.model.settings import Retention
from rmm.tiers.shard_store import open_shard
async def main():
    data, minute = pathlib.Path(sys.argv[1]), 0
    while True:
        now = START + timedelta(minutes=minute)
        keep = Retention(0, 0, 0, 0)
        async with open_shard(data, "hq", 0, fields=FIELDS, now=lambda: now, keep=keep) as store:
            for _ in range(6):
                minute += 20
                for n in range(4):
                    await store.acknowledge(typical(f"srv-{n}", minute, seq=minute, services=3 + minute % 4), None)
                    print(minute, n, flush=True)
            await store.flush()
            await store.release()
asyncio.run(main())
"""


def test_a_backup_of_a_shard_at_work(tmp_path: Path) -> None:
    data, here = tmp_path / "data", str(Path(__file__).parent)
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(data), here], stdout=subprocess.PIPE, text=True)
    lines: list[str] = []
    assert process.stdout is not None
    reading = threading.Thread(target=lambda: lines.extend(iter(process.stdout.readline, "")), daemon=True)  # type: ignore[union-attr]
    reading.start()
    taken: list[tuple[Path, int, float]] = []
    try:
        while not list(data.glob("cold/hq/0/raw-*")):
            assert process.poll() is None
            time.sleep(0.05)
        for number in range(6):
            known, began = len(lines), time.monotonic()
            target = tmp_path / f"backup-{number}"
            backup(data, tmp_path, target)
            taken.append((target, known, time.monotonic() - began))
            time.sleep(0.1)
        assert process.poll() is None  # it was never in the way of the writer
        assert len(lines) > taken[-1][1]
    finally:
        process.kill()
        process.wait()
        reading.join()
        process.stdout.close()
    assert len({known for _, known, _ in taken}) > 3
    for target, known, _ in taken:
        _has(target, tmp_path / f"restored-{target.name}", lines[:known])


def _has(target: Path, data: Path, acknowledged: list[str]) -> None:

    restore(target, data, [])
    assert [one for one in check(data) if isinstance(one, Finding)] == []

    async def recover() -> None:
        async with open_shard(data, "hq", 0, fields=FIELDS, now=lambda: START) as store:
            await store.flush()

    asyncio.run(recover())
    reader = ColdReader(data, "hq")
    for n in range(4):
        found = [one["at"] for one in reader.statuses(f"srv-{n}", since=START, until=START + timedelta(days=400))]
        wanted = {START + timedelta(minutes=int(line.split()[0])) for line in acknowledged if line.endswith(f" {n}\n")}
        assert wanted <= set(found), (target, sorted(wanted - set(found))[:5])
        assert len(found) == len(set(found))
        at, _ = reader.samples(f"srv-{n}", "cpu.util_pct[0,1]", since=START, until=START + timedelta(days=400))
        assert len(at) == len(found)
