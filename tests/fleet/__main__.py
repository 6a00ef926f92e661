"""`make fleet`, or `python -m tests.fleet`: hub, broker and sites as processes, broken in every way; 1 when harmed."""

from __future__ import annotations

import argparse
import contextlib
import secrets
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path

from rmm.model.settings import LockoutSettings
from tests.fleet.fleet import Fleet
from tests.fleet.shared import Shared
from tests.fleet.verdict import Verdict
from tests.postgres.cluster import Cluster

BUDGET = LockoutSettings().budget


def faults(fleet: Fleet, span_s: float, each_s: float) -> None:
    """All kinds of faults, one after the other, for so long."""
    end, plan, shared = time.monotonic() + span_s, fleet.plan(), Shared(fleet)
    if fleet.shards > 1:
        plan = [fault for pair in zip_longest(shared.plan(), plan) for fault in pair if fault]
    while time.monotonic() < end:
        for fault in plan:
            if time.monotonic() < end:
                fault(each_s)
    if shared.took:
        fleet.say(f"others held the shards of who was gone after {min(shared.took):.1f} to {max(shared.took):.1f} s")


def logons(fleet: Fleet) -> bool:
    """Tell what the directory counted; whether there were more wrong logons than a site may have."""
    most = BUDGET * len(fleet.wrong)
    for name, one in sorted(fleet.lab.accounts().items()):
        print(f"{name}: {one.good} good logons, {one.bad} wrong ones, {one.most_bad} at most in a row; may be: {most}")
    return fleet.wrong_logons() > most


def main() -> int:
    """Build it, break it, mend it, compare."""
    parser = argparse.ArgumentParser(prog="python -m tests.fleet", description=__doc__)
    parser.add_argument("--sites", type=int, default=50)
    parser.add_argument("--endpoints", type=int, default=4, help="behind each site")
    parser.add_argument("--collectors", type=int, default=1, help="of each site, up to 8, sharing its shards")
    parser.add_argument("--wrong", type=int, default=0, help="sites with a wrong password in their vaults")
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
                      database=database, collectors=options.collectors, wrong=options.wrong)
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
            verdicts, locked = fleet.finish(), logons(fleet)
            for what, count in sorted(fleet.faults.items()):
                print(f"{count:>7} times {what}")
    bad = [one.site for one in verdicts if one.harmed]
    show(verdicts)
    print(f"{sum(one.observed for one in verdicts)} observations of {len(verdicts)} sites; harmed: {bad or 'none'}")
    return 1 if bad or locked else 0


def show(verdicts: Sequence[Verdict]) -> None:
    """One line for each site."""
    print(f"{'SITE':<10}{'OBSERVED':>10}{'ARRIVED':>9}{'LOST':>6}{'DOUBLED':>9}{'LATE':>6}{'SLOWEST':>11}"
          f"  {'CHECKSUM':<10}{'STALE':>7}{'REFUSED':>9}{'PASSED':>8}{'TWICE':>7}")  # fmt: skip
    for one in verdicts:
        equal = "equal" if one.equal else "DIFFERENT"
        print(f"{one.site:<10}{one.observed:>10}{one.arrived:>9}{one.lost:>6}{one.doubled:>9}{one.late:>6}"
              f"{one.slowest_s:>9.1f} s  {equal:<10}{one.stale:>7}{one.refused:>9}{one.passed:>8}"
              f"{one.twice:>7}")  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
