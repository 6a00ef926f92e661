"""Names of series that turn out damaged: found by their digest, and put right where another file has the same.

A layout is known by the digest of its names, and the files of a site mostly have the same layouts, so what one of them
has lost the others still know.
"""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from rmm.tiers.cold_sqlite.asking import opened
from rmm.tiers.cold_sqlite.planes import DamagedSegment
from rmm.tiers.cold_sqlite.sealed import names_of
from rmm.tiers.cold_sqlite.segment import Name
from rmm.tiers.cold_sqlite.series import digest

COLD = "cold"  # the folder of all sites


def checked_names(known: bytes | None, series: bytes | None) -> list[Name]:
    """The names of a layout. Raises DamagedSegment where they are not what their digest was made of."""
    if series is None or digest(series) != known:
        raise DamagedSegment("the names of its series are damaged")
    return names_of(series)


def elsewhere(path: Path, wanted: bytes | None) -> bytes | None:
    """The names of this digest from another file of the site that `path` is a file of; None where none has them."""
    site = path.parent if path.parent.parent.name == COLD else path.parent.parent
    near = path.parent
    for other in sorted(site.rglob("*.sqlite"), key=lambda one: (one.parent != near, one)):
        if wanted is None or other == path:
            continue
        with contextlib.suppress(sqlite3.Error), contextlib.closing(opened(other)) as connection:
            found = connection.execute("SELECT CAST(series AS BLOB) FROM layout WHERE digest = ?", (wanted,))
            for (series,) in found:
                if series is not None and digest(series) == wanted:
                    return bytes(series)
    return None
