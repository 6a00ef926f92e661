"""What a collector that is read by WQL says of a class that the endpoint lacks: the same as its script says."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from rounds import Bench, Session, Sleepy

from rmm.catalog.golden import result_of
from rmm.catalog.load import load_catalog
from rmm.errors import UnsupportedError
from rmm.loop import SystemClock
from rmm.model.collector import Collector
from rmm.model.endpoint import Endpoint, Target
from rmm.model.observation import CollectorResult
from rmm.poller.kit import Kit
from rmm.poller.visit import Visitor
from rmm.resources import shipped


class Answering(Sleepy):  # type: ignore[misc]  # rounds lies beside the tests, outside of any package
    """Sessions that answer queries from a document; a source that is in `lacking` has no class there."""

    def __init__(self, collector: Collector, document: dict[str, Any], lacking: set[str]) -> None:
        super().__init__(lambda _: 0.0)
        sources = collector.manifest.sources
        self.answers = {(s.namespace, s.wql): None if n in lacking else document[n] for n, s in sources.items()}

    @contextlib.asynccontextmanager
    async def session(self, target: Target, *, deadline: float) -> AsyncIterator[Any]:
        session = Session()

        async def query(wql: str, *, namespace: str = "root/cimv2", deadline: float) -> list[dict[str, Any]]:
            found: list[dict[str, Any]] | None = self.answers.get((namespace, wql))
            if found is None:
                raise UnsupportedError("no class")
            return found

        session.query = query
        session.language = "powershell"
        yield session


async def by_query(collector: Collector, sample: dict[str, Any], data: Path) -> CollectorResult:
    document = sample["document"]
    lacking = {note["Source"] for note in document["notes"] if note["Reason"] == "unsupported"}
    bench = Bench(data, Answering(collector, document, lacking), concurrency=1, timeout=30.0)
    kit = bench.kit("k", SystemClock())
    target = msgspec.structs.replace(kit.target(Endpoint(id="e", name="E", site="hq")), source="wql")
    kit = Kit(
        **{name: getattr(kit, name) for name in kit.__struct_fields__}
        | {"collectors": {collector.name: collector}, "intervals": {collector.name: 60}, "target": lambda _: target}
    )
    visitor = Visitor(kit)
    seen = await visitor.visit(Endpoint(id="e", name="E", site="hq"), 0, 1, (collector.name,), None)
    return seen.collectors[collector.name]


@pytest.mark.parametrize(
    ("name", "case"),
    [("defender", "windows11-empty"), ("defender", "server2022-typical"), ("antivirus", "server2022-typical")],
)
async def test_a_class_that_is_not_there_reads_as_in_the_script_form(name: str, case: str, tmp_path: Path) -> None:
    collector = load_catalog([shipped("collectors")])[name]
    path = Path(collector.folder) / "samples" / f"{case}.raw.json"
    sample = {**json.loads(path.read_text(encoding="utf-8")), "observed_at": datetime.now(UTC).isoformat()}
    seen, scripted = await by_query(collector, sample, tmp_path), result_of(collector.manifest, sample)
    assert (seen.outcome, seen.readings, seen.notes) == ("ok", scripted.readings, scripted.notes)
