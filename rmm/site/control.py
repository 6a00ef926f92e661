"""How commands speak to the site collector of a data folder: files, so that it is the same on every platform.

`data/site/status.json` is what it says of itself, replaced every few seconds; `data/site/request` is what it is asked
to do, and goes when it does it. Windows has no signal that a process of another session could be sent.
"""

from __future__ import annotations

import contextlib
from datetime import datetime
from pathlib import Path

import msgspec

from rmm.durable import hold, replace_file
from rmm.errors import LeaseLost, TierError
from rmm.model.envelope import Beat

STOP, DRAIN = "stop", "drain"
MOST_BYTES = 64 << 10


class Status(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a running site collector last wrote of itself."""

    pid: int
    beat: Beat
    link: str  # up | down | none: no broker is configured
    link_since: datetime | None = None
    trouble: str = ""  # why the link is down
    acknowledged_at: datetime | None = None  # the hub's newest receipt
    doing: str = ""  # polling | waiting | draining | stopping


def folder_of(data: Path) -> Path:
    """`data/site`."""
    return data / "site"


def write_status(data: Path, status: Status) -> None:
    """Replace what is known of the collector. A disk that is full or read-only is told by the stores."""
    with contextlib.suppress(TierError):
        replace_file(folder_of(data) / "status.json", msgspec.json.encode(status))


def read_status(data: Path) -> Status | None:
    """What the collector last wrote; None without any, or where it cannot be read."""
    try:
        return msgspec.json.decode((folder_of(data) / "status.json").read_bytes()[:MOST_BYTES], type=Status)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None


def lock_of(data: Path) -> Path:
    """The lock file of the one site collector of a data folder."""
    return data / "locks" / "site.lock"


def is_running(data: Path) -> bool:
    """Whether a site collector holds this data folder."""
    try:
        with hold(lock_of(data), "the site collector"):
            return False
    except LeaseLost:
        return True


def ask_to(data: Path, what: str) -> None:
    """Leave a request for the running collector. Raises TierError where it cannot be written."""
    replace_file(folder_of(data) / "request", what.encode())


def take_request(data: Path) -> str:
    """What the collector is asked to do, once; empty where it is nothing that it knows."""
    path = folder_of(data) / "request"
    try:
        asked = path.read_bytes()[:64].decode(errors="replace").strip()
        path.unlink()
    except OSError:
        return ""
    return asked if asked in (STOP, DRAIN) else ""
