"""Samples and what they must become: `python -m rmm.catalog.golden [FOLDER ...]` writes readings and pages anew.

`samples/<os>-<case>.raw.json` holds `document`, `observed_at` (when it was taken) and, where rates matter, `previous`
(the same two of the poll before). `<os>-<case>.readings.json` beside it holds the result.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from rmm.catalog.load import load_catalog
from rmm.catalog.pages import PAGE, with_fields
from rmm.core.normalize import Normalizer
from rmm.model.collector import Collector, Manifest
from rmm.model.observation import CollectorResult
from rmm.resources import shipped

RAW, READINGS = ".raw.json", ".readings.json"


def result_of(manifest: Manifest, sample: dict[str, Any]) -> CollectorResult:
    """The result of a sample, with the counters of its previous poll."""
    normalizer = Normalizer(manifest)
    counters = None
    if previous := sample.get("previous"):
        at = datetime.fromisoformat(previous["observed_at"])
        counters = normalizer.read(previous["document"], counters=None, observed_at=at).counters
    at = datetime.fromisoformat(sample["observed_at"])
    return normalizer.read(sample["document"], counters=counters, observed_at=at)


def readings_text(manifest: Manifest, raw: Path) -> str:
    """What the readings file beside `raw` must hold."""
    result = result_of(manifest, json.loads(raw.read_text(encoding="utf-8")))
    rows = ",\n    ".join(json.dumps(row, ensure_ascii=False) for row in result.readings)
    notes = json.dumps(result.notes)
    listed = f"[\n    {rows}\n  ]" if rows else "[]"
    return f'{{\n  "outcome": "{result.outcome}",\n  "notes": {notes},\n  "readings": {listed}\n}}\n'


def expected_files(collectors: Sequence[Collector]) -> Iterator[tuple[Path, str]]:
    """Every file that is made from others, with what it must hold."""
    for collector in collectors:
        folder = Path(collector.folder)
        for raw in sorted((folder / "samples").glob(f"*{RAW}")):
            yield raw.with_name(raw.name.removesuffix(RAW) + READINGS), readings_text(collector.manifest, raw)
        page = folder / PAGE
        text = page.read_text(encoding="utf-8") if page.is_file() else ""
        yield page, with_fields(text, collector)


def write_expected(collectors: Sequence[Collector]) -> list[Path]:
    """Write what is missing or not as it must be; returns what was written."""
    written = []
    for path, text in expected_files(collectors):
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8", newline="\n")
            written.append(path)
    return written


def main() -> None:
    """The command."""
    folders = [Path(name) for name in sys.argv[1:]] or [shipped("collectors")]
    for path in write_expected(list(load_catalog(folders).values())):
        sys.stdout.write(f"wrote {path}\n")


if __name__ == "__main__":
    main()
