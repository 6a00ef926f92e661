"""A round of a site collector hands over what an earlier process left of shards that another one has by now."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from rmm.app import App, SiteCollector
from rmm.coordinator import Coordinator
from rmm.errors import LeaseLost
from rmm.loop import SystemClock
from rmm.model.observation import LEASE, Fault, Observation
from rmm.model.outgoing import Item
from rmm.model.round import PollRequest
from rmm.ports import Outlet
from rmm.settings.load import load_settings
from rmm.site.outlet import ForwardingOutlet
from rmm.tiers.layout import left_over
from rmm.tiers.shard_store import open_shard

RMM = "data: data\nsites:\n  - {id: berlin, name: Berlin, shards: 2, credential: poll}\n"
ENDPOINTS = "ComputerName,SiteId,Enabled\nsrv-1,berlin,true\n"


class Others:
    """Another collector has all shards."""

    def fence_of(self, site: str, shard: int) -> int:
        raise LeaseLost("another collector has it")


@pytest.mark.parametrize("lease", [5, 0])
async def test_it_goes_to_the_hub_with_the_lease_and_the_time_of_its_poll(tmp_path: Path, lease: int) -> None:
    """0: it was polled while this collector was alone at its site."""
    (tmp_path / "rmm.yaml").write_text(RMM, encoding="utf-8")
    (tmp_path / "endpoints.csv").write_text(ENDPOINTS, encoding="utf-8")
    app, at = App(load_settings(tmp_path), lambda: ""), datetime.now(UTC) - timedelta(minutes=10)
    seen = Observation(
        endpoint="srv-1", name="srv-1", site="berlin", shard=1, observed_at=at, duration_s=2.0, status="TIMEOUT",
        fault=Fault("tcp.timeout"), collectors={}, epoch="0" * 16, seq=1,
        telemetry={LEASE: float(lease)} if lease else {},
    )  # fmt: skip
    async with open_shard(app.data, "berlin", 1, fields={}, now=SystemClock().now) as store:
        await store.acknowledge(seen, None)  # and the process dies
    kept: list[Item] = []

    async def append(items: Sequence[Item]) -> None:
        kept.extend(items)

    fence = Others()

    @asynccontextmanager
    async def outlet(local: Outlet, coordinator: Coordinator) -> AsyncIterator[Outlet]:
        async with ForwardingOutlet.open(local, append, SystemClock(), fence_of=fence.fence_of) as one:
            yield one

    for _ in range(2):
        summary = await app.poll(
            PollRequest(mode="due", sites=("berlin",)), on_observation=lambda _: None, config=tmp_path,
            collector=SiteCollector((), fence, outlet, lambda _: None),
        )  # fmt: skip
        assert summary.tried == 0
    assert [(one.id, one.fence) for one in kept] == [(seen.id, lease)]
    assert not lease or kept[0].at == at + timedelta(seconds=2)
    assert msgspec.json.decode(kept[0].body, type=Observation) == seen
    assert left_over(app.data, "berlin", ()) == []
