"""Counters that the lab takes from samples go on growing, at the pace of the sample."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from rmm.catalog.load import load_catalog
from rmm.core.normalize import Normalizer
from rmm.core.parts import read_part
from rmm.lab.continued import continued, counters_of
from rmm.lab.engine_samples import SamplesEngine
from rmm.lab.fleet import LabFleet
from rmm.resources import shipped

STAMPS = {"Timestamp_Sys100NS": 9_000_000_000, "Timestamp_PerfTime": 77, "Frequency_PerfTime": 10}
BEFORE = {"Name": "a", "C": 100, "W": 2**31, "G": 5, "Timestamp_Sys100NS": 0, "Timestamp_PerfTime": 1}
ROW = {"Name": "a", "C": 400, "W": 2**32 - 1, "G": 6, "Timestamp_Sys100NS": 3_000_000_000, "Timestamp_PerfTime": 2}
ROW["Frequency_PerfTime"] = 1


def test_counters_grow_and_gauges_stay() -> None:
    (row,) = continued([ROW], [BEFORE], {"C": 0, "W": 32}, STAMPS, 900.0)
    assert row == {**ROW, **STAMPS, "C": 900, "W": (2**31 - 1) * 3 % 2**32}


def test_what_is_new_stands_still_and_what_has_no_clock_is_left_alone() -> None:
    assert continued([ROW], [], {"C": 0}, STAMPS, 900.0) == [{**ROW, **STAMPS}]
    bare = {"Name": "a", "C": 5}
    assert continued([bare], [BEFORE], {"C": 0}, STAMPS, 900.0) == [bare]


@pytest.mark.parametrize(
    ("name", "field", "kind"), [("tcp", "v4_sent_per_s", "server"), ("smb", "rx_b_per_s", "server")]
)
def test_a_machine_of_the_lab_has_the_rates_of_its_sample(
    fleet: LabFleet, started: datetime, name: str, field: str, kind: str
) -> None:
    catalog = load_catalog([shipped("collectors")])
    one, engine = catalog[name], SamplesEngine(catalog)
    machine = next(m for m in fleet if m.os.kind == kind)
    normalizer, counters = Normalizer(one.manifest), None
    text = f"Invoke-RmmCollector '{name}' {{\n#rmm:begin {name}\n{one.windows}\n#rmm:end {name}\n}}"
    found = []
    for seconds in (0, 60, 120):
        at = started + timedelta(seconds=seconds)
        (line,) = engine.execute(machine, text, [], at).output
        result = normalizer.read(read_part(line).document, counters=counters, observed_at=at)
        counters = result.counters
        found.append(result.readings[0][field])
    assert found[0] is None
    expected = {"tcp": 780.0, "smb": 1_000_000.0}[name]
    assert found[1:] == pytest.approx([expected, expected], rel=0.001)


def test_the_counters_of_a_manifest() -> None:
    catalog = load_catalog([shipped("collectors")])
    assert counters_of(catalog["processes"].manifest, "process") == {"PercentProcessorTime": 0, "IODataBytesPersec": 0}
    assert counters_of(catalog["tcp"].manifest, "v4")["SegmentsSentPersec"] == 32
    assert counters_of(catalog["tcp"].manifest, "nothing") == {}
