"""Files that survive a crash: atomic replacement, folder fsync, and a lock that says who holds it.

POSIX and Windows side by side. It knows nothing of what the files mean.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from rmm.errors import LeaseLost, TierError


def replace_file(path: Path, data: bytes | bytearray, *, private: bool = False) -> None:
    """Write `data` to `path` so that every reader, and every crash, sees the old content or the new one.

    Temporary file in the same folder, fsync, rename, fsync of the folder. `private` makes it readable by its owner
    alone (on Windows the folder's inherited permissions apply). Raises TierError, and then `path` is as it was.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        make_folder(path.parent)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)
        descriptor = os.open(temporary, flags, 0o600 if private else 0o644)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        rename(temporary, path)
        fsync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise TierError(f"{path}: {error.strerror or error}", code=disk_code(error)) from error


def disk_code(error: OSError) -> str:
    """The stable fault code of a failed file operation."""
    import errno

    if error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", -1)):
        return "disk.full"
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return "disk.read_only"
    return "disk.io"


def rename(source: Path, target: Path) -> None:
    """`os.replace`; on Windows a reader that has the file open makes it fail for a moment, so try for two seconds."""
    if sys.platform == "win32":
        until = time.monotonic() + 2.0
        while True:
            try:
                source.replace(target)
                return
            except PermissionError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.02)
    else:
        source.replace(target)


def fsync_folder(folder: Path) -> None:
    """Make renames and new names in `folder` durable. NTFS journals its metadata; a folder cannot be opened there."""
    if sys.platform != "win32":
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


_durable: set[Path] = set()
"""Folders that this process has found or made durable, with all above them."""


def make_folder(folder: Path) -> None:
    """Make `folder`, and what is missing above it, so that a loss of power does not take it away.

    A file is only as durable as the names of the folders above it, and syncing the file does not promise those. From
    the top down, and each name is durable before anything is made below it; so of what is there already the lowest
    folder alone may lack its promise, when a process was killed that had just made it.

    Raises OSError.
    """
    folder = folder.absolute()
    if folder in _durable and folder.is_dir():
        return
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
    with contextlib.suppress(PermissionError):  # one that we may not read: nothing of ours is new in it
        fsync_folder(folder.parent)
    _durable.add(folder)


def tidy(folder: Path, name: str = "*") -> None:
    """Remove what crashes within `replace_file` left beside the file `name`, or beside all in `folder`.

    For whoever alone may write there at this time.
    """
    for path in folder.glob(f".{name}.*.tmp"):
        with contextlib.suppress(OSError):
            path.unlink()


@contextlib.contextmanager
def hold(path: Path, purpose: str, *, timeout_s: float = 0.0) -> Iterator[None]:
    """Hold the lock file `path` (released by the operating system if this process dies).

    Raises LeaseLost naming the holder when another process has it after `timeout_s`.
    """
    from filelock import FileLock, Timeout

    note = path.with_suffix(".holder")
    lock = FileLock(path)
    try:
        make_folder(path.parent)
        lock.acquire(timeout=timeout_s)
    except Timeout as error:
        raise LeaseLost(f"{purpose} is held by {_holder(note)}") from error
    except OSError as error:
        raise TierError(f"{path}: {error.strerror or error}", code=disk_code(error)) from error
    try:
        facts = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "since": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        with contextlib.suppress(OSError):
            note.write_text(json.dumps(facts), encoding="utf-8")
        yield
    finally:
        with contextlib.suppress(OSError):
            note.unlink()
        lock.release()


def _holder(note: Path) -> str:
    try:
        facts = json.loads(note.read_text(encoding="utf-8"))
        return f"process {facts['pid']} on {facts['host']} since {facts['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
