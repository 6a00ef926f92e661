"""kill -9 of a process that writes the outgoing log, at moments that a seed gives: what it was told is there, is."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rmm.model.settings import SiteSettings
from rmm.tiers.outgoing import Log, SqliteShelf, path_of, prepare

WRITER = """
import asyncio, os, sys
from datetime import UTC, datetime
from pathlib import Path
from rmm.core.marks import added
from rmm.model.envelope import Marks, Receipt
from rmm.model.outgoing import Item
from rmm.model.settings import SiteSettings
from rmm.tiers.outgoing import open_outgoing

async def main():
    data, number, said = Path(sys.argv[1]), int(sys.argv[2]), os.open(sys.argv[3], os.O_WRONLY | os.O_APPEND)
    async with open_outgoing(data, "hq", SiteSettings()) as outgoing:
        os.write(said, b"begun\\n")
        step = 0
        while True:
            step += 1
            now = datetime.now(UTC)
            items = [
                Item(id=f"o{n}", body=b"x" * 900, at=now, endpoint=f"srv-{n % 9}") for n in range(number, number + 5)
            ]
            rows = await outgoing.append(items)
            os.write(said, b"".join(b"%d %d\\n" % (n, row.place) for n, row in zip(range(number, number + 5), rows)))
            number += 5
            if step % 7 == 0:
                books = outgoing.books
                marks = {books.names[books.epoch]: Marks(books.last[books.epoch] - 2)}
                await outgoing.cover(Receipt(site="hq", hub=str(os.getpid()), number=step, at=now, marks=marks))
                await outgoing.tend(now)

asyncio.run(main())
"""


@pytest.mark.crash
@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
async def test_nothing_that_was_promised_is_lost(tmp_path: Path) -> None:
    chance, said = random.Random(8), tmp_path / "said"
    said.touch()
    promised: dict[int, int] = {}
    for _ in range(30):
        number = max(promised, default=0) + 1
        begun = said.stat().st_size
        child = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path), str(number), str(said)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        try:
            until = time.monotonic() + 30
            while said.stat().st_size == begun and child.poll() is None and time.monotonic() < until:
                time.sleep(0.005)
            time.sleep(chance.uniform(0.0, 0.12))
        finally:
            child.send_signal(signal.SIGKILL)
            child.wait()
        assert child.returncode == -signal.SIGKILL
        for line in said.read_text().rpartition("\n")[0].splitlines():
            if line != "begun":
                one, at = map(int, line.split())
                assert promised.setdefault(one, at) == at  # no number was given twice
    await prepare(path_of(tmp_path, "hq"))
    log = Log(SqliteShelf(path_of(tmp_path, "hq")), SiteSettings(), f"{1:016x}")
    rows = log.rows(-1, 1 << 20)
    assert len(promised) > 100
    assert set(promised.values()) <= {row.place for row in rows}
    assert log.books.entries + log.books.kept == len(rows)  # the books are what is there
    for epoch, last in log.books.last.items():
        assert sum(row.place >> 40 == epoch for row in rows) == last
    log.close()
