"""The commands for the whole fleet, with `--site`, on what two sites sent through a hub."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hubside import Keys, Receiver, Site, idle, observation, until
from typer.testing import CliRunner

from rmm.app import App
from rmm.bus.memory import MemoryBus
from rmm.cli.main import build
from rmm.errors import ConfigError
from rmm.hub_run import run_hub
from rmm.model.envelope import Marks
from rmm.settings.load import load_settings

NOW = datetime.now(UTC).replace(microsecond=0)
ROUNDS, ENDPOINTS = 5, 4


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hub's folder. Of berlin one endpoint is busy, of lyon one cannot be reached, and so the site says."""
    folder = tmp_path_factory.mktemp("whole") / "config"
    folder.mkdir()
    (folder / "rmm.yaml").write_text("data: data\nsites: [{id: berlin, shards: 2}, {id: lyon}, {id: oslo}]\n")
    listed = [f"{site.upper()}-{n},{site},{site}-{n}" for site in ("berlin", "lyon", "oslo") for n in range(ENDPOINTS)]
    (folder / "endpoints.csv").write_text("\n".join(["ComputerName,SiteId,Id", *listed, ""]))
    asyncio.run(_sent(folder))
    return folder


async def _sent(config: Path) -> None:
    app, keys = App(load_settings(config), lambda: ""), Keys(("berlin", "c1"), ("lyon", "c1"))
    bus, ready = MemoryBus(), asyncio.Event()
    sites = [Site(keys, "berlin"), Site(keys, "lyon")]
    for site in sites:
        for number in range(ROUNDS):
            at = NOW - timedelta(minutes=5 * (ROUNDS - number))
            for n in range(ENDPOINTS):
                site.observe(observed(site.id, n, at, number + 1))
            site.round_over(at, planned=ENDPOINTS, tried=ENDPOINTS)
    heard = Receiver(keys)

    @asynccontextmanager
    async def opened() -> AsyncIterator[MemoryBus]:
        yield bus

    hub = asyncio.create_task(run_hub(app, opened, keys.trust, ready=ready.set))
    listening = asyncio.create_task(heard.listen(bus))
    try:
        await ready.wait()
        for site in sites:
            for sealed in site.envelopes(ENDPOINTS + 1):
                await bus.publish(site.subject, sealed)
        await until(lambda: all(heard.marks(one) == Marks(len(one.entries)) for one in sites) and idle(bus))
    finally:
        for task in (listening, hub):
            task.cancel()
        await asyncio.gather(listening, hub, return_exceptions=True)


def observed(site: str, n: int, at: datetime, seq: int) -> Any:
    if site == "lyon" and n == 2 and seq > ROUNDS - 2:
        return observation(site, f"{site}-{n}", at, seq, status="TIMEOUT")
    return observation(site, f"{site}-{n}", at, seq, busy=97.0 if site == "berlin" and n == 1 else 20.0 + n)


def asked(config: Path, *words: str) -> str:
    result = CliRunner().invoke(build([words[0]]), [*words, "--config", str(config)], standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return result.stdout


def as_json(config: Path, *words: str) -> Any:
    return json.loads(asked(config, *words, "--output", "json"))


@pytest.mark.parametrize(("site", "odd", "status"), [("berlin", 1, "OK"), ("lyon", 2, "TIMEOUT")])
def test_status(config: Path, site: str, odd: int, status: str) -> None:
    rows = as_json(config, "status", "--site", site)
    assert sorted(row["endpoint"] for row in rows) == [f"{site}-{n}" for n in range(ENDPOINTS)]
    assert rows[0]["endpoint"] == f"{site}-{odd}"  # worst first
    assert {row["endpoint"]: row["status"] for row in rows} == {
        f"{site}-{n}": status if n == odd else "OK" for n in range(ENDPOINTS)
    }
    assert len(as_json(config, "status")) == 3 * ENDPOINTS
    assert {row["status"] for row in as_json(config, "status", "--site", "oslo")} == {""}  # nothing came of it


@pytest.mark.parametrize(
    ("site", "rule", "endpoint"), [("berlin", "cpu_high", "berlin-1"), ("lyon", "endpoint_unreachable", "lyon-2")]
)
def test_alerts(config: Path, site: str, rule: str, endpoint: str) -> None:
    rows = as_json(config, "alerts", "list", "--site", site)
    assert [(row["site"], row["rule"], row["endpoint"], row["severity"]) for row in rows] == [
        (site, rule, endpoint, "critical")
    ]
    assert len(as_json(config, "alerts", "list")) == 2
    assert as_json(config, "alerts", "list", "--site", "oslo") == []
    assert endpoint.upper() in asked(config, "alerts", "list", "--site", site)


@pytest.mark.parametrize("site", ["berlin", "lyon"])
def test_history(config: Path, site: str) -> None:
    rows = as_json(config, "history", "cpu.util_pct[_Total]", "--site", site, "--summary", "--since", "2h")
    assert {row["endpoint"]: row["count"] for row in rows} == {
        f"{site.upper()}-{n}": ROUNDS - 2 * (site == "lyon" and n == 2) for n in range(ENDPOINTS)
    }
    means = {row["endpoint"]: row["mean"] for row in rows}
    assert means[f"{site.upper()}-1"] == pytest.approx(97.0 if site == "berlin" else 21.0)
    points = as_json(config, "history", f"{site}-0", "cpu.util_pct[_Total]", "--step", "raw", "--since", "2h")
    assert len(points) == ROUNDS


@pytest.mark.parametrize("site", ["berlin", "lyon"])
def test_query(config: Path, site: str) -> None:
    found = as_json(config, "query", "cpu.util_pct > 90", "--site", site)
    assert {row["endpoint.name"] for row in found} == ({"BERLIN-1"} if site == "berlin" else set())
    every = as_json(config, "query", "services.state == 'Running'", "--site", site)
    assert {row["endpoint.name"] for row in every} == {f"{site.upper()}-{n}" for n in range(ENDPOINTS)}


@pytest.mark.parametrize(("site", "endpoint"), [("berlin", "BERLIN-1"), ("lyon", "LYON-2")])
def test_report(config: Path, site: str, endpoint: str, tmp_path: Path) -> None:
    other = {"berlin": "LYON", "lyon": "BERLIN"}[site]
    for name in ("alerts", "performance", "uptime"):
        file = tmp_path / f"{name}.csv"
        asked(config, "report", name, "--site", site, "--last", "1d", "--out", str(file))
        text = file.read_text(encoding="utf-8-sig")
        assert endpoint in text, name
        assert other not in text, name
        assert len(list(csv.reader(io.StringIO(text)))) > 1


@pytest.mark.parametrize(
    "words",
    [
        ["status"], ["alerts", "list"], ["history", "cpu.util_pct"], ["query", "cpu.util_pct > 1"],
        ["report", "alerts"],
    ],
)  # fmt: skip
def test_a_site_that_there_is_not(config: Path, words: list[str], tmp_path: Path) -> None:
    out = ["--out", str(tmp_path / "x.csv")] if words[0] == "report" else []
    with pytest.raises(ConfigError, match=r"'paris'.*berlin, lyon, oslo"):
        asked(config, *words, "--site", "paris", *out)
