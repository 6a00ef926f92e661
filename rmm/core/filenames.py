"""Which names of files are safe on every system, however hostile who made them up. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

# Windows keeps these for devices, with any ending; ids and sites name files.
RESERVED = frozenset({"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))})
DEEPEST, LONGEST = 6, 150  # parts, and characters of all: Windows takes 260 with the folder before them
_PART = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,62}[A-Za-z0-9_-]\Z|[A-Za-z0-9_-]\Z", re.ASCII)


def unfit_name(name: str) -> str:
    """Why a relative name with slashes may not name a file; empty where it may.

    A part begins and ends with a letter, digit, _ or -: so there is no `..`, nothing hidden, no drive, no stream, and
    nothing that Windows takes for another name.
    """
    parts = name.split("/")
    if len(name) > LONGEST or len(parts) > DEEPEST:
        return f"at most {LONGEST} characters and {DEEPEST} parts are allowed"
    if not all(_PART.match(part) for part in parts):
        return "parts of letters, digits, and . _ - within them are allowed, apart by /"
    if any(part.partition(".")[0].lower() in RESERVED for part in parts):
        return "a device of Windows is called so"
    return ""


def clashes(names: Iterable[str]) -> Iterator[str]:
    """The names that a file system without upper and lower case takes for another, or that need a file as folder."""
    files = [name.lower() for name in names]
    folders = {name[:end] for name in files for end, letter in enumerate(name) if letter == "/"}
    seen: set[str] = set()
    for name in files:
        if name in seen or name in folders:
            yield name
        seen.add(name)
