"""The shipped collectors' own sample readings, through the store: hot and cold hold the same values."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from observations import START, observe

from rmm.catalog.load import load_catalog
from rmm.resources import shipped
from rmm.tiers import hot_json
from rmm.tiers.cold_sqlite import ColdReader, fields_of
from rmm.tiers.cold_sqlite.series import row_key
from rmm.tiers.shard_store import open_shard

CATALOG = load_catalog([shipped("collectors")])
FIELDS = {name: fields_of(collector.manifest) for name, collector in CATALOG.items()}
UNTIL = START + timedelta(days=1)


def sampled(sample: str) -> dict[str, Any]:
    """Collector name -> rows of one sample, as far as collectors have it."""
    found: dict[str, Any] = {}
    for name, collector in CATALOG.items():
        path = Path(collector.folder) / "samples" / f"{sample}.readings.json"
        if path.is_file():
            found[name] = json.loads(path.read_text(encoding="utf-8"))["readings"]
    return found


@pytest.mark.parametrize("sample", ["server2022-typical", "server2016-degraded", "windows10-german"])
async def test_every_value_of_a_sample_is_in_hot_and_cold(sample: str, tmp_path: Path) -> None:
    parts = sampled(sample)
    assert len(parts) >= 8
    async with open_shard(tmp_path, "hq", 0, fields=FIELDS, now=lambda: START) as store:
        for minute in range(2):
            await store.acknowledge(observe(minute=minute, seq=minute, **parts), None)
        await store.flush()
    state = hot_json.read_endpoint(tmp_path, "hq", "srv-1")
    assert state is not None
    reader = ColdReader(tmp_path, "hq")
    told = {(c["collector"], c["key"], c["field"]): c for c in reader.changes("srv-1", since=START, until=UNTIL)}
    for name, rows in parts.items():
        assert msgspec.json.decode(bytes(state.collectors[name].result))["readings"] == rows
        for row in rows:
            key = row_key(row, FIELDS[name].key)
            for field in FIELDS[name].samples:
                metric = f"{name}.{field}[{key}]" if key else f"{name}.{field}"
                kept = [v for _, v in reader.history("srv-1", metric, since=START, until=UNTIL)]
                assert kept == ([] if row[field] is None else [float(row[field])] * 2), metric
            for field in FIELDS[name].changes:
                assert told[name, key, field]["value"] == row[field]
                assert told[name, key, field]["at"] == START
