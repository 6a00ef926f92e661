"""Room on the disk: below a floor nothing more goes into history, so that what is left is the spool's.

A reserve file is made while there is plenty, and given up when something else has filled the disk to the last byte.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from rmm.core.budget import floor
from rmm.durable import disk_code
from rmm.errors import TierError
from rmm.model.observation import Fault
from rmm.model.settings import Settings
from rmm.tiers.store.status import outlook

NAME = "reserve"
RESERVE = 32 << 20  # bytes; or a fiftieth of a small disk
SHARE = 50
WAITS = "collector.disk"  # the fault of a round whose readings are in the spool alone
ADVICE = (
    "Shorten `retention`, raise `disk.budget_gb`, or move the data folder to a larger disk; see `rmm store status`."
)
HINT = "Free some space, or shorten `retention`; nothing was lost, and the next poll goes on where this one stopped."


def floor_of(settings: Settings) -> int:
    """Bytes of the data folder's disk that history leaves free; 0 where the disk does not say."""
    try:
        return floor(settings.disk, shutil.disk_usage(settings.data).total)
    except OSError:
        return 0


def room_faults(settings: Settings, others: Iterable[Fault]) -> tuple[Fault, ...]:
    """What the data folder is about to reach, at the end of a round; the reserve is made where nothing waits for room.

    `others` are the faults of the round so far.
    """
    data = Path(settings.data)
    if not any(fault.code == WAITS for fault in others):
        make_reserve(data, floor_of(settings))
    with contextlib.suppress(OSError):
        told = outlook(data, datetime.now(UTC), settings.retention, settings.disk)
        if told.trouble:
            return (Fault("store.budget", "R0", ADVICE, told.trouble),)
    return ()


def check_room(data: Path, floor: int) -> None:
    """Raises TierError when less than `floor` bytes are free."""
    try:
        free = shutil.disk_usage(data).free
    except OSError as error:
        raise TierError(f"{data}: {error.strerror or error}", code=disk_code(error)) from error
    if free < floor:
        text = f"{data}: {free / 1e6:.0f} MB are free, and the last {floor / 1e6:.0f} MB are kept for the spool"
        raise TierError(text, code="disk.full", hint=HINT)


def use_reserve(data: Path) -> None:
    """Give the reserve up where less than that is free."""
    with contextlib.suppress(OSError):
        if shutil.disk_usage(data).free < _size(data):
            (data / NAME).unlink()


def make_reserve(data: Path, floor: int) -> None:
    """Make the reserve where there is none and plenty of room; nothing is said when that does not succeed."""
    path = data / NAME
    with contextlib.suppress(OSError):
        size = _size(data)
        if path.exists() or shutil.disk_usage(data).free < floor + 2 * size:
            return
        made = path.with_name(f".{NAME}.{os.getpid()}.tmp")
        try:
            with made.open("wb") as file:
                for _ in range(size >> 16):
                    file.write(bytes(1 << 16))  # written, and not only set to this size: a sparse file keeps no room
                file.flush()
                os.fsync(file.fileno())
            made.replace(path)
        finally:
            made.unlink(missing_ok=True)


def _size(data: Path) -> int:
    return min(RESERVE, shutil.disk_usage(data).total // SHARE)
