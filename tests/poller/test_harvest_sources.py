"""What WQL answers about an optional source is told as a script tells it: absent, denied, or what it has."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest

from rmm.core.normalize import Normalizer
from rmm.errors import TransportError
from rmm.model import observation as words
from rmm.model.collector import Collector, Field, Manifest, Source
from rmm.model.observation import CollectorResult
from rmm.poller.harvest import Harvest

STATUS = {"unsupported": words.UNSUPPORTED, "access_denied": words.ACCESS_DENIED}


def two_sources(rows: str) -> Collector:
    sources = {
        "a": Source(wql="SELECT N FROM A", optional=rows == "a"),
        "b": Source(wql="SELECT N FROM B", optional=True),
    }
    fields = {"n": Field(type="int", prop="N", source="a"), "other": Field(type="int", prop="N", source="b")}
    manifest = Manifest(
        name="two", title="two", schema=1, interval=60, timeout=5, cost="C1", owner="t",
        fields={"n": fields["n"]} if rows else fields, sources=sources, rows=rows,
    )  # fmt: skip
    return Collector(manifest=manifest, folder="", windows="x")


class Answers:
    """A session that refuses the classes of `refused` and has one instance of each other."""

    language = "powershell"
    peer: Mapping[str, str] = {}

    def __init__(self, refused: Mapping[str, str]) -> None:
        self.telemetry: dict[str, float] = {}
        self._refused = refused

    async def query(self, wql: str, *, namespace: str, deadline: float) -> list[dict[str, Any]]:
        if reason := self._refused.get(wql.rpartition(" ")[2]):
            raise TransportError("no", code="wmi.no", retry="R0", status=STATUS[reason])
        return [{"N": 7}]


async def read(rows: str, refused: Mapping[str, str]) -> CollectorResult:
    one = two_sources(rows)
    harvest = Harvest(
        cast(Any, SimpleNamespace(collectors={"two": one})),
        {"two": Normalizer(one.manifest)},
        ["two"],
        None,
        until=asyncio.get_running_loop().time() + 60,
        observed_at=datetime.now(UTC),
        recognise=lambda name: None,
    )
    await harvest.collect(cast(Any, Answers(refused)), cast(Any, SimpleNamespace(transport="wql", source="wql")))
    return harvest.results["two"]


@pytest.mark.parametrize(("reason", "outcome"), [("unsupported", "ok"), ("access_denied", "partial")])
async def test_an_optional_source_that_is_refused_costs_its_fields(reason: str, outcome: str) -> None:
    result = await read("", {"B": reason})
    assert (result.outcome, result.notes) == (outcome, {"other": reason})
    assert result.readings == ({"n": 7, "other": None},)


@pytest.mark.parametrize(("reason", "outcome"), [("unsupported", "ok"), ("access_denied", "partial")])
async def test_rows_that_are_refused_are_told(reason: str, outcome: str) -> None:
    result = await read("a", {"A": reason})
    assert (result.outcome, result.notes, result.readings) == (outcome, {"rows": reason}, ())


async def test_a_source_that_has_to_be_there_is_the_collectors_own_trouble() -> None:
    assert (await read("", {"A": "unsupported"})).outcome == "unsupported"
    assert (await read("", {"A": "access_denied"})).outcome == "fault"
