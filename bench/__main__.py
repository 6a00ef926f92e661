"""`python -m bench [--quick] [--only B1,B9]`: prints the table, writes JSON to bench/results/."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
FAST = ("memory", "system", "cpu", "disk", "network", "services", "volumes")

DELAY_S = 2.0  # of B6
BAD_AFTER_S = 240.0  # of the lab's life: the clean rounds come before

Row = dict[str, Any]
Seen = dict[str, tuple[str, float, float]]  # endpoint -> status, seconds of its poll, seconds since the round began


@contextlib.contextmanager
def lab(endpoints: int, faults: str = "") -> Iterator[Path]:
    """A lab in its own process, with a fault plan; gives its configuration folder."""
    with tempfile.TemporaryDirectory() as folder:
        config, ready = Path(folder) / "lab", Path(folder) / "ready"
        command = [sys.executable, "-m", "rmm.lab", str(endpoints), str(config), str(ready)]
        if faults:
            (Path(folder) / "plan.yaml").write_text(faults)
            command = [sys.executable, "-m", "rmm", "lab", "up", "--endpoints", str(endpoints)]
            command += ["--config", str(config), "--ready-file", str(ready), "--faults", f"{folder}/plan.yaml"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            while not ready.exists():
                if process.poll() is not None:
                    sys.exit("bench: the lab did not start")
                time.sleep(0.05)
            (config / "began").touch()
            yield config
        finally:
            process.terminate()
            process.wait(20)


def client(config: Path, **order: Any) -> Row:
    """One measurement."""
    order["lab"] = str(config / "lab.json")
    done = subprocess.run(
        [sys.executable, "-m", "bench.client", json.dumps(order)], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        sys.exit(f"bench: {order}: {done.stderr[-2000:]}")
    row: Row = json.loads(done.stdout.splitlines()[-1])
    if row["wrong"] or row["errors"]:
        sys.exit(
            f"bench: {order['transport']}: {row['wrong']} wrong answers, {row['errors']} errors ({row['first_error']})"
        )
    return row


def rounds(config: Path, count: int, orders: dict[str, Row]) -> dict[str, Row]:
    """Medians of `count` rounds in which the ways take turns."""
    seen: dict[str, list[Row]] = {name: [] for name in orders}
    for _ in range(count):
        for name, order in orders.items():
            seen[name].append(client(config, **order))
    return {
        name: {
            **rows[-1],
            "ms": statistics.median(row["ms"] for row in rows),
            "all_ms": [round(row["ms"], 3) for row in rows],
        }
        for name, rows in seen.items()
    }


def poll(config: Path, *extra: str) -> tuple[float, float, str]:
    """(CPU seconds of `rmm poll` without its start-up, MB, last line)."""
    base = _cpu(config, "--dry-run")[0]
    cpu, mb, line = _cpu(config, *extra)
    return cpu - base, mb, line


def _bad_third(count: int, after_s: float) -> str:
    """A fault plan: of twenty machines three never answer and three answer byte by byte, from some moment on."""
    trickle, hang = ([n for n in range(count) if n % 20 in some] for some in ({0, 1, 2}, {3, 4, 5}))
    faults = [
        {"kind": "trickle", "every_s": 0.5, "part": "all", "machines": trickle, "after_s": after_s},
        {"kind": "hang", "machines": hang, "after_s": after_s},
    ]
    return json.dumps({"faults": faults, "poll": {"timeout": 30}})


def _lines(config: Path) -> Seen:
    """One whole round."""
    process = subprocess.Popen(
        [sys.executable, "-m", "rmm", "poll", "--config", str(config), "--output", "ndjson"],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    seen: Seen = {}
    first = 0.0
    for line in process.stdout:
        now = time.monotonic()
        one = json.loads(line)
        first = first or now - one["duration_s"]
        seen[one["endpoint"]] = (one["status"], one["duration_s"], now - first)
    if process.wait() not in (0, 3):
        sys.exit(f"bench: rmm poll ended with {process.returncode}")
    return seen


def _p95(seen: Seen, names: set[str], part: int) -> float:
    ordered = sorted(float(seen[name][part]) for name in names)
    return ordered[int(0.95 * (len(ordered) - 1))]


def _cpu(config: Path, *extra: str) -> tuple[float, float, str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "rmm", "poll", "--config", str(config), *extra], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    out = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stdout.close()
    if process.returncode != 0:
        sys.exit(f"bench: rmm poll ended with {process.returncode}: {out[-500:]}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, out.strip().splitlines()[-1]


class Bench:
    """Runs what was asked for, and keeps the rows of the table."""

    def __init__(self, *, quick: bool, only: set[str]) -> None:
        self.quick = quick
        self.only = only
        self.rows: list[Row] = []
        self.rounds = 1 if quick else 3
        self.endpoints = 60 if quick else 400

    def wanted(self, name: str) -> bool:
        return not self.only or name in self.only

    def add(self, name: str, what: str, value: str, goal: str, *, good: bool | None) -> None:
        self.rows.append({"id": name, "what": what, "value": value, "goal": goal, "ok": good})
        mark = "" if good is None else "ok" if good else "BELOW"
        print(f"{name:4} {what:58} {value:34} {goal:26} {mark}", flush=True)

    def ratios(self, name: str, what: str, found: dict[str, Row], goals: dict[str, float]) -> None:
        own = found["native"]["ms"]
        figures = ", ".join(f"{key} {row['ms']:.2f}" for key, row in found.items())
        self.add(name, f"{what}: ms CPU per poll", figures, "", good=None)
        for other, least in goals.items():
            ratio = found[other]["ms"] / own
            self.add(
                name,
                f"  against {other}",
                f"{ratio:.1f}x",
                f"at least {least:g}x",
                good=None if self.quick else ratio >= least,
            )

    def small(self, config: Path) -> None:
        common: Row = {"endpoints": self.endpoints, "inflight": 25, "size": 4000}
        b1: dict[str, Row] = {}
        if self.wanted("B1") or self.wanted("B2"):
            orders = {
                "native": {**common, "transport": "winrm"},
                "pypsrp": {**common, "transport": "pypsrp"},
                "pywinrm": {**common, "transport": "pywinrm"},
            }
            kept = {**common, "transport": "winrm", "session": "runspace", "repeat": 3}
            b1 = rounds(
                config, self.rounds, {**orders, "runspace": kept, "connection": {**kept, "session": "connection"}}
            )
            self.ratios("B1", "new session, 4 KB", {name: b1[name] for name in orders}, {"pypsrp": 10, "pywinrm": 6})
            self.ratios(
                "B2", "runspace kept", {"native": b1["runspace"], "pypsrp new": b1["pypsrp"]}, {"pypsrp new": 25}
            )
        if self.wanted("B8") and b1:
            counts = [int(b1[name]["requests"]) for name in ("native", "connection", "runspace")]
            self.add(
                "B8",
                "HTTP requests: new, kept connection, kept runspace",
                str(counts),
                "[8, 6, 3]",
                good=counts == [8, 6, 3],
            )
        if self.wanted("B3"):
            secure = {**common, "scheme": "https", "endpoints": min(100, self.endpoints)}
            found = rounds(
                config, 1, {"native": {**secure, "transport": "winrm"}, "pypsrp": {**secure, "transport": "pypsrp"}}
            )
            self.ratios("B3", "HTTPS, verified", found, {"pypsrp": 15})
        if self.wanted("B4"):
            large = {**common, "size": 100_000, "endpoints": min(100, self.endpoints)}
            names = {"native": "winrm", "pypsrp": "pypsrp", "pywinrm": "pywinrm"}
            found = rounds(config, self.rounds, {key: {**large, "transport": value} for key, value in names.items()})
            self.ratios("B4", "100 KB answer", found, {"pypsrp": 4.5, "pywinrm": 3})
        if self.wanted("B7") and b1:
            row = client(config, **common, transport="winrm", session="connection", wql=True, repeat=3)
            share = row["ms"] / b1["runspace"]["ms"]
            self.add(
                "B7",
                "one WQL query, kept connection, of B2's CPU",
                f"{row['ms']:.2f} ms, {share:.2f}x",
                "at most 0.4x",
                good=None if self.quick else share <= 0.4,
            )

    def whole(self, config: Path) -> None:
        """The whole command against its own transport, with the same collectors, in their steady state."""
        from rmm.catalog.bundle import bundler
        from rmm.catalog.load import load_catalog
        from rmm.resources import shipped

        bundle = bundler(load_catalog([shipped("collectors")]))(FAST, "powershell").text
        _cpu(config)  # the first round also takes the inventory
        shares = []
        for _ in range(self.rounds):
            cpu = poll(config)[0] / self.endpoints * 1000
            row = client(
                config, transport="winrm", endpoints=self.endpoints, inflight=25, bundle=bundle, parts=len(FAST)
            )
            shares.append((cpu / row["ms"], cpu, row["ms"]))
        share, cpu, own = sorted(shares)[len(shares) // 2]
        self.add(
            "B9",
            "whole `rmm poll`, of its transport's CPU",
            f"{cpu:.2f} of {own:.2f} ms, {share:.2f}x",
            "at most 3x",
            good=None if self.quick else share <= 3,
        )

    def thousand(self) -> None:
        """B9 over 1,000 endpoints, where starting up is a small part of a round."""
        if self.wanted("B9"):
            self.endpoints = 100 if self.quick else 1000
            with lab(self.endpoints) as config:
                self.whole(config)

    def delayed(self) -> None:
        """B6: a script that takes two seconds, with as many in flight as there are endpoints."""
        if not self.wanted("B6"):
            return
        inflight = 60 if self.quick else 500
        with lab(inflight) as config:
            self._delayed(config, inflight)

    def _delayed(self, config: Path, inflight: int) -> None:
        order: Row = {"transport": "winrm", "endpoints": inflight, "inflight": inflight, "sleep": DELAY_S}
        rows = [client(config, **order) for _ in range(self.rounds)]
        share = statistics.median(row["p99_s"] for row in rows) / DELAY_S
        self.add(
            "B6",
            f"a {DELAY_S:g} s script, {inflight} in flight: p99 of the delay",
            f"{share * DELAY_S:.2f} s, {share:.2f}x",
            "at most 1.5x",
            good=None if self.quick else share <= 1.5,
        )

    def bulkhead(self) -> None:
        """B10: whole rounds of `rmm poll`; 30 % of the endpoints hang or trickle from a moment of the lab's life on."""
        if not self.wanted("B10"):
            return
        count, after_s = (100, 60.0) if self.quick else (1000, BAD_AFTER_S)
        with lab(count, _bad_third(count, after_s)) as config:
            _lines(config)  # the first round also takes the inventory
            clean = [_lines(config) for _ in range(self.rounds)]
            until = (config / "began").stat().st_mtime + after_s
            time.sleep(max(0.0, until - time.time()) + 1)
            faulty = [_lines(config) for _ in range(1 + self.rounds)]
        good = {name for name, (status, _, _) in faulty[-1].items() if status in ("OK", "PARTIAL")}
        bad = len(faulty[-1]) - len(good)
        if not 0.2 * count < bad < 0.4 * count:
            sys.exit(f"bench: {bad} of {count} endpoints were bad, not about 30 %")
        for what, part in (("a poll of", 1), ("from the round's start to", 2)):
            before = statistics.median(_p95(one, good, part) for one in clean)
            for name, rounds in (("first round", faulty[:1]), ("later rounds", faulty[1:])):
                after = statistics.median(_p95(one, good, part) for one in rounds)
                self.add(
                    "B10",
                    f"{bad} of {count} hang or trickle, {name}: {what} a healthy one, p95",
                    f"{after:.2f} s of {before:.2f}, {after / before:.2f}x",
                    "at most 1.25x",
                    good=None if self.quick else after / before <= 1.25,
                )

    def large(self) -> None:
        if self.quick or not self.wanted("B5"):
            return
        with lab(10_000) as config:
            row = client(config, transport="winrm", endpoints=10_000, inflight=500, size=4000)
            self.add(
                "B5",
                "10,000 endpoints, 500 in flight, transport alone",
                f"{row['ms']:.2f} ms, {row['mb']:.0f} MB, {row['errors']} failures",
                "0 failures, <= 200 MB",
                good=row["mb"] <= 200 and row["errors"] == 0,
            )
            cpu, mb, line = poll(config, "--concurrency", "400")
            self.add(
                "B9",
                "first whole round of 10,000 endpoints",
                f"{cpu / 10:.2f} ms each, {mb:.0f} MB",
                "<= 200 MB",
                good=mb <= 200,
            )
            cpu, mb, line = poll(config, "--concurrency", "400")
            self.add(
                "B9",
                "next whole round of 10,000 endpoints",
                f"{cpu / 10:.2f} ms each, {mb:.0f} MB",
                "<= 200 MB",
                good=mb <= 200,
            )
            print(f"     {line}")


def main() -> None:
    """Run, print, write."""
    ask = argparse.ArgumentParser(prog="bench")
    ask.add_argument("--quick", action="store_true")
    ask.add_argument("--only", default="")
    asked = ask.parse_args()
    bench = Bench(quick=asked.quick, only=set(filter(None, asked.only.split(","))))
    machine = f"Python {platform.python_version()}, {os.cpu_count()} cores"
    print(f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {machine}, {bench.endpoints} endpoints, {bench.rounds} rounds")
    with lab(bench.endpoints) as config:
        bench.small(config)
    bench.delayed()
    bench.bulkhead()
    bench.thousand()
    bench.large()
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{datetime.now(UTC):%Y%m%d-%H%M%S}.json"
    path.write_text(
        json.dumps({"at": datetime.now(UTC).isoformat(), "quick": asked.quick, "rows": bench.rows}, indent=1)
    )
    print(f"written to {path}")
    sys.exit(1 if any(row["ok"] is False for row in bench.rows) else 0)


if __name__ == "__main__":
    main()
