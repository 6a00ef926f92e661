"""Samples keep their age: a lab that starts next year shows no backup that is a year old."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rmm.catalog.bundle import powershell_bundle
from rmm.catalog.load import load_catalog
from rmm.core.normalize import Normalizer
from rmm.core.parts import read_part
from rmm.lab.engine_samples import SamplesEngine
from rmm.lab.fleet import LabFleet
from rmm.lab.moved import age_of, moved
from rmm.resources import shipped

DAY = timedelta(days=1)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("2026-11-20T10:00:00Z", "2026-11-21T10:00:00Z"),
        ("2026-11-20T10:00:00.1234567Z", "2026-11-21T10:00:00.1234567Z"),
        ("2026-11-20 10:00:00", "2026-11-21 10:00:00"),
        ('{"at":"2026-12-31T23:59:59Z","n":1}', '{"at":"2027-01-01T23:59:59Z","n":1}'),
        (["2026-11-20T10:00:00Z"], ["2026-11-21T10:00:00Z"]),
        ("1601-01-01T00:00:00Z", "1601-01-01T00:00:00Z"),
        ("2009-07-14T00:00:00Z", "2009-07-14T00:00:00Z"),
        ("20260101", "20260101"),
        ("2026-11-20", "2026-11-20"),
        ("since 2026-11-20T10:00:00Z", "since 2026-11-20T10:00:00Z"),
        ("20.1.2026-11-20 10:00:00", "20.1.2026-11-20 10:00:00"),
        (5, 5),
        (None, None),
    ],
)
def test_times_move(before: Any, after: Any) -> None:
    assert moved({"x": before}, DAY) == {"x": after}


def test_what_is_signed_stays() -> None:
    row = {"NotAfter": "2026-11-20T10:00:00Z", "Seen": "2026-11-20T10:00:00Z"}
    assert moved({"a": [row]}, DAY) == {"a": [{**row, "Seen": "2026-11-21T10:00:00Z"}]}


def test_the_age_of_a_sample() -> None:
    started = datetime(2026, 11, 21, 10, tzinfo=UTC).timestamp()
    assert age_of({"observed_at": "2026-11-20T10:00:00Z"}, started) == DAY
    assert age_of({}, started) == timedelta()


@pytest.mark.parametrize("year", [2026, 2029])
def test_no_lab_is_older_than_its_samples(year: int) -> None:
    catalog = load_catalog([shipped("collectors")])
    engine = SamplesEngine(catalog)
    started = datetime(year, 12, 1, tzinfo=UTC)
    machine = LabFleet(1, started=started, profiles=["server2022-member-healthy"])[0]
    backup = catalog["backup"]
    (line,) = engine.execute(machine, powershell_bundle([backup]).text, [], started + timedelta(hours=1)).output
    result = Normalizer(backup.manifest).read(read_part(line).document, counters=None, observed_at=started)
    assert 0 <= result.readings[0]["age_h"] < 48
