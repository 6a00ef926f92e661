"""`rmm sites` shows what the hub's database has."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hubside import Given, Keys, Site, Time, coordinator, observation, plan, watch_of
from typer.testing import CliRunner

from rmm.channels.memory import MemoryChannel
from rmm.cli.main import build
from rmm.hub.hub import Hub
from rmm.ports import Told


@pytest.fixture
def config(tmp_path: Path, keys: Keys) -> Path:
    """A hub's folder: berlin is heard, lyon is silent, oslo was never heard."""
    folder = tmp_path / "config"
    folder.mkdir()
    (folder / "rmm.yaml").write_text(
        f"data: {tmp_path / 'data'}\nsites:\n" + "".join(f"  - {{id: {s}}}\n" for s in ("berlin", "lyon", "oslo"))
    )
    listed = [f"SRV-{n},{site},{site}-{n}" for site in ("berlin", "lyon", "oslo") for n in range(3)]
    (folder / "endpoints.csv").write_text("\n".join(["ComputerName,SiteId,Id", *listed, ""]))
    asyncio.run(_filled(tmp_path / "data", keys))
    return folder


async def _filled(data: Path, keys: Keys) -> None:
    clock = Time()
    clock.at = datetime.now(UTC) - timedelta(hours=1)
    owners = {f"{site}-{n}": site for site in ("berlin", "lyon", "oslo") for n in range(3)}
    async with (
        coordinator(data, clock, MemoryChannel("memory")) as folding,
        Hub.open(data, folding, plan(("berlin", "lyon", "oslo"), owners, clock), keys.trust, clock) as hub,
    ):
        berlin, lyon = Site(keys, "berlin"), Site(keys, "lyon")
        watch_of(hub).hear(Told(*lyon.beat(clock.at)))
        clock.at = datetime.now(UTC)
        watch_of(hub).hear(
            Told(
                *berlin.beat(
                    clock.at, bundle="7", spooled=12, spool_bytes=3_000_000, oldest=clock.at - timedelta(seconds=90),
                    expires_at=clock.at + timedelta(days=60, hours=1), problems=("a disk is slow",), refused=4,
                )
            )
        )  # fmt: skip
        for number in range(6):
            berlin.observe(observation("berlin", "berlin-0", clock.at, number + 1), fence=4)
        lost = Given(berlin.subject, b"nothing")
        await hub.ingest.take([Given(berlin.subject, berlin.sealed(berlin.entries[2:])), lost])
        clock.add(seconds=6)
        await watch_of(hub).look()


def asked(config: Path, *words: str) -> str:
    result = CliRunner().invoke(build(["sites"]), ["sites", *words, "--config", str(config)])
    assert result.exit_code == 0, result.output
    return result.stdout


def as_json(config: Path, *words: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(asked(config, *words, "--output", "json"))
    return found


def test_list(config: Path) -> None:
    berlin, lyon, oslo = as_json(config, "list")
    expected = {
        "site": "berlin", "state": "heard", "endpoints": 3, "collectors": 1, "lag_s": 90, "spooled": 12, "missing": 2,
    }  # fmt: skip
    assert {key: berlin[key] for key in expected} == expected
    assert (berlin["refused"], lyon["state"], oslo["state"]) == (1, "silent", "never heard")
    assert asked(config, "list").splitlines()[1].split()[:3] == ["berlin", "heard", "3"]
    assert asked(config, "list", "--output", "csv").splitlines()[2].startswith("lyon,silent,3,1,")


def test_lag(config: Path) -> None:
    assert [row["site"] for row in as_json(config, "lag")] == ["berlin", "lyon"]
    (row,) = as_json(config, "lag", "--site", "berlin")
    assert (row["lag_s"], row["spool_mb"], row["certificate_days"], row["bundle"]) == (90, 3.0, 60.0, "7")
    assert row["config_refused"] == 4
    assert asked(config, "lag", "--site", "oslo").strip() == "nothing was heard yet"


def test_show(config: Path) -> None:
    (row,) = as_json(config, "show", "berlin")
    assert [one["missing"] for one in row["epochs"]] == [2]
    assert [(one["shard"], one["fence"]) for one in row["leases"]] == [(0, 4)]
    assert [(one["reason"], one["number"]) for one in row["refusals"]] == [("envelope.format", 1)]
    text = asked(config, "show", "berlin")
    for part in ("collectors", "epochs", "leases", "refusals", "a disk is slow"):
        assert part in text
    assert "{" not in text  # a number of collectors at the top, and not all that is known of them


def test_before_there_is_a_hub_and_for_an_unknown_site(config: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(build(["sites"]), ["sites", "show", "paris", "--config", str(config)])
    assert "there is no site 'paris'" in str(result.exception)
    (tmp_path / "data" / "fleet.sqlite").unlink()
    assert {row["state"] for row in as_json(config, "list")} == {"never heard"}


def test_a_damaged_row_is_told(config: Path, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "data" / "fleet.sqlite") as connection:
        connection.execute("UPDATE site_mark SET body = '{'")
    connection.close()
    result = CliRunner().invoke(build(["sites"]), ["sites", "list", "--config", str(config)])
    assert getattr(result.exception, "code", "") == "tier.damaged"
