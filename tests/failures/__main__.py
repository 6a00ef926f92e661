"""`make faults`: the catalogue of field failures as a table: row, scenario, expected, seen."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from runner import Scenario, left_out, run_all, scenarios
from table import ROWS_OF_CATALOGUE, coverage, lines, records


def main() -> int:
    ask = argparse.ArgumentParser(prog="make faults", description=__doc__)
    ask.add_argument("rows", nargs="*", type=int, help="rows of the catalogue; without: all")
    ask.add_argument("--output", choices=("table", "json"), default="table")
    asked = ask.parse_args()
    chosen = [one for one in scenarios() if not asked.rows or one.row in asked.rows]
    began, count = time.monotonic(), 0

    def done(_: Scenario) -> None:
        nonlocal count
        count += 1
        if sys.stderr.isatty():
            end = "\n" if count == len(chosen) else ""
            print(f"\r{count} of {len(chosen)} scenarios", end=end, file=sys.stderr, flush=True)

    found = records(chosen, run_all(chosen, done=done))
    bad = len({record["file"] for record in found if record["wrong"]})
    excused = left_out()
    rows, unknown = coverage(chosen, excused) if not asked.rows else (len(set(asked.rows)), [])
    if asked.output == "json":
        summary = {"rows": rows, "scenarios": len(chosen), "not_as_expected": bad, "without_scenario": excused}
        print(json.dumps({"summary": summary, "results": found}, indent=1, ensure_ascii=False))
        return 1 if bad or unknown else 0
    for line in lines(found, colour=sys.stdout.isatty()):
        print(line)
    print()
    if not asked.rows:
        for row, reason in sorted(excused.items()):
            print(f"{row:>3}  not on loopback: {reason}")
        print(f"{rows} of {ROWS_OF_CATALOGUE} rows have a scenario", end=", ")
    print(f"{len(chosen)} scenarios, {bad} not as expected, {time.monotonic() - began:.0f} s")
    if unknown:
        print(f"rows with neither scenario nor reason: {', '.join(map(str, unknown))}")
    return 1 if bad or unknown else 0


if __name__ == "__main__":
    sys.exit(main())
