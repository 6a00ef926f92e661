"""`make fuzz`, or `python -m tests.fuzz`: hostile input for every decoder; ends with 1 when something is wrong.

Each target runs in a process of its own. Inputs that are wrong are kept in tests/fuzz/regressions, where a test replays
them from then on; commit them with the fix.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.fuzz import engine

STILL_S = 40.0  # without a new input for so long, a target hangs where Python's alarm does not reach


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=20_000, help="how many, over all targets (20,000)")
    parser.add_argument("--seed", type=int, default=None, help="of an earlier run, to have its inputs again")
    parser.add_argument("--target", action="append", choices=engine.names(), help="only this one; may be repeated")
    parser.add_argument("--keep", type=Path, default=engine.REGRESSIONS, help="folder for inputs that are wrong")
    parser.add_argument("--replay", action="store_true", help="judge the kept inputs again, make no new ones")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.replay:
        return _replay(options.keep)
    seed = secrets.randbits(32) if options.seed is None else options.seed
    if options.child:
        engine.child(options.child, options.inputs, seed, options.keep)
        return 0
    return _run(options.target or engine.names(), options.inputs, seed, options.keep)


def _replay(folder: Path) -> int:
    findings = engine.replay(folder)
    for finding in findings:
        print(f"{finding.target}: {finding.what}: {finding.file}")
    print(f"{len(list(folder.glob('*/*.bin')))} kept inputs, {len(findings)} wrong")
    return 1 if findings else 0


def _run(targets: list[str], count: int, seed: int, keep: Path) -> int:
    print(f"seed {seed}", flush=True)
    each, wrong, total = -(-count // len(targets)), 0, 0
    for name in targets:
        summary = _one(name, each, seed, keep)
        values = sum(number for word, number in summary["outcomes"].items() if word.startswith("value"))
        total += summary["inputs"]
        wrong += len(summary["findings"])
        print(
            f"{name:<12} {summary['inputs']:>8} inputs  {values:>7} values  {summary['inputs'] - values:>7} refused  "
            f"{len(summary['outcomes']):>3} outcomes  {summary['seconds']:>6.1f} s CPU  +{summary['growth'] >> 20} MB",
            flush=True,
        )
        for finding in summary["findings"]:
            print(f"    WRONG: {finding['what']} ({finding['size']} bytes: {finding['file']})", flush=True)
    print(f"{total} inputs, {wrong} findings, seed {seed}")
    return 1 if wrong else 0


def _one(name: str, count: int, seed: int, keep: Path) -> dict[str, Any]:
    """One target in a process of its own, watched from outside."""
    command = [sys.executable, "-m", "tests.fuzz", "--child", name, "--inputs", str(count), "--seed", str(seed)]
    current = keep / f"{name}.current"
    # Hashing with a fixed seed: the order of sets must not change what a seed gives.
    environment = os.environ | {"PYTHONHASHSEED": "0"}
    with subprocess.Popen(
        [*command, "--keep", str(keep)], stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        last, since = b"", time.monotonic()
        while True:
            try:
                out, _ = process.communicate(timeout=2)
                break
            except subprocess.TimeoutExpired:
                now = current.read_bytes()[:4] if current.exists() else b""
                if now != last:
                    last, since = now, time.monotonic()
                elif last[:4].strip(b"\0") and time.monotonic() - since > STILL_S:
                    process.kill()
                    out, _ = process.communicate()
                    break
    try:
        summary: dict[str, Any] = json.loads(out)
    except ValueError:
        summary = _died(name, process.returncode, current, keep)
    current.unlink(missing_ok=True)
    return summary


def _died(name: str, code: int, current: Path, keep: Path) -> dict[str, Any]:
    """A crash or a hang inside native code: the input that was being tried is the finding."""
    shared = current.read_bytes() if current.exists() else b""
    data = shared[8 : 8 + int.from_bytes(shared[4:8], "little")]
    folder = keep / name
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "died.bin"
    path.write_bytes(data)
    what = f"the process ended with {code} in the middle of an input"
    finding = {"what": what, "size": len(data), "file": str(path)}
    number = int.from_bytes(shared[:4], "little")
    return {"inputs": number, "outcomes": {"died": 1}, "seconds": 0.0, "growth": 0, "findings": [finding]}


if __name__ == "__main__":
    sys.exit(main())
