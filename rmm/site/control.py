"""How commands speak to the site collector of a data folder: files, so that it is the same on every platform.

`data/site/status.json` is what it says of itself, replaced every few seconds; `data/site/request` is what it is asked
to do, and goes when it does it. Windows has no signal that a process of another session could be sent.

`data/site/stopped` is there from `rmm site stop` or `drain` on. While it is there, what keeps the collector running (a
unit, a service, a task that comes every five minutes, after a restart of the machine too) starts it for nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import msgspec

from rmm.durable import disk_code, hold, replace_file
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


class Stopped(NamedTuple):
    """That somebody has stopped it, for good."""

    how: str  # stop | drain
    at: datetime


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


@contextlib.contextmanager
def collecting(data: Path, *, kept: bool) -> Iterator[bool]:
    """Be the one site collector of a data folder. Gives whether it may work.

    `kept`: started by what keeps it running; then it may not where somebody has stopped it. A start by hand ends that.
    Raises LeaseLost where one runs already.
    """
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(hold(lock_of(data), "the site collector of this folder"))
        except LeaseLost as error:
            hint = "`rmm site status` shows what it does, `rmm site stop` ends it."
            raise LeaseLost(str(error), hint=hint) from error
        take_request(data)  # of one that has ended; whoever asks now has left `stopped` before
        if not kept:
            let_start(data)
        yield read_stopped(data) is None


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


def is_ending(data: Path) -> bool:
    """Whether the collector that holds this data folder was asked to end, and has not ended yet."""
    if read_stopped(data) is None and not (folder_of(data) / "request").exists():
        known = read_status(data)
        if known is None or known.doing not in ("draining", "stopping"):
            return False
    return is_running(data)


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


def keep_stopped(data: Path, how: str) -> None:
    """From now on nothing but a person starts it. Raises TierError where that cannot be written."""
    replace_file(folder_of(data) / "stopped", how.encode())


def read_stopped(data: Path) -> Stopped | None:
    """Whether, how and when somebody has stopped it for good."""
    path = folder_of(data) / "stopped"
    try:
        how, at = path.read_bytes()[:64].decode(errors="replace").strip(), path.stat().st_mtime
    except FileNotFoundError:
        return None
    except OSError:
        return Stopped(STOP, datetime.now(UTC))  # it is there, and that is what counts
    return Stopped(how if how in (STOP, DRAIN) else STOP, datetime.fromtimestamp(at, UTC))


def let_start(data: Path) -> None:
    """It may be started again by what keeps it running. Raises TierError where that cannot be written."""
    path = folder_of(data) / "stopped"
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise TierError(f"{path}: {error.strerror or error}", code=disk_code(error)) from error
