"""The archive: what goes there comes back to the bit, and nothing leaves the store before that is proved."""

import asyncio
import contextlib
import errno
import sqlite3
from datetime import UTC, timedelta
from pathlib import Path
from typing import Any

import pytest
from archives import FIRST, KEEP, merged, pack, raws
from hypothesis import given, settings
from hypothesis import strategies as st
from observations import FIELDS, START
from test_sealed import ALL, NAMES, NUMBERS, SEEN, answers, differing, same, series

from rmm import durable
from rmm.errors import ArchiveQueryError, ConfigError, DamagedFile, LeaseLost, TierError
from rmm.tiers.archive import archiver, files, parquet, sql, upkeep
from rmm.tiers.cold_sqlite import ColdReader, ColdTier
from rmm.tiers.cold_sqlite import segment as segments
from rmm.tiers.cold_sqlite.sealed import folder_of
from rmm.tiers.cold_sqlite.whole import SiteSamples
from rmm.tiers.cold_sqlite.writer import path_of

TEXTS = st.text(max_size=12)
NAMED = NAMES | st.tuples(TEXTS, TEXTS, TEXTS)
OBSERVED = st.lists(st.tuples(SEEN, st.dictionaries(NAMED, NUMBERS.filter(lambda one: one == one), max_size=6)))


@settings(max_examples=25, deadline=None)
@given(st.dictionaries(TEXTS, OBSERVED, max_size=4))
def test_a_day_comes_back_to_the_bit(tmp_path_factory: pytest.TempPathFactory, days: dict[str, Any]) -> None:
    path = tmp_path_factory.mktemp("archive") / "2026-11-24.parquet"
    wanted = [(endpoint, segments.gather(observed)) for endpoint, observed in sorted(days.items())]
    wanted = [one for one in wanted if one[1].seen]
    proof = parquet.write(path, wanted, lambda digest: digest.proof("hq", FIRST, {"0": "x"}))
    assert parquet.proof_of(path) == proof
    assert proof.samples == sum(
        len(one.values) for _, samples in wanted for name, one in samples.series.items() if name[2]
    )
    found = list(parquet.all_of(path))
    assert [endpoint for endpoint, _ in found] == [endpoint for endpoint, _ in wanted]
    for (_, one), (_, other) in zip(found, wanted, strict=True):
        assert one.seen == other.seen
        assert one.series.keys() == other.series.keys()
        for name, samples in one.series.items():
            assert samples.places == other.series[name].places
            assert same(samples.values, other.series[name].values)
    assert sorted(one.name for one in path.parent.iterdir()) == ["2026-11-24.b2", path.name]


async def test_samples_go_only_when_the_archive_has_them_and_read_as_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with merged(tmp_path) as cold:
        before, checksum = answers(tmp_path), SiteSamples(tmp_path, "hq").checksum()
        may_go = files.released(tmp_path, "hq", 0)
        assert raws(tmp_path) == ["raw-2026-W48.sqlite", "raw-2026-W49.sqlite"]
        await cold.expire(START + timedelta(days=40), KEEP, may_go)
        assert raws(tmp_path) == ["raw-2026-W48.sqlite", "raw-2026-W49.sqlite"]
        done = archiver.run(tmp_path, "hq", FIRST + 6)
        assert [one.day for one in done] == list(range(FIRST, FIRST + 6))
        assert differing(answers(tmp_path), before) == []
        await cold.expire(START + timedelta(days=40), KEEP, may_go)
        assert raws(tmp_path) == ["raw-2026-W49.sqlite"]  # 24 to 29 November have gone
        assert differing(answers(tmp_path), before) == []
        assert archiver.run(tmp_path, "hq", FIRST + 6) == []
        assert len(archiver.run(tmp_path, "hq", FIRST + 30)) == 4
        await cold.expire(START + timedelta(days=40), KEEP, may_go)
        assert raws(tmp_path) == []
        assert differing(answers(tmp_path), before) == []
        checked = SiteSamples(tmp_path, "hq")
        assert (checked.checksum(), checked.unread()) == (checksum, 0)
        with monkeypatch.context() as patched:
            patched.setattr(files, "available", lambda: False)
            assert checked.checksum() != checksum
            assert checked.unread() == 10
        path = files.path_of(tmp_path / "archive" / "hq", FIRST + 2)
        path.write_bytes(path.read_bytes()[:-100])
        assert checked.checksum() != checksum


