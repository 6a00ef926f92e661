"""History waits for days while the spool grows: what a round needs of memory does not grow with it."""

import tracemalloc
from datetime import timedelta
from pathlib import Path

import pytest
from observations import FIELDS, START, typical

from rmm.errors import TierError
from rmm.model.observation import decode_observation
from rmm.tiers import spool
from rmm.tiers.cold_sqlite import ColdReader
from rmm.tiers.shard_store import open_shard

ENDPOINTS, MINUTES = 4, 400
SEGMENT = 256 << 10


def full() -> None:
    raise TierError("no room", code="disk.full")


async def test_a_backlog_is_read_portion_by_portion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "SEGMENT_BYTES", SEGMENT)
    monkeypatch.setattr(spool, "GATHER_S", 0.0)
    # `settled` aside, a round on a full disk: all is acknowledged, nothing is stored.
    async with open_shard(tmp_path, "hq", 0, fields=FIELDS, now=lambda: START, room=full) as store:
        for minute in range(MINUTES):
            for n in range(ENDPOINTS):
                await store.acknowledge(typical(f"srv-{n}", minute, seq=minute, services=60), None)
        await store.flush()
        assert store.postponed is not None
    segments = list((tmp_path / "spool" / "hq" / "0").glob("*.spool"))
    size = sum(path.stat().st_size for path in segments)
    assert size > 20 * SEGMENT

    tracemalloc.start()
    try:
        async with open_shard(tmp_path, "hq", 0, fields=FIELDS, now=lambda: START, room=full) as store:
            assert store.postponed is not None
            count = sum(1 for _ in store.pending())
            _, while_it_waits = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        async with open_shard(tmp_path, "hq", 0, fields=FIELDS, now=lambda: START) as store:
            assert store.postponed is None
            newest = [decode_observation(one).seq for one in store.pending()][-1]
            await store.flush()
            await store.release()
            _, while_it_catches_up = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == ENDPOINTS * MINUTES
    assert newest == MINUTES - 1
    assert while_it_waits < size / 4, (while_it_waits, size)
    assert while_it_catches_up < size / 4, (while_it_catches_up, size)
    assert list((tmp_path / "spool").rglob("*.spool")) == []
    times = {"since": START, "until": START + timedelta(days=1)}
    assert len(ColdReader(tmp_path, "hq").history("srv-1", "cpu.util_pct[0,1]", **times)) == MINUTES
