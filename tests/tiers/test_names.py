"""Names of series that turn out damaged: put right where they can be, set aside where not, and the rest goes on."""

import sqlite3
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from observations import FIELDS, START, observe
from test_sealed import ALL, answers, counted, differing, series

from rmm.model.observation import Observation
from rmm.tiers.cold_sqlite import ColdReader, ColdTier
from rmm.tiers.cold_sqlite.sealed import folder_of, sealed_files
from rmm.tiers.cold_sqlite.writer import path_of
from rmm.tiers.store.check import Finding, check
from rmm.tiers.store.repair import repair_shard

DAMAGES = {
    "no JSON": "substr(series, 2)",
    "no text": "CAST(x'ff' || CAST(series AS BLOB) AS TEXT)",
    "another name": "replace(series, 'util_pct', 'util_pcu')",
    "empty": "''",
}
PUT_RIGHT = "damaged lists of series are as another file has them"
CUT = 5 * 72 * 2  # observations of about five days


def spoil(path: Path, how: str) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute(f"UPDATE layout SET series = {DAMAGES[how]}")
    connection.close()


async def fill(data: Path, observations: Sequence[Observation], days: int) -> None:
    async with ColdTier(path_of(data, "hq", 0), FIELDS) as cold:
        await cold.store(observations)
        await cold.seal(START + timedelta(days=days))
        await cold.merge(START + timedelta(days=days))


def merged(data: Path) -> list[Path]:
    return [file.path for file in sealed_files(folder_of(path_of(data, "hq", 0)))]


def damaged(data: Path) -> list[Finding]:
    return [one for one in check(data) if isinstance(one, Finding) and one.severity == "damaged"]


@pytest.fixture
async def half(tmp_path: Path) -> Path:
    await fill(tmp_path, series(9)[:CUT], 5)
    return tmp_path


@pytest.mark.parametrize("how", DAMAGES)
async def test_names_that_another_file_has_are_put_right(half: Path, how: str) -> None:
    names = [path.name for path in merged(half)]
    assert names == ["daily.sqlite", "hourly-2026-11.sqlite", "raw-2026-W48.sqlite"]
    spoil(merged(half)[0], how)
    spoil(merged(half)[2], how)
    assert {one.path.name for one in damaged(half)} == {"daily.sqlite", "raw-2026-W48.sqlite"}
    await fill(half, series(9)[CUT:], 30)
    # Days with the same names go on in the file of the week, and the first of them puts these right. Those of the
    # first day, which was a shorter one, come no more.
    assert [one.path.name for one in damaged(half)] == ["raw-2026-W48.sqlite"] * 2
    assert {one.what.partition(" ")[2] for one in repair_shard(half, "hq", 0)} == {PUT_RIGHT}
    assert damaged(half) == []
    assert [counted(path, "damaged") for path in merged(half)] == [0, 0, 0, 0]
    await fill(half / "sound", series(9), 30)
    assert differing(answers(half), answers(half / "sound")) == []


async def test_names_that_nobody_has_go_aside_with_what_they_name(half: Path, caplog: pytest.LogCaptureFixture) -> None:
    before = answers(half)
    for path in [path_of(half, "hq", 0), *merged(half)]:
        spoil(path, "no JSON")
    reader = ColdReader(half, "hq")
    assert reader.history("srv-0", "cpu.util_pct", **ALL) == []
    assert "is left out" in caplog.text
    assert reader.rollups("srv-0", "cpu.util_pct", **ALL, step="day") == []
    assert reader.metrics("srv-0", **ALL) == []
    assert reader.changes("srv-0", **ALL) == before["srv-0"]["changes"]  # they have names of their own
    await fill(half, series(9)[CUT:], 30)
    aside = {path.name: counted(path, "damaged") for path in merged(half)}
    assert aside["hourly-2026-11.sqlite"] > 0
    assert aside["daily.sqlite"] > 0
    assert aside["raw-2026-W49.sqlite"] == 0
    assert "kept aside" in caplog.text
    # With new days come the names, and what was sealed under the same ones is read again.
    told = ColdReader(half, "hq").history("srv-0", "cpu.util_pct", **ALL)
    assert len(told) == 9 * 72 - 36
    assert told[: 360 - 36] == before["srv-0"]["history"]["cpu.util_pct[_Total]"][36:]
    assert len(damaged(half)) == 2
    repaired = [one.what for one in repair_shard(half, "hq", 0)]
    assert repaired == ["2 damaged segments are in its table `damaged` now"]
    assert damaged(half) == []


async def test_a_segment_whose_names_are_gone_is_not_overwritten(half: Path) -> None:
    raw = merged(half)[2]
    with sqlite3.connect(raw) as connection:
        connection.execute(
            "UPDATE segment SET layout = 4711 WHERE place % 16777216 = (SELECT min(place) FROM segment) % 16777216"
        )
        (kept,) = connection.execute("SELECT data FROM segment WHERE layout = 4711 ORDER BY place").fetchone()
    connection.close()
    assert [one.what.partition("cannot")[2] for one in damaged(half)] == [
        " be read: the names of its series are damaged"
    ] * 2
    await fill(half, [observe("srv-0", 5, cpu=[{"core": "_Total", "util_pct": 1.0, "frequency_mhz": None}])], 5)
    with sqlite3.connect(raw) as connection:
        assert connection.execute("SELECT data FROM damaged").fetchall() == [(kept,)]
    connection.close()
    assert ColdReader(half, "hq").history("srv-0", "cpu.util_pct", **ALL)[0][1] == 1.0


async def test_rows_whose_names_are_damaged_keep_their_observations(tmp_path: Path) -> None:
    path = path_of(tmp_path, "hq", 0)
    observed = [one for one in series(1) if one.endpoint == "srv-0"]
    async with ColdTier(path, FIELDS) as cold:
        await cold.store(observed)
    wanted = ColdReader(tmp_path, "hq").statuses("srv-0", **ALL)
    with sqlite3.connect(path) as connection:
        connection.execute(
            "UPDATE layout SET series = 'x' WHERE no = (SELECT layout FROM observation WHERE at > 0 LIMIT 1)"
        )
        lost = connection.execute("SELECT count(*) FROM observation WHERE layout = 1").fetchone()[0]
    connection.close()
    assert 0 < lost < len(observed)
    async with ColdTier(path, FIELDS) as cold:
        await cold.seal(START + timedelta(days=2))
        await cold.merge(START + timedelta(days=3))
    assert counted(path, "damaged") == lost
    reader = ColdReader(tmp_path, "hq")
    assert reader.statuses("srv-0", **ALL) == wanted
    assert len(reader.history("srv-0", "cpu.util_pct", **ALL)) == len(observed) - lost


async def test_repair_takes_names_from_another_file(half: Path) -> None:
    before: dict[str, Any] = answers(half)
    for path in merged(half)[1:]:
        spoil(path, "another name")
    done = [one.what for one in repair_shard(half, "hq", 0)]
    assert len(done) == 2
    assert all(what.endswith(PUT_RIGHT) for what in done)
    assert damaged(half) == []
    assert differing(answers(half), before) == []