async def test_late_samples_join_a_day_that_has_gone(tmp_path: Path) -> None:
    for name, late in (("all", True), ("without", False)):
        async with ColdTier(path_of(tmp_path / name, "hq", 0), FIELDS) as cold:
            await cold.store([one for one in series(6) if late or one.seq % 700 != 40])
            await pack(cold)
    data, may_go = tmp_path / "without", files.released(tmp_path / "without", "hq", 0)
    wanted = answers(tmp_path / "all")
    async with ColdTier(path_of(data, "hq", 0), FIELDS) as cold:
        archiver.run(data, "hq", FIRST + 9)
        await cold.expire(START + timedelta(days=60), KEEP, may_go)
        assert raws(data) == []
        await cold.store([one for one in series(6) if one.seq % 700 == 40])
        found = answers(data)
        assert differing(parts(found, "history"), parts(wanted, "history")) == []
        await cold.expire(START + timedelta(days=60), KEEP, may_go)
        await pack(cold)
        assert raws(data) == ["raw-2026-W48.sqlite", "raw-2026-W49.sqlite"]
        assert differing(answers(data), wanted) == []  # rollups too: the day came back for them
        await cold.expire(START + timedelta(days=60), KEEP, may_go)
        assert len(raws(data)) == 2
        assert archiver.run(data, "hq", FIRST + 9)
        await cold.expire(START + timedelta(days=60), KEEP, may_go)
        assert raws(data) == []
        assert archiver.run(data, "hq", FIRST + 9) == []
    assert differing(answers(data), wanted) == []


def parts(answer: dict[str, Any], name: str) -> dict[str, Any]:
    return {endpoint: found[name] for endpoint, found in answer.items()}


async def test_an_endpoint_that_moved_has_its_day_in_one_file(tmp_path: Path) -> None:
    observations = series(3)
    cut = len(observations) * 2 // 5  # in the middle of a day
    may_go = [files.released(tmp_path, "hq", shard) for shard in (0, 1)]
    for shard in (0, 1):
        async with ColdTier(path_of(tmp_path, "hq", shard), FIELDS) as cold:
            await cold.store(observations[cut:] if shard else observations[:cut])
            await pack(cold)
    before = answers(tmp_path)
    checked = SiteSamples(tmp_path, "hq")
    wanted = {(day, name): checked.day(name, day) for day in checked.days() for name in checked.endpoints()}
    archiver.run(tmp_path, "hq", FIRST + 9)
    for day, path in files.days(tmp_path / "archive" / "hq").items():
        for name, samples in parquet.all_of(path):
            assert segments.scattered(samples) == segments.scattered(wanted[day, name])
    for shard in (1, 0):  # one of them first
        async with ColdTier(path_of(tmp_path, "hq", shard), FIELDS) as cold:
            await cold.expire(START + timedelta(days=60), KEEP, may_go[shard])
        assert differing(parts(answers(tmp_path), "history"), parts(before, "history")) == []
    assert raws(tmp_path) == []


async def test_a_day_that_is_written_wrongly_gets_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with merged(tmp_path, 2) as cold:
        series_row = parquet._series
        with monkeypatch.context() as patched:

            def wrong(*given: Any) -> dict[str, Any]:
                row = series_row(*given)
                return {**row, "numbers": [one + 1 for one in row["numbers"]]} if "numbers" in row else row

            patched.setattr(parquet, "_series", wrong)
            with pytest.raises(TierError, match="not what it was written from"):
                archiver.run(tmp_path, "hq", FIRST + 9)
        assert files.days(tmp_path / "archive" / "hq") == {}
        await cold.expire(START + timedelta(days=60), KEEP, files.released(tmp_path, "hq", 0))
        assert raws(tmp_path) == ["raw-2026-W48.sqlite"]


async def test_the_next_run_removes_what_a_killed_one_left(tmp_path: Path) -> None:
    async with merged(tmp_path, 1):
        folder = tmp_path / "archive" / "hq"
        folder.mkdir(parents=True)
        names = [
            f".2026-11-24{end}" for end in (".b2.1.tmp", ".parquet.1.tmp", ".parquet.1.work", ".parquet.1.work.wal")
        ]
        for name in (*names, ".checked.json.1.tmp"):
            (folder / name).write_bytes(b"half")
        archiver.run(tmp_path, "hq", FIRST + 9)
        assert [path.name for path in folder.glob(".*")] == []


@pytest.mark.parametrize("damage", [b"\xb0", b'{"', b""])
async def test_notes_that_are_damaged_are_made_anew(tmp_path: Path, damage: bytes) -> None:
    async with merged(tmp_path, 1):
        archiver.run(tmp_path, "hq", FIRST + 9)
        notes = tmp_path / "archive" / "hq" / "checked.json"
        content = notes.read_bytes()
        assert b'"marks":{"0"' in content
        notes.write_bytes(content.replace(b'"marks":{"0"', b'"marks":{"' + damage + b'"'))
        archiver.run(tmp_path, "hq", FIRST + 9)
        assert notes.read_bytes() == content


