"""`data/counts.json`: what all rounds have come to, for the metrics. A round that is killed is not counted."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from rmm import __version__
from rmm.core.counting import add
from rmm.durable import hold, replace_file
from rmm.errors import RmmError
from rmm.model.counts import Counts
from rmm.model.round import PollSummary

log = logging.getLogger(__name__)

LOCK_S = 5.0
ENDINGS = {0: "ok", 1: "error", 3: "some_failed", 4: "nothing"}  # by exit code
_decoder = msgspec.json.Decoder(Counts)


def path_of(data: Path) -> Path:
    """`data/counts.json`."""
    return data / "counts.json"


def read(data: Path) -> Counts:
    """What was counted so far; nothing where there is no such file, or one that cannot be read."""
    path = path_of(data)
    try:
        return _decoder.decode(path.read_bytes())
    except FileNotFoundError:
        return Counts()
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        log.warning("%s cannot be read (%s): counting begins anew", path, error)
        return Counts()


@contextmanager
def counted(data: Path, counts: Counts, summary: PollSummary) -> Iterator[None]:
    """While a round runs, whose polls somebody adds to `counts`; at its end they are added to the file.

    A round does not fail because it cannot be counted.
    """
    began, cpu = time.monotonic(), _cpu()
    counts.since = datetime.now(UTC)
    ending = "stopped"
    try:
        yield
        ending = ENDINGS.get(summary.exit_code, "error")
    except Exception:
        ending = "error"
        raise
    finally:
        counts.rounds = {ending: 1}
        counts.round_seconds = counts.last_seconds = time.monotonic() - began
        counts.cpu_seconds = max(0.0, _cpu() - cpu)
        counts.ended_at, counts.last_resident, counts.last_version = datetime.now(UTC), _resident(), __version__
        with contextlib.suppress(RmmError):  # a disk that is full or read-only is told by what matters more
            _write(data, counts)


def _write(data: Path, counts: Counts) -> None:
    with hold(data / "locks" / "counts.lock", "the counts of rounds", timeout_s=LOCK_S):
        total = read(data)
        add(total, counts)
        replace_file(path_of(data), msgspec.json.encode(total))


def _cpu() -> float:
    """Seconds of processor time of this process and of its children that have ended (on Windows: without those)."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _resident() -> int:
    """Bytes of memory that this process had at most; 0 where the system does not say it (Windows)."""
    if sys.platform != "win32":
        import resource

        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024
    else:
        return 0
