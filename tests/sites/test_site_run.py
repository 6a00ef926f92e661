"""`rmm site run` from its start to its end, where no hub can be reached."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import csv
import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from sites_world import World, enrolled_at

from rmm.bus.provision import make_streams
from rmm.core.sealing import unpressed
from rmm.resources import shipped
from rmm.site.control import DRAIN, STOP, Status, ask_to, read_status
from rmm.site_run import run_site

FEW = {"availability", "system", "memory"}


def bundle(config: Path, top: dict[str, Any], endpoints: list[dict[str, str]]) -> None:
    """As if it had been fetched."""
    place = config / "bundles" / "1"
    place.mkdir(parents=True)
    (place / "rmm.yaml").write_text(yaml.safe_dump(top), encoding="utf-8")
    with (place / "endpoints.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(endpoints[0]) if endpoints else ["ComputerName", "SiteId"])
        writer.writeheader()
        writer.writerows(endpoints)
    (config / "bundles" / "active").write_text("1\n", encoding="ascii")


@contextlib.asynccontextmanager
async def running(config: Path, said: list[str], how: str) -> AsyncIterator[None]:
    """The collector is at work, and ends as it is asked to."""
    task = asyncio.create_task(run_site(config, lambda: (config / "passphrase").read_text().strip(), said.append))
    try:
        yield
        ask_to(config / "data", how)
        assert await asyncio.wait_for(task, 30) == 0
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(config: Path, said: list[str], wanted: Callable[[Status], bool], wait_s: float) -> Status:
    end = asyncio.get_running_loop().time() + wait_s
    while (known := read_status(config / "data")) is None or not wanted(known):
        assert asyncio.get_running_loop().time() < end, (known, said)
        await asyncio.sleep(0.1)
    return known


async def enrolled(world: World) -> Path:
    """A collector's folder; the broker has what it needs, and there is no hub any more."""
    async with world.hub() as bus:
        await make_streams(bus.link, sites=world.sites)
        identity = await world.enrolled()
    return Path(identity.folder.parent)


@pytest.mark.slow
async def test_it_polls_whether_hub_and_broker_are_there_or_not(world: World, lab: Any) -> None:
    config = await enrolled(world)
    own = yaml.safe_load((lab.config / "rmm.yaml").read_text(encoding="utf-8"))
    names = {path.parent.name for path in shipped("collectors").glob("*/collector.yaml")}
    site = {**own["sites"][0], "id": "berlin", "shards": 2}
    with (lab.config / "endpoints.csv").open(encoding="utf-8", newline="") as file:
        rows = [{**row, "SiteId": "berlin"} for row in csv.DictReader(file)][:4]
    collectors = {"disable": sorted(names - FEW), "interval": dict.fromkeys(sorted(FEW), 15)}
    bundle(config, {"sites": [site], "collectors": collectors}, rows)
    for file in ("credentials.vault", "passphrase"):
        shutil.copy2(lab.config / file, config / file)
    for broker in ("there", "gone"):
        said: list[str] = []
        began = datetime.now(UTC)
        async with running(config, said, STOP):
            known = await until(config, said, lambda one, began=began: polled(one, began), 60)  # type: ignore[misc]
        assert any("4 of 4 endpoints polled" in line for line in said), (broker, said)
        assert broker == "there" or known.link == "down"
        assert known.beat.shards == (0, 1)
        assert known.beat.endpoints == 4
        assert known.beat.spooled >= 4
        assert not [one for one in known.beat.problems if "cannot be fetched" not in one]
        for server in world.servers:
            server.kill()
    stolen = dict(disk(config))
    assert {"credentials.vault", "site/identity.json", "bundles/1/rmm.yaml", "data/site/status.json"} <= set(stolen)
    assert len([name for name in stolen if name.startswith("outgoing entry")]) >= 8
    assert any("fleet.sqlite" in name for name in stolen)
    assert [name for name, content in stolen.items() if holds(content, lab.password)] == []
    assert holds((lab.config / "lab.json").read_bytes(), lab.password)  # where it does stand, it is found


def disk(config: Path) -> Iterator[tuple[str, bytes]]:
    """All files below a collector's folder, and what is compressed in its outgoing log; without the vault's passphrase.

    The passphrase is not on the disk of a site, unless somebody puts it there for an unattended start.
    """
    for path in sorted(config.rglob("*")):
        if path.is_file() and path != config / "passphrase":
            yield str(path.relative_to(config)), path.read_bytes()
    with contextlib.closing(sqlite3.connect(config / "data" / "outgoing" / "berlin.sqlite")) as log:
        for place, body, raw in log.execute("SELECT place, body, raw FROM entry WHERE raw > 0"):
            yield f"outgoing entry {place}", unpressed(body, raw)


def holds(data: bytes, secret: str) -> bool:
    """Whether the secret is there as text, as UTF-16, or as Base64 of either at any offset."""
    for text in (secret.encode(), secret.encode("utf-16-le")):
        forms = [text, *(base64.b64encode(b"\0" * n + text)[4 * (n > 0) : -4] for n in range(3))]
        if any(one in data for one in forms):
            return True
    return False


def polled(status: Status, since: datetime) -> bool:
    return status.beat.polled_at is not None and status.beat.polled_at > since and status.beat.spooled >= 4


async def test_what_is_wrong_with_the_link_says_what_to_do(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """In the status, and in the log: that no broker is there, and that the own certificate has ended."""
    config = await enrolled(world)
    expired = (await enrolled_at(world, timedelta(days=91))).folder.parent
    said: list[str] = []
    async with running(expired, said, STOP):
        known = await until(expired, said, lambda one: bool(one.trouble), 20)
        async with asyncio.timeout(20):
            while "enrol it again" not in caplog.text:
                await asyncio.sleep(0.1)
    assert known.link == "down"
    assert f"ended {known.beat.expires_at:%Y-%m-%d}" in known.trouble
    assert "rmm site enroll TOKEN" in known.trouble
    for server in world.servers:
        server.kill()
    caplog.clear()
    async with running(config, said, STOP):
        known = await until(config, said, lambda one: "Connect call failed" in one.trouble, 20)
    for text in (known.trouble, caplog.text):
        assert f"tls://127.0.0.1:{world.servers[0].port}" in text
        assert "Does the broker run there" in text


async def test_a_configuration_that_cannot_be_used_is_told_and_ends_nothing(world: World) -> None:
    config = await enrolled(world)
    for server in world.servers:
        server.kill()
    bundle(config, {"sites": [{"id": "berlin", "scheme": "gopher"}]}, [])
    said: list[str] = []
    async with running(config, said, DRAIN):
        known = await until(config, said, lambda one: bool(one.beat.problems), 20)
    assert "scheme" in known.beat.problems[0]
    assert known.beat.polled_at is None
