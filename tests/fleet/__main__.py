"""`make fleet`, or `python -m tests.fleet`: hub, broker and sites as processes, broken in every way; 1 when harmed."""

from __future__ import annotations

import argparse
import contextlib
import secrets
import signal
import sys
import tempfile
import time
from pathlib import Path

from tests.fleet.fleet import Fleet
from tests.postgres.cluster import Cluster


def faults(fleet: Fleet, span_s: float, each_s: float) -> None:
    """All kinds of faults, one after the other, for so long."""
    end, plan = time.monotonic() + span_s, fleet.plan()
    while time.monotonic() < end:
        for fault in plan:
            if time.monotonic() < end:
                fault(each_s)


def main() -> int:
    """Build it, break it, mend it, compare."""
    parser = argparse.ArgumentParser(prog="python -m tests.fleet", description=__doc__)
    parser.add_argument("--sites", type=int, default=50)
    parser.add_argument("--endpoints", type=int, default=4, help="behind each site")
    parser.add_argument("--minutes", type=float, default=10.0, help="of faults")
    parser.add_argument("--seconds", type=float, default=20.0, help="that one fault lasts")
    parser.add_argument("--kills", type=int, default=0, help="rounds of kill -9, instead of faults of all kinds")
    parser.add_argument("--outage", type=float, default=0.0, help="seconds without links, instead of other faults")
    parser.add_argument("--cut", type=int, default=10, help="sites whose links --outage cuts")
    parser.add_argument("--postgres", action="store_true", help="the hub's database is in a PostgreSQL server")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1 << 31))
    parser.add_argument("--keep", type=Path, help="work in this folder, and leave it")
    options = parser.parse_args()
    began = time.monotonic()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # or the processes would stay

    def say(text: str) -> None:
        print(f"{time.monotonic() - began:7.1f} s  {text}", flush=True)

    say(f"seed {options.seed}")
    with tempfile.TemporaryDirectory(prefix="rmm-fleet-") as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as stack:
            database = Cluster() if options.postgres else None
            if database is not None:
                stack.callback(database.remove)
            fleet = stack.enter_context(
                Fleet(folder, sites=options.sites, endpoints=options.endpoints, seed=options.seed, say=say,
                      database=database)
            )  # fmt: skip
            say(f"everything that the sites saw is at the hub after {fleet.settled(300):.1f} s")
            if options.outage:
                say(f"links are back; caught up after {fleet.outage(options.outage, options.cut):.1f} s")
            elif options.kills:
                fleet.kills(options.kills)
            else:
                faults(fleet, 60 * options.minutes, options.seconds)
            say("the last fault is over")
            say(f"everything that the sites saw is at the hub after {fleet.settled(300):.1f} s")
            verdicts = fleet.finish()
            for what, count in sorted(fleet.faults.items()):
                print(f"{count:>7} times {what}")
    print(f"{'SITE':<10}{'OBSERVED':>10}{'ARRIVED':>10}{'LOST':>8}{'DOUBLED':>9}  CHECKSUM")
    for one in verdicts:
        equal = "equal" if one.equal else "DIFFERENT"
        print(f"{one.site:<10}{one.observed:>10}{one.arrived:>10}{one.lost:>8}{one.doubled:>9}  {equal}")
    bad = [one.site for one in verdicts if one.lost or one.doubled or not one.equal or not one.observed]
    print(f"{sum(one.observed for one in verdicts)} observations of {len(verdicts)} sites; harmed: {bad or 'none'}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
