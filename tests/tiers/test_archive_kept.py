"""The archive beside checks, damage in the store and backups: nothing goes silently."""

import asyncio
import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from archives import FIRST, KEEP, merged, pack, raws
from observations import START, observe
from test_sealed import ALL, damage, series

from rmm.errors import DamagedFile
from rmm.tiers.archive import archiver, files, parquet, upkeep
from rmm.tiers.cold_sqlite import ColdReader
from rmm.tiers.cold_sqlite.sealed import folder_of, sealed_files
from rmm.tiers.cold_sqlite.whole import SiteSamples
from rmm.tiers.cold_sqlite.writer import path_of
from rmm.tiers.store.backup import backup, read_manifest, verify
from rmm.tiers.store.check import Finding, check
from rmm.tiers.store.repair import repair_shard
from rmm.tiers.store.restore import restore
from rmm.tiers.store.status import parts_of


@pytest.mark.parametrize("repaired", [False, True])
async def test_what_could_not_be_read_is_told_and_its_source_is_kept(tmp_path: Path, repaired: bool) -> None:
    async with merged(tmp_path) as cold:
        late, week = sealed_files(folder_of(path_of(tmp_path, "hq", 0)), "raw")[::-1]
        damage(week.path, "segment")  # the day of srv-0 that is stored first
        if repaired:
            assert [one.path for one in repair_shard(tmp_path, "hq", 0)] == [week.path]
        done = archiver.run(tmp_path, "hq", FIRST + 30)
        assert [one.proof.damaged for one in done] == [1] + [0] * 9
        assert [one.proof.damaged for one in upkeep.verify(tmp_path, "hq") if one.proof] == [1] + [0] * 9
        assert archiver.run(tmp_path, "hq", FIRST + 30) == []
        before = ColdReader(tmp_path, "hq").history("srv-0", "cpu.util_pct", **ALL)
        await cold.expire(START + timedelta(days=60), KEEP, files.released(tmp_path, "hq", 0))
        assert raws(tmp_path) == []
        kept = week.path.with_name("raw-2026-W48.damaged-1")
        assert kept.exists()
        assert not late.path.with_name("raw-2026-W49.damaged-1").exists()
        told = {one.path: one.severity for one in check(tmp_path) if isinstance(one, Finding)}
        assert told == {kept: "note", files.path_of(tmp_path / "archive" / "hq", FIRST): "note"}
        assert ColdReader(tmp_path, "hq").history("srv-0", "cpu.util_pct", **ALL) == before
        # What comes late for that day is archived with it; that something is missing is not forgotten.
        await cold.store([one for one in series(1) if one.seq == 40])
        await cold.store([observe("srv-9", 1, cpu=[{"core": "_Total", "util_pct": 1.0, "frequency_mhz": None}])])
        await pack(cold)
        again = archiver.run(tmp_path, "hq", FIRST + 30)
        assert [(one.day, one.proof.damaged) for one in again] == [(FIRST, 1)]


async def test_a_check_of_the_store_reads_the_archive_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with merged(tmp_path, 3):
        archiver.run(tmp_path, "hq", FIRST + 9)
    assert told(tmp_path) == []
    path = files.path_of(tmp_path / "archive" / "hq", FIRST + 1)
    data = path.read_bytes()
    path.write_bytes(data[:2000] + bytes([data[2000] ^ 1]) + data[2001:])
    assert [one[:2] for one in told(tmp_path)] == [(path, "damaged")]
    assert path.exists()  # a check changes nothing
    with monkeypatch.context() as patched:
        patched.setattr(files, "available", lambda: False)
        ((place, severity, what),) = told(tmp_path)
        assert (place, severity) == (tmp_path / "archive", "note")
        assert what == "4 archived days are not read, as DuckDB is missing"
    upkeep.verify(tmp_path, "hq")
    assert [severity for _, severity, _ in told(tmp_path)] == ["note"]
    archiver.run(tmp_path, "hq", FIRST + 9)
    assert {severity for _, severity, _ in told(tmp_path)} == {"note"}


