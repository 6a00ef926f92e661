"""Files of merged history that SQLite finds damaged: the round after the next one is as ever, and the rest is kept."""

import asyncio
import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from archives import FIRST
from observations import FIELDS, START, typical
from stores import build
from test_sealed import counted

from rmm.errors import TierError
from rmm.model.settings import Retention
from rmm.tiers.archive import archiver
from rmm.tiers.cold_sqlite import ColdReader
from rmm.tiers.cold_sqlite.writer import path_of
from rmm.tiers.shard_store import open_shard
from rmm.tiers.store.repair import repair_shard

PAGE = 2048
DAYS = 3
FILES = ("daily.sqlite", "hourly-2026-11.sqlite", "raw-2026-W48.sqlite")
ALWAYS = {"since": START - timedelta(days=1), "until": START + timedelta(days=30)}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("made") / "data"
    build(data, days=DAYS)
    return data


def spoil(path: Path, how: str) -> None:
    content = bytearray(path.read_bytes())
    pages = len(content) // PAGE
    for page in {"header": [0], "the last page": [pages - 1], "all pages": range(1, pages)}[how]:
        at = page * PAGE
        content[at : at + 1500] = b"\xff" * 1500
    path.write_bytes(content)


async def round_of(data: Path, day: int) -> None:
    """A round at the end of a day, with a reading that comes late."""
    end = START + timedelta(days=day, hours=4)
    async with open_shard(
        data, "hq", 0, fields=FIELDS, now=lambda: end, keep=Retention(samples=0, changes=0, hourly=0)
    ) as store:
        for minute in (day * 1440 + 30, day * 1440 - 30, 1445):
            await store.acknowledge(typical("srv-1", minute, seq=minute, services=40), None)
        await store.flush()
        await store.release()


@pytest.mark.parametrize("how", ["header", "the last page", "all pages"])
@pytest.mark.parametrize("name", FILES)
async def test_a_damaged_file_is_rebuilt_and_rounds_go_on(made: Path, tmp_path: Path, name: str, how: str) -> None:
    data = tmp_path / "data"
    shutil.copytree(made, data)
    folder = path_of(data, "hq", 0).with_suffix("")
    changes = ColdReader(data, "hq").changes("srv-2", **ALWAYS)
    spoil(folder / name, how)
    failed = []
    for day in range(DAYS + 1, DAYS + 6):
        try:
            await round_of(data, day)
        except TierError as error:
            assert error.code == "tier.damaged"
            failed.append(day)
    assert len(failed) <= 1  # when it was found
    kept = [path.name for path in data.rglob("*damaged-*")]
    assert kept == [name.replace(".sqlite", ".damaged-1")]  # and not the shard's own file, nor twice
    reader = ColdReader(data, "hq")
    assert reader.changes("srv-2", **ALWAYS) == changes
    assert {at.day for at, _ in reader.history("srv-1", "cpu.util_pct[0,1]", **ALWAYS)} >= {27, 28, 29}
    if how == "the last page":
        assert counted(folder / name, "segment") >= (2 if name.startswith("raw") else 1)


async def test_a_damaged_week_is_not_archived_and_the_others_are(made: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(made, data)
    await asyncio.to_thread(build, data / "other", days=9)  # of two weeks
    raw = path_of(data, "hq", 0).with_suffix("") / "raw-2026-W49.sqlite"
    shutil.copy(path_of(data / "other", "hq", 0).with_suffix("") / raw.name, raw)
    spoil(raw.with_name("raw-2026-W48.sqlite"), "all pages")
    done: list[int] = []
    for _ in range(2):
        with pytest.raises(TierError, match=r"W48\.sqlite: database disk image is malformed"):
            archiver.run(data, "hq", FIRST + 30, tell=lambda one: done.append(one.day))
    assert done == [FIRST + 6, FIRST + 7, FIRST + 8]
    await asyncio.to_thread(lambda: list(repair_shard(data, "hq", 0)))
    assert archiver.run(data, "hq", FIRST + 30) == []  # nothing of it could be saved
