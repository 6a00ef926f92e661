"""`make faults`: the catalogue of field failures as a table: row, scenario, expected, seen. Arguments: rows to run."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from runner import left_out, run_all, scenarios, table


def main() -> int:
    rows = {int(word) for word in sys.argv[1:]}
    chosen = [one for one in scenarios() if not rows or one.row in rows]
    results = asyncio.run(run_all(chosen))
    lines, bad = table(chosen, results)
    print("\n".join(lines))
    shown = {one.row for one in chosen}
    if not rows:
        missing = left_out()
        for row, reason in sorted(missing.items()):
            print(f"{row:>3}  not on loopback: {reason}")
        print(f"\n{len(shown)} of 102 rows implemented, {len(chosen)} scenarios, {bad} not as expected")
        unknown = set(range(1, 103)) - shown - set(missing)
        if unknown:
            print(f"rows without scenario or reason: {sorted(unknown)}")
            bad += 1
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