async def test_a_day_that_is_written_anew_while_it_is_checked_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with merged(tmp_path, 1):
        archiver.run(tmp_path, "hq", FIRST + 9)
    path = files.path_of(tmp_path / "archive" / "hq", FIRST)
    kept, matches, looks = path.read_bytes(), parquet.matches, 0

    def meanwhile(path: Path, proof: files.Proof) -> bool:
        nonlocal looks
        looks += 1
        if looks == 1:
            path.unlink()
            path.write_bytes(b"")
            path.rename(path.with_name("new"))
            path.write_bytes(kept)
            path.with_name("new").unlink()
            raise DamagedFile("half of one and half of the other")
        return matches(path, proof)

    monkeypatch.setattr(parquet, "matches", meanwhile)
    assert upkeep.examined("hq", FIRST, path).state == "ok"
    assert looks == 2


def told(data: Path) -> list[tuple[Path, str, str]]:
    return [(one.path, one.severity, one.what) for one in check(data) if isinstance(one, Finding)]


async def test_a_damaged_day_of_another_shard_keeps_nothing_and_breaks_nothing(tmp_path: Path) -> None:
    async with merged(tmp_path) as cold:
        archiver.run(tmp_path, "hq", FIRST + 30)
        other = files.path_of(tmp_path / "archive" / "hq", FIRST - 1)  # of the same week; this shard has no such day
        other.write_bytes(b"PAR1")
        await cold.expire(START + timedelta(days=60), KEEP, files.released(tmp_path, "hq", 0))
    assert raws(tmp_path) == []
    assert list(tmp_path.rglob("raw-*")) == []


async def test_the_forecast_knows_that_the_archive_grows(tmp_path: Path) -> None:
    async with merged(tmp_path):
        now = START + timedelta(days=12)
        assert [part.kind for part in parts_of(tmp_path, now, KEEP) if part.kind == "archive"] == []
        archiver.run(tmp_path, "hq", FIRST + 1)
        (young,) = [part for part in parts_of(tmp_path, now, KEEP) if part.kind == "archive"]
        assert young.growth() == 0  # one day says little
        archiver.run(tmp_path, "hq", FIRST + 30)
        (part,) = [part for part in parts_of(tmp_path, now, KEEP) if part.kind == "archive"]
    size = sum(path.stat().st_size for path in (tmp_path / "archive").rglob("*") if path.is_file())
    assert (part.bytes, part.days, part.keep) == (size, 10, 0)
    assert part.growth() == pytest.approx(size / 10)


async def test_a_backup_has_the_archive_and_one_without_leaves_it_where_it_is(tmp_path: Path) -> None:
    data, config = tmp_path / "data", tmp_path / "config"
    config.mkdir()
    async with merged(data) as cold:
        archiver.run(data, "hq", FIRST + 30)
        await cold.expire(START + timedelta(days=60), KEEP, files.released(data, "hq", 0))
    checksum = SiteSamples(data, "hq").checksum()
    backup(data, config, tmp_path / "whole")
    backup(data, config, tmp_path / "store", archive=False)
    assert SiteSamples(tmp_path / "whole" / "data", "hq").checksum() == checksum
    assert SiteSamples(tmp_path / "store" / "data", "hq").checksum() != checksum
    _, aside = await asyncio.to_thread(restore, tmp_path / "store", data, [("hq", 0)], force=True)
    assert aside is not None
    assert not (aside / "archive").exists()
    assert SiteSamples(data, "hq").checksum() == checksum
    shutil.rmtree(data)
    await asyncio.to_thread(restore, tmp_path / "whole", data, [("hq", 0)])
    assert SiteSamples(data, "hq").checksum() == checksum
    assert {one.state for one in upkeep.verify(data, "hq")} == {"ok"}


async def test_a_day_that_is_written_anew_during_a_backup_is_whole_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, copyfile, again = tmp_path / "data", shutil.copyfile, []
    async with merged(data, 1) as cold:
        archiver.run(data, "hq", FIRST + 9)
        await cold.store([observe("srv-0", 5, cpu=[{"core": "_Total", "util_pct": 1.0, "frequency_mhz": None}])])
        await pack(cold)

        def meanwhile(source: Path, target: Path) -> None:
            copyfile(source, target)
            if source.suffix == ".parquet":
                again.extend(archiver.run(data, "hq", FIRST + 9))

        monkeypatch.setattr(shutil, "copyfile", meanwhile)
        await asyncio.to_thread(backup, data, tmp_path, tmp_path / "copy")
    assert [one.day for one in again] == [FIRST]
    assert {one.state for one in upkeep.verify(tmp_path / "copy" / "data", "hq")} == {"ok"}
    verify(tmp_path / "copy", read_manifest(tmp_path / "copy"))
