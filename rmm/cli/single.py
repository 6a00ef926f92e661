"""How one run of one collector is shown."""

from __future__ import annotations

import json
from typing import Any

from rmm.cli.printing import clean, csv_text
from rmm.cli.show import print_readings, spent_on
from rmm.model.collector import Collector
from rmm.poller.single import Single

MOST_LINES = 60  # of the raw document, for people


def print_single(collector: Collector, single: Single, output: str) -> None:
    """As a page for people, as one document, or its readings as CSV."""
    if output in ("json", "ndjson"):
        document = _document(collector, single)
        print(json.dumps(document, ensure_ascii=False, indent=1 if output == "json" else None, default=str))
    elif output == "csv":
        rows = list(single.result.readings) if single.result else []
        print(csv_text(rows, list(collector.manifest.fields)), end="")
    else:
        _page(collector, single)


def _document(collector: Collector, single: Single) -> dict[str, Any]:
    seen, result = single.observation, single.result
    fault = seen.fault or (result.fault if result else None)
    return {
        "collector": collector.name,
        "endpoint": seen.endpoint,
        "outcome": result.outcome if result else None,
        "gather_ms": result.gather_ms if result else None,
        "bytes": result.bytes if result else None,
        "duration_s": seen.duration_s,
        "telemetry": seen.telemetry,
        "fault": {"code": fault.code, "message": fault.message, "hint": fault.hint} if fault else None,
        "notes": result.notes if result else {},
        "document": single.document,
        "readings": list(result.readings) if result else [],
    }


def _page(collector: Collector, single: Single) -> None:
    seen, result = single.observation, single.result
    outcome = result.outcome if result else seen.status
    print(clean(f"{collector.name} on {seen.name} ({seen.endpoint}): {outcome}"))
    fault = seen.fault or (result.fault if result else None)
    if fault is not None:
        print(clean(f"fault {fault.code}: {fault.message}"))
        print(clean(f"  fix: {fault.hint}"))
    if result is not None:
        print(f"{result.gather_ms:.0f} ms there, {result.bytes} bytes, {seen.duration_s:.2f} s in all")
    if spent := spent_on(seen.telemetry):
        print(spent)
    if single.document is not None:
        lines = json.dumps(single.document, ensure_ascii=False, indent=1).splitlines()
        print("\nraw document:")
        for line in lines[:MOST_LINES]:
            print(clean(line))
        if len(lines) > MOST_LINES:
            print(f"... and {len(lines) - MOST_LINES} more lines; --output json has all")
    if result is not None and result.readings:
        print("\nreadings:")
        print_readings(list(result.readings), whole=False)
        for field, note in result.notes.items():
            print(clean(f"  {field}: {note}"))