async def test_a_loss_of_power_does_not_take_the_archives_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    sync = durable.fsync_folder

    def noted(folder: Path) -> None:
        sync(folder)
        synced.extend([folder] if (tmp_path / "archive").exists() else [])

    monkeypatch.setattr(durable, "fsync_folder", noted)
    async with merged(tmp_path, 1):
        archiver.run(tmp_path, "hq", FIRST + 9)
    assert {tmp_path, tmp_path / "archive"} <= set(synced)


async def test_no_room_for_the_archives_folder_is_told_as_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    async with merged(tmp_path, 1):
        monkeypatch.setattr(parquet, "make_folder", refused)
        with pytest.raises(TierError) as caught:
            archiver.run(tmp_path, "hq", FIRST + 9)
    assert caught.value.code == "disk.full"


async def test_a_file_that_a_kill_left_without_a_schema_holds_nothing(tmp_path: Path) -> None:
    async with merged(tmp_path, 1):
        sqlite3.connect(folder_of(path_of(tmp_path, "hq", 0)) / "raw-2026-W50.sqlite").close()
        with contextlib.closing(sqlite3.connect(folder_of(path_of(tmp_path, "hq", 0)) / "raw-2026-W51.sqlite")) as db:
            db.execute("PRAGMA journal_mode = WAL")
        assert len(archiver.run(tmp_path, "hq", FIRST + 60)) == 2
        assert SiteSamples(tmp_path, "hq").endpoints() == ["srv-0", "srv-1"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="it needs /dev/full")
async def test_a_full_disk_is_told_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with merged(tmp_path, 1):
        with monkeypatch.context() as patched:
            copy = parquet._copy
            patched.setattr(parquet, "_copy", lambda db, _path, proof: copy(db, Path("/dev/full"), proof))
            with pytest.raises(TierError) as caught:
                archiver.run(tmp_path, "hq", FIRST + 9)
    assert caught.value.code == "disk.full"


async def test_only_one_archives_a_site(tmp_path: Path) -> None:
    async with merged(tmp_path, 1):
        with archiver.locked(tmp_path, "hq"), pytest.raises(LeaseLost):
            await asyncio.to_thread(archiver.run, tmp_path, "hq", FIRST + 9)
        assert len(archiver.run(tmp_path, "hq", FIRST + 9)) == 2


