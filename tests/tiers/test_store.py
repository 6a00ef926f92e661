"""What looks after the store: checks find what is damaged, repair keeps the rest, a backup comes back as it was."""

import shutil
import sqlite3
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from observations import START
from stores import ENDPOINTS, build, checksum

from rmm.durable import hold
from rmm.errors import ConfigError, LeaseLost, TierError
from rmm.model.settings import DiskSettings, Retention
from rmm.tiers import hot_json
from rmm.tiers.cold_sqlite.whole import SiteSamples
from rmm.tiers.store import places
from rmm.tiers.store.backup import MANIFEST, backup, read_manifest, verify
from rmm.tiers.store.check import Finding, check
from rmm.tiers.store.repair import repair_fleet, repair_shard
from rmm.tiers.store.restore import check_restored, restore
from rmm.tiers.store.status import lines, outlook, parts_of
from rmm.tiers.store.vacuum import vacuum


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    data = tmp_path_factory.mktemp("made") / "data"
    return data, build(data)


@pytest.fixture
def data(made: tuple[Path, str], tmp_path: Path) -> Iterator[Path]:
    shutil.copytree(made[0], tmp_path / "data")
    yield tmp_path / "data"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    folder = tmp_path / "config"
    folder.mkdir()
    (folder / "rmm.yaml").write_text("data: ../data\nsites: [{id: hq}]\n")
    (folder / "passphrase").write_text("secret")
    return folder


def findings(data: Path) -> list[tuple[str, str]]:
    return [(one.path.name, one.severity) for one in check(data) if isinstance(one, Finding)]


def files(data: Path, kind: str) -> list[Path]:
    return [file.path for file in places.store_files(data) if file.kind == kind]


def test_a_sound_store(data: Path) -> None:
    assert findings(data) == []
    kinds = {line.kind: line for line in lines(data)}
    assert set(kinds) == {"hot", "shard", "raw", "hourly", "daily"}
    assert kinds["raw"].segments == 9 * len(ENDPOINTS)
    assert kinds["raw"].first.startswith("2026-11-24")
    assert kinds["hourly"].first.startswith("2026-11-23")  # a Monday
    assert kinds["daily"].first.startswith("2026-11-01")
    assert kinds["shard"].rows > 0
    assert kinds["shard"].schema == "2"
    assert kinds["raw"].bytes_per_sample is not None
    assert 0 < kinds["raw"].bytes_per_sample < 20


def test_how_it_grows(data: Path) -> None:
    now = START + timedelta(days=9, hours=6)
    parts = {part.kind: part for part in parts_of(data, now, Retention())}
    assert {kind: (part.days, part.keep) for kind, part in parts.items()} == {
        "raw": (9, 97), "hourly": (9, 761), "daily": (9, 0), "shard": (9, 90), "hot": (0, 0)
    }  # fmt: skip
    assert parts["raw"].bytes == sum(path.stat().st_size for path in files(data, "raw"))
    assert {part.days for part in parts_of(data, START + timedelta(days=1), Retention())} == {0}  # too young to say
    told = outlook(data, now, Retention(), DiskSettings(budget_gb=parts["raw"].bytes / 1e9))
    assert "has reached its budget" in told.trouble
    assert told.growth
    assert told.levels_out is None


def test_backup_deletion_restore(made: tuple[Path, str], data: Path, config: Path, tmp_path: Path) -> None:
    target = tmp_path / "copies" / "one"
    manifest = backup(data, config, target)
    verify(target, read_manifest(target))
    assert {"data", "config", MANIFEST} == {path.name for path in target.iterdir()}
    assert [path.name for path in (target / "config").iterdir()] == ["rmm.yaml"]  # no passphrase
    assert checksum(target / "data") == made[1]  # a data folder itself
    assert len(manifest.files) == len(places.store_files(data)) + 1
    if sys.platform != "win32":
        assert {path.stat().st_mode & 0o077 for path in target.rglob("*") if path.is_file()} == {0}
    shutil.rmtree(data)
    restored, aside = restore(target, data, [("hq", 0)])
    assert aside is None
    assert restored.files == manifest.files
    assert checksum(data) == made[1]
    assert findings(data) == []
    states = hot_json.load(data, "hq", 0)
    assert sorted(states) == sorted(ENDPOINTS)
    assert all(not one.digest for state in states.values() for one in state.collectors.values())
    assert not (data / ".restore.part").exists()


