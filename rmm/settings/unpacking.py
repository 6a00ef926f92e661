"""Writes the files of a bundle into a folder that is there as a whole, or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from rmm.durable import disk_code, fsync_folder, make_folder, rename
from rmm.errors import TierError

NEW, GONE = ".new-", ".gone-"


def unpack(folder: Path, files: Mapping[str, bytes]) -> None:
    """Make `folder` with these files, whose names have been checked. Durable on return.

    Raises TierError, and then there is no such folder. For whoever alone writes beside it at this time.
    """
    part = folder.with_name(f"{NEW}{folder.name}")
    try:
        make_folder(folder.parent)
        for old in (part, folder):
            remove(old)
        part.mkdir(mode=0o700)
        for name, data in files.items():
            path = part.joinpath(*name.split("/"))
            path.parent.mkdir(parents=True, exist_ok=True)
            _write(path, data)
        for place, _, _ in os.walk(part, topdown=False):
            fsync_folder(Path(place))
        rename(part, folder)
        fsync_folder(folder.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            remove(part)
        raise TierError(f"{folder}: {error.strerror or error}", code=disk_code(error)) from error


def remove(folder: Path) -> None:
    """Remove a folder of files so that no half of it is ever seen under its name. Raises OSError."""
    if not folder.is_dir():
        return
    gone = folder.with_name(f"{GONE}{folder.name.removeprefix('.')}")
    if gone.is_dir():
        shutil.rmtree(gone)
    rename(folder, gone)
    shutil.rmtree(gone)


def tidy(folder: Path) -> None:
    """Remove what crashes within `unpack` and `remove` left in `folder`."""
    for prefix in (NEW, GONE):
        for path in folder.glob(f"{prefix}*"):
            shutil.rmtree(path, ignore_errors=True)


def _write(path: Path, data: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)
    with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
