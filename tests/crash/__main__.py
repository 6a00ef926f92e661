"""`make crash`, or `python -m tests.crash`: crashes and losses of power at every moment; ends with 1 when any harms."""

from __future__ import annotations

import argparse
import secrets
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.crash import clocks, failing, flips, full, kills, pieces, sweep, trace

Finding = tuple[str, list[str]]


def moments(options: argparse.Namespace) -> int:
    """Every change of the disk in one full cycle: killed there, and power lost there."""
    if reason := trace.why_not():
        print(f"SKIP: kills and losses of power at every moment: {reason}")
        return 0
    with tempfile.TemporaryDirectory(prefix="rmm-crash-") as folder:
        chosen = options.seeds, options.seed, options.every
        verdict = pieces.whole(Path(options.keep or folder), chosen, options.jobs, said)
    for variant, count in verdict.states.items():
        print(f"{count:>7} moments, {verdict.judged[variant]:>7} different states judged: {variant}")
    print(f"{verdict.points} moments, {sum(verdict.judged.values())} states judged")
    return conclude("every moment of a cycle", verdict.findings, verdict.seconds)


def random_kills(options: argparse.Namespace) -> int:
    """A process at work over a store that goes on growing, killed again and again."""
    if sys.platform == "win32":
        print("SKIP: kills at random moments: they need fork")
        return 0
    with tempfile.TemporaryDirectory(prefix="rmm-crash-") as folder:
        toll = kills.run(Path(folder), options.kills, options.seed, said)
    for step, count in toll.steps.most_common():
        print(f"{count:>7} times killed in: {step}")
    print(
        f"{toll.kills} kills, {toll.acknowledged} observations acknowledged, {toll.bytes} bytes in the store, "
        f"{toll.days} days of it in the archive"
    )
    return conclude("kills at random moments", toll.findings, toll.seconds)


def flipped_bits(options: argparse.Namespace) -> int:
    """One bit after the other turns over, in every kind of file."""
    if reason := trace.why_not():
        print(f"SKIP: flipped bits, in stores that a recorded cycle left: {reason}")
        return 0
    with tempfile.TemporaryDirectory(prefix="rmm-crash-") as folder:
        result = flips.run(sweep.record(Path(folder)), options.flips, options.seed)
    for kind, outcomes in result.outcomes.items():
        told = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.most_common())
        note = " (not all can be found)" if kind in flips.WITHOUT_CHECKSUM else ""
        print(f"{kind:>23}: {told}{note}")
    return conclude("flipped bits", result.findings, result.seconds)


def set_clocks(options: argparse.Namespace) -> int:
    """The clock is set while rounds go on, and set right again."""
    with tempfile.TemporaryDirectory(prefix="rmm-crash-") as folder:
        findings, seconds = clocks.run(Path(folder))
    return conclude(f"clocks set {', '.join(clocks.STEPS)}, and right again", findings, seconds)


def shortages(options: argparse.Namespace) -> int:
    """The disk is full, or read-only, at every step."""
    if reason := full.why_not():
        print(f"SKIP: full and read-only disks at every step: {reason}")
        return 0
    with tempfile.TemporaryDirectory(prefix="rmm-crash-") as folder:
        result = full.run(Path(folder))
    told = ", ".join(f"{count} {outcome}" for outcome, count in result.outcomes.most_common())
    print(f"steps on full and read-only disks: {told}")
    return conclude("full and read-only disks at every step", result.findings, result.seconds)


def failing_calls(options: argparse.Namespace) -> int:
    """The disk is full, or fails once, at every call that changes it."""
    if reason := failing.why_not():
        print(f"SKIP: failing calls: {reason}")
        return 0
    with tempfile.TemporaryDirectory(prefix="rmm-crash-") as folder:
        result = failing.run(Path(folder), options.jobs, options.every, said)
    for outcome, count in result.outcomes.most_common():
        print(f"{count:>7} {outcome}")
    return conclude("the disk full, or failing, at every call", result.findings, result.seconds)


def said(line: str) -> None:
    print(line, flush=True)


def conclude(name: str, findings: Sequence[Finding], seconds: float) -> int:
    print(f"{name}: {len(findings)} wrong, {seconds:.0f} s", flush=True)
    for where, wrong in findings[:20]:
        print(f"    WRONG {where}")
        for what in wrong[:5]:
            print(f"        {what}")
    return len(findings)


PARTS: dict[str, Callable[[argparse.Namespace], int]] = {
    "moments": moments,
    "kills": random_kills,
    "flips": flipped_bits,
    "clocks": set_clocks,
    "full": shortages,
    "failing": failing_calls,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__)
    parser.add_argument("--part", action="append", choices=PARTS, help="only this one; may be repeated")
    parser.add_argument("--seed", type=int, default=None, help="of an earlier run, to have the same again")
    parser.add_argument("--seeds", type=int, default=2, help="random losses of power per moment (2)")
    parser.add_argument("--every", type=int, default=1, help="only each so many-th moment (1)")
    parser.add_argument("--jobs", type=int, default=pieces.processors(), help="processes at work on moments (all)")
    parser.add_argument("--keep", help="a folder for the recorded cycle and what was judged of it, to go on later")
    parser.add_argument("--kills", type=int, default=1000, help="kills at random moments (1000)")
    parser.add_argument("--flips", type=int, default=150, help="flipped bits per kind of file (150)")
    options = parser.parse_args()
    options.seed = secrets.randbits(32) if options.seed is None else options.seed
    print(f"seed {options.seed}", flush=True)
    wrong = sum(PARTS[name](options) for name in options.part or PARTS)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