def test_what_is_there_is_kept_aside_and_only_on_demand(
    made: tuple[Path, str], data: Path, config: Path, tmp_path: Path
) -> None:
    target = tmp_path / "one"
    backup(data, config, target)
    (data / "authguard").mkdir()
    (data / "authguard" / "x.json").write_text("{}")
    with sqlite3.connect(files(data, "shard")[0]) as connection:
        connection.execute("DELETE FROM observation")
    connection.close()
    other = checksum(data)
    assert other != made[1]
    with pytest.raises(ConfigError, match="holds a store already"):
        restore(target, data, [])
    assert checksum(data) == other
    _, aside = restore(target, data, [], force=True)
    assert aside == data / "before-restore-1"
    assert checksum(data) == made[1]
    assert checksum(aside) == other
    assert (data / "authguard" / "x.json").exists()  # what accounts may try is no history
    with hold(data / "locks" / "hq-0.lock", "a poll"), pytest.raises(LeaseLost):
        restore(target, data, [], force=True)


def test_a_backup_that_is_not_whole_changes_nothing(data: Path, config: Path, tmp_path: Path) -> None:
    target = tmp_path / "one"
    backup(data, config, target)
    with pytest.raises(ConfigError, match="is there already"):
        backup(data, config, target)
    victim = files(target / "data", "raw")[0]
    before, content = checksum(data), bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 1
    victim.write_bytes(content)
    with pytest.raises(TierError) as caught:
        restore(target, data, [], force=True)
    assert caught.value.code == "backup.damaged"
    assert victim.name in str(caught.value)
    assert checksum(data) == before
    manifest = (target / MANIFEST).read_text()
    for wrong, code in (
        (manifest.replace('"format": 1', '"format": 2'), "tier.newer"),
        (manifest.replace('"schema": 2', '"schema": 3'), "tier.newer"),
        (manifest.replace("data/hot/", "data/../../"), "backup.damaged"),
        (manifest.replace("data/hot/", "/etc/"), "backup.damaged"),
        (manifest[:-9], "backup.damaged"),
        ("[]", "backup.damaged"),
    ):
        (target / MANIFEST).write_text(wrong)
        with pytest.raises(TierError) as caught:
            restore(target, data, [], force=True)
        assert caught.value.code == code, wrong[:300]
    (target / MANIFEST).unlink()
    for no_backup in (target, Path(__file__)):
        with pytest.raises(ConfigError, match="is no backup"):
            restore(no_backup, data, [], force=True)
    assert checksum(data) == before