async def test_damage_is_found_set_aside_and_written_anew_where_the_store_still_has_it(tmp_path: Path) -> None:
    async with merged(tmp_path, 3):
        before = answers(tmp_path)
        archiver.run(tmp_path, "hq", FIRST + 9)
        path = files.path_of(tmp_path / "archive" / "hq", FIRST + 1)
        data = path.read_bytes()
        missed = []
        for place in range(0, len(data) * 8, 997):
            broken = bytearray(data)
            broken[place // 8] ^= 1 << place % 8
            path.write_bytes(broken)
            try:
                if parquet.matches(path, parquet.proof_of(path)):
                    missed.append(place)
            except DamagedFile:
                pass
        assert missed == []
        path.write_bytes(data[:-200])
        assert differing(answers(tmp_path), before) == []  # the store has it still
        assert upkeep.verify(tmp_path, "hq", [FIRST + 1])[0].state == "damaged"
        assert [one.day for one in archiver.run(tmp_path, "hq", FIRST + 9)] == [FIRST + 1]
        assert {one.state for one in upkeep.verify(tmp_path, "hq")} == {"ok"}
        assert len(list(path.parent.glob("*.damaged"))) == 1


@pytest.mark.parametrize("step", range(5))
async def test_a_day_that_is_written_anew_is_whole_wherever_that_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    async with merged(tmp_path, 1) as cold:
        archiver.run(tmp_path, "hq", FIRST + 9)
        await cold.store([one for one in series(2, step=7) if one.seq % 20])
        await pack(cold)
    before = answers(tmp_path)
    note, matches, calls = files.note_checksums, parquet.matches, 0

    def counted(call: Any) -> Any:
        def broken(*given: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls > step:
                raise TierError("the power went", code="tier.test")
            return call(*given)

        return broken

    with monkeypatch.context() as patched:
        for place, name, call in ((files, "note_checksums", note), (parquet, "matches", matches)):
            patched.setattr(place, name, counted(call))
        patched.setattr(parquet, "rename", counted(durable.rename))
        patched.setattr(parquet, "fsync_folder", counted(durable.fsync_folder))
        with pytest.raises(TierError, match="the power went"):
            archiver.run(tmp_path, "hq", FIRST + 9)
    assert {one.state for one in upkeep.verify(tmp_path, "hq")} == {"ok"}
    assert differing(answers(tmp_path), before) == []
    archiver.run(tmp_path, "hq", FIRST + 9)
    async with ColdTier(path_of(tmp_path, "hq", 0), FIELDS) as cold:
        await cold.expire(START + timedelta(days=60), KEEP, files.released(tmp_path, "hq", 0))
    assert raws(tmp_path) == []
    assert differing(answers(tmp_path), before) == []


async def test_restored_days_are_read_without_the_archive_and_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with merged(tmp_path, 3) as cold:
        before = answers(tmp_path)
        archiver.run(tmp_path, "hq", FIRST + 9)
        may_go = files.released(tmp_path, "hq", 0)
        await cold.expire(START + timedelta(days=60), KEEP, may_go)
        await asyncio.to_thread(upkeep.restore, tmp_path, "hq", [FIRST, FIRST + 1, FIRST + 2])
        monkeypatch.setattr(files, "available", lambda: False)
        found = ColdReader(tmp_path, "hq").history("srv-0", "cpu.util_pct", **ALL)
        assert found == [one for one in before["srv-0"]["history"]["cpu.util_pct[_Total]"] if one[0].day < 27]
        assert "is not read. Install the extra" in caplog.text
        assert files.released(tmp_path, "hq", 0) is None
        monkeypatch.undo()
        await cold.expire(START + timedelta(days=600), KEEP, may_go)
        assert len(list((tmp_path / "cold" / "hq" / "restored").glob("raw-*"))) == 1
        assert differing(answers(tmp_path), before) == []
        assert upkeep.forget_restored(tmp_path, "hq")
        assert differing(answers(tmp_path), before) == []
        for wrong in ([FIRST + 40], [FIRST - 1]):
            with pytest.raises(ConfigError, match="has no 20"):
                upkeep.restore(tmp_path, "hq", wrong)


async def test_sql_reads_the_archive_and_nothing_else(tmp_path: Path) -> None:
    async with merged(tmp_path, 2):
        archiver.run(tmp_path, "hq", FIRST + 9)
        samples = SiteSamples(tmp_path, "hq")
        wanted = ColdReader(tmp_path, "hq").history("srv-1", "cpu.util_pct", **ALL)
    sites = {"hq": list(files.days(tmp_path / "archive" / "hq").values())}
    here = "SELECT time, value FROM samples WHERE endpoint = 'srv-1' AND field = 'util_pct' ORDER BY time"
    answer = sql.query(here, sites, sql.Limits())
    assert [(at.replace(tzinfo=UTC), value) for at, value in answer.rows] == wanted
    counts = "SELECT (SELECT count(*) FROM samples), (SELECT count(*) FROM observations WHERE fault = 'tcp.refused')"
    total = sum(
        len(one.values)
        for day in samples.days() for endpoint in samples.endpoints()
        for name, one in samples.day(endpoint, day).series.items() if name[2]
    )  # fmt: skip
    assert sql.query(counts, sites, sql.Limits()).rows == [(total, 5)]
    large = "SELECT DISTINCT exact::VARCHAR FROM samples WHERE field = 'size_b' AND key = 'C:'"
    assert sql.query(large, sites, sql.Limits()).rows == [(str(2**63 + 1),)]
    assert sql.query("SELECT * FROM samples", sites, sql.Limits(rows=3)).more
    other = tmp_path / "secret.txt"
    other.write_text("secret")
    for refused in (
        f"SELECT * FROM read_text('{other}')",
        f"SELECT * FROM glob('{tmp_path}/*')",
        f"COPY (SELECT 1) TO '{sites['hq'][0]}'",
        f"COPY (SELECT 1) TO '{tmp_path}/new.csv'",
        "SET enable_external_access = true",
        f"ATTACH '{tmp_path}/x.db'",
        "INSTALL httpfs",
        "SELECT 1; SELECT 2",
        "SELEKT 1",
        "SELECT * FROM nothing",
    ):
        with pytest.raises(ArchiveQueryError):
            sql.query(refused, sites, sql.Limits())
    assert not (tmp_path / "new.csv").exists()
    with pytest.raises(ArchiveQueryError, match="within"):
        sql.query("SELECT count(*) FROM range(100000000000) a", sites, sql.Limits(seconds=0.3))
    with pytest.raises(ArchiveQueryError, match=r"(?i)memory"):
        sql.query("SELECT list(i) FROM range(1000000000) t(i)", sites, sql.Limits(memory="64MB"))
