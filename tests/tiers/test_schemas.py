"""Numbered migrations: a file of any schema, brought up to date, is as one that was made today."""

import asyncio
import shutil
import sqlite3
from datetime import UTC, datetime
from importlib.resources.abc import Traversable
from pathlib import Path

import pytest

from rmm.durable import hold
from rmm.errors import LeaseLost
from rmm.model.identity import Acceptance, Refusal
from rmm.tiers.fleet_sqlite import FleetFile, FleetStore, alone, folder
from rmm.tiers.fleet_sqlite.folder import path_of
from rmm.tiers.migrations import open_writer
from rmm.tiers.store.places import FLEET, SHARD
from rmm.tiers.store.sqlite import newest_schema, scripts_of

RELEASED = Path(__file__).parents[1] / "data" / "cold-1" / "0.sqlite"  # as the first release wrote it
KINDS = (SHARD, "raw", FLEET)
SCHEMAS = [(kind, version) for kind in KINDS for version in range(newest_schema(kind) + 1)]


def of_schema(path: Path, scripts: Traversable, version: int) -> None:
    """A file as an rmm wrote it whose newest schema was this one; nothing but its scripts makes it."""
    with sqlite3.connect(path) as connection:
        for name in sorted(entry.name for entry in scripts.iterdir() if entry.name[:3].isdigit()):
            if int(name[:3]) <= version:
                connection.executescript((scripts / name).read_text(encoding="utf-8"))
        connection.execute(f"PRAGMA user_version = {version:d}")
    connection.close()


def schema_of(path: Path) -> list[tuple[object, ...]]:
    with sqlite3.connect(path) as connection:
        found = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY name").fetchall()
        tables = [name for kind, name, *_ in found if kind == "table"]
        found += [row for name in tables for row in connection.execute(f"PRAGMA table_info({name})")]
        found += connection.execute("PRAGMA user_version").fetchall()
    connection.close()
    return found


@pytest.mark.parametrize(("kind", "version"), SCHEMAS)
async def test_a_migrated_file_is_as_a_fresh_one(tmp_path: Path, kind: str, version: int) -> None:
    scripts = scripts_of(kind)
    of_schema(tmp_path / "old.sqlite", scripts, version)
    for name in ("old", "fresh"):
        connection = await open_writer(tmp_path / f"{name}.sqlite", scripts)
        await connection.close()
    assert schema_of(tmp_path / "old.sqlite") == schema_of(tmp_path / "fresh.sqlite")
    assert schema_of(tmp_path / "fresh.sqlite")[-1] == (newest_schema(kind),)


def test_the_first_script_is_as_it_was_released(tmp_path: Path) -> None:
    of_schema(tmp_path / "first.sqlite", scripts_of(SHARD), 1)
    shutil.copy(RELEASED, tmp_path / "released.sqlite")
    assert schema_of(tmp_path / "first.sqlite") == schema_of(tmp_path / "released.sqlite")


def test_every_kind_of_file_is_among_them() -> None:
    fleet = newest_schema(FLEET)
    assert len(SCHEMAS) == 3 + 2 + fleet + 1 and fleet >= 8  # with none yet


async def test_the_fleets_file_is_opened_and_migrated_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = path_of(tmp_path)
    of_schema(path, scripts_of(FLEET), 1)
    before = path.read_bytes()
    monkeypatch.setattr(folder, "LOCK_S", 0.2)
    with hold(tmp_path / "locks" / "fleet.lock", "somebody else"):
        with pytest.raises(LeaseLost, match="the fleet's database is held by process"):
            async with FleetStore.open(tmp_path):
                pass
        assert path.read_bytes() == before
        assert not path.with_name("fleet.sqlite-wal").exists()
    at = datetime(2026, 3, 1, tzinfo=UTC)
    accepted = Acceptance(endpoint="srv-1", at=at, who="somebody", reason="x", refusal=Refusal(asked="srv-1"))
    # Opening lets go of it, so what is done with the open file can take it.
    async with FleetStore.open(tmp_path) as store, alone(tmp_path), store.transaction():
        await store.add_acceptances([accepted])
    assert [one.endpoint for one in FleetFile(tmp_path).acceptances()] == ["srv-1"]


async def test_of_several_that_open_the_fleets_file_at_once_each_has_its_turn(tmp_path: Path) -> None:
    of_schema(path_of(tmp_path), scripts_of(FLEET), 1)

    async def one() -> int:
        async with FleetStore.open(tmp_path) as store:
            return await store.version()

    assert len(await asyncio.gather(*(one() for _ in range(4)))) == 4