def test_a_restore_that_breaks_off_is_noticed_and_begun_again(
    made: tuple[Path, str], data: Path, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "one"
    backup(data, config, target)
    calls, real = 0, Path.replace
    for moment in range(1, 9):
        calls = 0

        def failing(self: Path, to: Path, moment: int = moment) -> Path:
            nonlocal calls
            if self.parent.name != "data" or not self.suffix.endswith("tmp"):
                calls += 1
                if calls == moment:
                    raise KeyboardInterrupt
            return real(self, to)

        monkeypatch.setattr(Path, "replace", failing)
        try:
            restore(target, data, [], force=True)
        except KeyboardInterrupt:
            pass
        else:
            break
        with pytest.raises(TierError) as caught:
            check_restored(data)
        assert caught.value.code == "restore.open"
        monkeypatch.setattr(Path, "replace", real)
        restore(target, data, [], force=True)
        check_restored(data)
        assert checksum(data) == made[1]
    else:
        raise AssertionError("it never ended")
    assert moment > 3


def test_damage_is_found_and_repaired(made: tuple[Path, str], data: Path, config: Path, tmp_path: Path) -> None:
    raw = files(data, "raw")[0]
    with sqlite3.connect(raw) as connection:
        place, blob = connection.execute("SELECT place, data FROM segment ORDER BY place LIMIT 1").fetchone()
        blob = blob[:40] + bytes([blob[40] ^ 4]) + blob[41:]
        connection.execute("UPDATE segment SET data = ? WHERE place = ?", (blob, place))
    connection.close()
    hot = files(data, "hot")
    next(path for path in hot if path.name == "0.json").write_bytes(b'{"schema":1,')
    (data / "cold" / "hq" / "0" / "raw-2020-W01.sqlite-wal").write_bytes(b"x")
    assert findings(data) == [("0.json", "damaged"), (raw.name, "damaged"), ("raw-2020-W01.sqlite-wal", "note")]
    with pytest.raises(TierError, match=r"0\.json"):
        backup(data, config, tmp_path / "one")
    assert not (tmp_path / "one").exists()
    assert [path for path in tmp_path.iterdir() if path.name.endswith(".part")] == []
    done = [*repair_shard(data, "hq", 0), *repair_fleet(data)]
    assert [one.path.name for one in done] == ["0.json", raw.name, "raw-2020-W01.sqlite-wal"]
    assert {severity for _, severity in findings(data)} == {"note"}
    with sqlite3.connect(raw) as connection:
        assert connection.execute("SELECT data FROM damaged").fetchone() == (blob,)
    connection.close()
    assert list(repair_shard(data, "hq", 0)) == []


def test_a_bit_that_turned_over_in_a_hot_file_and_in_a_change(data: Path) -> None:
    hot, shard = data / "hot" / "hq" / "0.json", files(data, "shard")[0]
    content = hot.read_bytes()
    hot.write_bytes(content.replace(b'"endpoint":"srv-2"', b'"endpoint":"srv-3"', 1))  # JSON all the same
    with sqlite3.connect(shard) as connection:
        value = connection.execute("SELECT value FROM change ORDER BY rowid LIMIT 1").fetchone()[0]
        turned = value[:-2] + bytes([value[-2] ^ 1]) + value[-1:]
        connection.execute("UPDATE change SET value = ? WHERE rowid = (SELECT min(rowid) FROM change)", (turned,))
    connection.close()
    assert findings(data) == [("0.json", "damaged"), (shard.name, "damaged")]
    assert [one.path for one in repair_shard(data, "hq", 0)] == [hot]
    assert (shard.name, "damaged") in findings(data)  # without it, what follows would be told from something else


def known(data: Path) -> dict[str, set[object]]:
    """Of each endpoint all samples of one metric, and what became of each poll."""
    reader = SiteSamples(data, "hq")
    span = {"since": START - timedelta(days=1), "until": START + timedelta(days=99)}
    return {
        name: {*reader.history(name, "cpu.util_pct[0,7]", **span), *map(repr, reader.statuses(name, **span))}
        for name in ENDPOINTS
    }


@pytest.mark.parametrize("kind", ["raw", "shard"])
def test_what_can_be_read_of_a_damaged_file_is_saved(data: Path, kind: str) -> None:
    """Pages all over the file, one after the other, are overwritten; nothing else than what was there comes back."""
    before = known(data)
    path = max(files(data, kind), key=lambda path: path.stat().st_size)
    whole = path.read_bytes()
    size = int.from_bytes(whole[16:18], "big")
    pages = len(whole) // size
    lost = []
    for page in range(1, pages, max(1, pages // 8)):
        path.write_bytes(whole[: page * size] + b"\xaa" * size + whole[(page + 1) * size :])
        if (path.name, "damaged") not in findings(data):
            continue  # a page that is not used
        done = [one for one in repair_shard(data, "hq", 0) if one.path == path]
        assert len(done) == 1
        assert {severity for _, severity in findings(data)} == {"note"}, done
        after = known(data)
        assert all(after[name] <= before[name] for name in ENDPOINTS), done
        lost.append(1 - sum(map(len, after.values())) / sum(map(len, before.values())))
    assert len(lost) >= 3
    assert min(lost) < 0.05, lost
    assert sum(lost) / len(lost) < 0.7, lost


def test_a_file_that_is_none_and_a_shard_that_is_gone(data: Path) -> None:
    daily = files(data, "daily")[0]
    daily.write_bytes(b"no database at all" * 1000)
    shard = files(data, "shard")[0]
    before = checksum(data)
    shard.unlink()
    assert [name for name, severity in findings(data) if severity == "damaged"] == [daily.name, "0"]
    done = list(repair_shard(data, "hq", 0))
    assert [one.path for one in done] == [daily, shard]
    assert {severity for _, severity in findings(data)} == {"note"}
    assert checksum(data) != before
    assert len(lines(data)) == 6


def test_free_pages_go_back_to_the_disk(made: tuple[Path, str], data: Path) -> None:
    (shard,) = [file for file in places.store_files(data) if file.kind == "shard"]
    assert "pages are free" in vacuum(shard).why
    with sqlite3.connect(shard.path) as connection:
        connection.execute("CREATE TABLE filler (x BLOB)")
        connection.execute("INSERT INTO filler VALUES (zeroblob(4000000))")
        connection.execute("DROP TABLE filler")
    connection.close()
    done = vacuum(shard)
    assert done.why == ""
    assert done.before - done.after > 3_900_000
    assert checksum(data) == made[1]
