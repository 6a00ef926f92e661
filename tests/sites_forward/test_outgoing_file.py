"""The file of the outgoing log: its lock, damage, a full disk."""

from __future__ import annotations

import random
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from rmm.core.outgoing import place
from rmm.errors import LeaseLost, TierError
from rmm.model.envelope import DROPPED, OBSERVATION
from rmm.model.outgoing import Item
from rmm.model.settings import SiteSettings
from rmm.tiers.outgoing import Log, SqliteShelf, open_outgoing, path_of, prepare, spooled_at

NOW = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)


def item(number: int, *, size: int = 0) -> Item:
    body = f"body {number}".encode() + random.Random(number).randbytes(size)
    return Item(id=f"o{number}", body=body, at=NOW, endpoint=f"srv-{number % 5}", shard=2, fence=7)


async def test_one_process_has_it(tmp_path: Path) -> None:
    async with open_outgoing(tmp_path, "hq", SiteSettings()) as outgoing:
        await outgoing.append([item(1)])
        with pytest.raises(LeaseLost):
            async with open_outgoing(tmp_path, "hq", SiteSettings()):
                pass
        spooled = spooled_at(tmp_path, "hq")  # also while it is written
        assert spooled is not None
        assert spooled == msgspec.structs.replace(await outgoing.spooled(), limit=0)  # which is no part of the file
        assert (spooled.entries, spooled.oldest) == (1, NOW)
    assert spooled_at(tmp_path, "branch") is None


def _damage(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(0)
        file.write(b"\xff" * path.stat().st_size)


async def test_a_damaged_file_is_set_aside_and_begun_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with open_outgoing(tmp_path, "hq", SiteSettings()) as outgoing:
        await outgoing.append([item(n) for n in range(1, 50)])
    _damage(path_of(tmp_path, "hq"))
    async with open_outgoing(tmp_path, "hq", SiteSettings()) as outgoing:
        assert len(await outgoing.append([item(1)])) == 1
        assert (await outgoing.spooled()).entries == 1
    assert "is damaged; kept as hq.damaged-1" in caplog.text
    assert (tmp_path / "outgoing" / "hq.damaged-1").exists()


async def test_a_file_that_is_damaged_while_it_is_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = path_of(tmp_path, "hq")
    async with open_outgoing(tmp_path, "hq", SiteSettings()) as outgoing:
        await outgoing.append([item(n, size=2000) for n in range(1, 100)])
    async with open_outgoing(tmp_path, "hq", SiteSettings()) as outgoing:
        with path.open("r+b") as file:
            file.seek(4096)
            file.write(b"\xff" * (path.stat().st_size - 4096))
        assert len(await outgoing.append([item(1)])) == 1
        assert outgoing.opened == 2
    assert "damaged" in caplog.text


async def test_a_full_disk_promises_nothing_and_goes_on_by_itself(tmp_path: Path) -> None:
    path = path_of(tmp_path, "hq")
    await prepare(path)
    shelf = SqliteShelf(path)
    log = Log(shelf, SiteSettings(), f"{1:016x}")
    log.append([item(1)])
    shelf._db.execute(f"PRAGMA max_page_count = {shelf._db.execute('PRAGMA page_count').fetchone()[0] + 2}")
    with pytest.raises(TierError) as caught:
        log.append([item(n, size=3000) for n in range(2, 30)])
    assert caught.value.code == "disk.full"
    assert log.spooled().entries == 1
    shelf._db.execute("PRAGMA max_page_count = 1000000")
    assert [row.place for row in log.append([item(2)])] == [place(1, 2)]
    log.close()


async def test_a_body_that_rots_is_given_up_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = path_of(tmp_path, "hq")
    await prepare(path)
    log = Log(SqliteShelf(path), SiteSettings(), f"{1:016x}")
    log.append([item(1), item(2)])
    with sqlite3.connect(path) as other:
        other.execute("UPDATE entry SET body = x'00112233' WHERE place = ?", (place(1, 1),))
    other.close()
    assert [entry.kind for _, _, entry in log.read([place(1, 1), place(1, 2)])] == [DROPPED, OBSERVATION]
    assert "is given up" in caplog.text
    log.close()
