"""A hub that is killed at any moment, again and again, has in the end what an unbroken run has."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hubside import SITES, Keys, Site, Time, checksum, embedded, fleet, observed, rows

ROUNDS = 20
VICTIM = Path(__file__).with_name("victim.py")


def _killed(folder: Path, left: int, after: float) -> bool:
    """Run a hub, and kill it so long after no more than `left` messages waited; whether it was killed."""
    process = subprocess.Popen([sys.executable, str(VICTIM), str(folder)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    with process.stdout as out:
        assert out.readline() == b"ready\n"
        while process.poll() is None and sum(1 for _ in (folder / "up").iterdir()) > left:
            time.sleep(0.001)
        time.sleep(after)
        process.send_signal(signal.SIGKILL)
        return process.wait(30) == -signal.SIGKILL


@pytest.mark.databases("sqlite", "postgres")
@pytest.mark.crash
@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
@pytest.mark.timeout(300)
def test_killed_at_random(tmp_path: Path) -> None:
    dice = random.Random(int(os.environ.get("SEED", "11")))
    keys = Keys(*((site, "c1") for site in SITES), seed=7)
    observations = observed(24)
    senders = {site: Site(keys, site) for site in SITES}
    for number, one in enumerate(observations):
        senders[one.site].observe(one)
        if number % 12 == 11:
            for sender in senders.values():
                sender.round_over(one.observed_at)
    pending = [(one.id, sealed) for one in senders.values() for sealed in one.envelopes(2)]
    up = tmp_path / "up"
    up.mkdir()
    killed = number = 0
    for turn in range(ROUNDS):
        # A broker redelivers what is not acknowledged, and sites send again what no receipt covered.
        share = pending[turn * len(pending) // ROUNDS : (turn + 1) * len(pending) // ROUNDS]
        share += dice.sample(pending, 6)
        dice.shuffle(share)
        for site, sealed in share:
            number += 1
            (up / f"{number:06d}.{site}").write_bytes(sealed)
        # At any part of the work, however fast this machine is.
        killed += _killed(tmp_path, dice.randrange(len(list(up.iterdir()))), dice.uniform(0.0, 0.01))
    assert killed >= ROUNDS * 3 // 4
    subprocess.run([sys.executable, str(VICTIM), str(tmp_path)], check=True, timeout=120, stdout=subprocess.DEVNULL)
    assert not list(up.iterdir())
    data, alone = tmp_path / "data", tmp_path / "alone"
    if (data / "fleet.sqlite").exists():
        assert rows(data, "PRAGMA integrity_check") == [("ok",)]
    clock = Time()
    clock.add(minutes=121)
    asyncio.run(embedded(alone, clock, observations))
    assert checksum(data, SITES) == checksum(alone, SITES)
    assert fleet(data) == fleet(alone)
    marks = rows(data, "SELECT site, body FROM site_mark ORDER BY site")
    assert marks == [(site, f'{{"high":{senders[site].entries[-1].seq}}}') for site in SITES]
    told = [row[0] for row in rows(data, "SELECT id FROM notification")]
    assert len(told) == len(set(told)) == 1
    assert not list((data / "spool").rglob("in-*/*.spool"))
