"""Samples become exactly the readings beside them; pages are fresh; the text form of WS-Enumeration changes nothing."""

from __future__ import annotations

import json
from typing import Any

from rmm.catalog.golden import expected_files, result_of
from rmm.catalog.load import load_catalog
from rmm.catalog.pages import with_fields
from rmm.model.collector import Collector
from rmm.model.observation import CollectorResult
from rmm.resources import shipped

NAMES = {path.parent.name for path in shipped("collectors").glob("*/collector.yaml")}
SESSION_FREE = {"availability", "self"}


def test_the_shipped_ones_are_there(catalog: dict[str, Collector]) -> None:
    assert set(catalog) == NAMES
    assert {name for name, c in catalog.items() if c.session_free} == SESSION_FREE
    assert {"system", "cpu", "memory", "volumes", "disk", "network"} <= {n for n, c in catalog.items() if c.wql}
    assert {n for n, c in catalog.items() if c.linux} >= {
        "system", "cpu", "memory", "volumes", "disk", "network", "services", "os", "hardware", "software",
    }  # fmt: skip


def test_everything_generated_is_fresh(catalog: dict[str, Collector]) -> None:
    stale = [
        str(path)
        for path, text in expected_files(list(catalog.values()))
        if not path.is_file() or path.read_text(encoding="utf-8") != text
    ]
    assert not stale, "run `make golden`"


def test_each_collector_has_typical_empty_degraded_and_not_english(samples: list[Any]) -> None:
    cases: dict[str, set[str]] = {}
    for sample in samples:
        cases.setdefault(sample.collector.name, set()).add(sample.case.rpartition("-")[2])
    for name in NAMES:
        assert {"typical", "empty", "degraded", "german"} <= cases[name], name


def test_rows_have_every_field_and_unique_keys(samples: list[Any]) -> None:
    for sample in samples:
        manifest = sample.collector.manifest
        rows = result_of(manifest, sample.content).readings
        keys = [tuple(row[name] for name in manifest.key) for row in rows]
        assert len(set(keys)) == len(keys)
        for row in rows:
            assert set(row) == set(manifest.fields), sample.path
            assert None not in [row[name] for name in manifest.key]


def test_the_text_form_gives_equal_readings(samples: list[Any]) -> None:
    """WS-Enumeration gives text for everything, an array of one item as that item, and nothing for null."""
    seen = 0
    for sample in samples:
        if not sample.collector.wql:
            continue
        content = json.loads(json.dumps(sample.content))
        for poll in (content, content.get("previous", {})):
            if "document" in poll:
                poll["document"] = as_text(poll["document"])
        assert strict(result_of(sample.collector.manifest, content)) == strict(
            result_of(sample.collector.manifest, sample.content)
        ), sample.path
        seen += 1
    assert seen >= 28


def strict(result: CollectorResult) -> str:
    """JSON text, in which 1 and 1.0 differ."""
    return json.dumps([result.readings, result.notes, result.counters], sort_keys=True)


def as_text(document: dict[str, Any]) -> dict[str, Any]:
    def plain(value: Any) -> Any:
        if isinstance(value, list):
            return plain(value[0]) if len(value) == 1 else [plain(item) for item in value]
        if isinstance(value, bool):
            return "true" if value else "false"
        return value if value is None else str(value)

    return {
        source: [{key: plain(value) for key, value in row.items()} for row in rows] for source, rows in document.items()
    }


def test_notes_by_hand_survive_in_a_page(catalog: dict[str, Collector]) -> None:
    page = with_fields("", catalog["disk"])
    noted = "Before.\n\n" + page + "\n## Notes\n\nMine.\n"
    assert with_fields(noted.replace("Average time of a read", "stale"), catalog["disk"]) == noted


def test_a_first_poll_has_no_rates_and_says_so(catalog: dict[str, Collector], samples: list[Any]) -> None:
    sample = next(s for s in samples if s.collector.name == "cpu" and s.case == "server2022-typical")
    first = result_of(sample.collector.manifest, {**sample.content, "previous": None})
    assert first.outcome == "ok"
    assert first.notes["util_pct"] == "no_data_yet"
    assert all(row["util_pct"] is None for row in first.readings)
    assert first.counters


def test_the_catalogue_loads_in_the_order_of_names() -> None:
    assert list(load_catalog([shipped("collectors")])) == sorted(NAMES)
