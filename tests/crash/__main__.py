"""`make crash`, or `python -m tests.crash`: crashes and losses of power at every moment; ends with 1 when any harms."""

from __future__ import annotations

import argparse
import secrets
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.crash import sweep, trace


def moments(options: argparse.Namespace) -> int:
    """Every change of the disk in one full cycle: killed there, and power lost there."""
    if reason := trace.why_not():
        print(f"SKIP: kills and losses of power at every moment: {reason}")
        return 0
    with tempfile.TemporaryDirectory(prefix="rmm-crash-") as folder:
        verdict = sweep.sweep(
            sweep.record(Path(folder)), seeds=options.seeds, seed=options.seed, every=options.every, said=print
        )
    for variant, count in verdict.states.items():
        print(f"{count:>7} moments, {verdict.judged[variant]:>7} different states judged: {variant}")
    return conclude("every moment of a cycle", verdict)


def conclude(name: str, verdict: sweep.Verdict) -> int:
    print(
        f"{name}: {sum(verdict.judged.values())} states judged, {len(verdict.findings)} wrong, {verdict.seconds:.0f} s"
    )
    for where, wrong in verdict.findings[:20]:
        print(f"    WRONG {where}")
        for what in wrong[:5]:
            print(f"        {what}")
    return len(verdict.findings)


PARTS: dict[str, Callable[[argparse.Namespace], int]] = {"moments": moments}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__)
    parser.add_argument("--part", action="append", choices=PARTS, help="only this one; may be repeated")
    parser.add_argument("--seed", type=int, default=None, help="of an earlier run, to have the same again")
    parser.add_argument("--seeds", type=int, default=2, help="random losses of power per moment (2)")
    parser.add_argument("--every", type=int, default=1, help="only each so many-th moment (1)")
    options = parser.parse_args()
    options.seed = secrets.randbits(32) if options.seed is None else options.seed
    print(f"seed {options.seed}", flush=True)
    wrong = sum(PARTS[name](options) for name in options.part or PARTS)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
