"""When the files of the hot tier were written; none of them is opened."""

from __future__ import annotations

import os
from pathlib import Path


def written(data: Path) -> dict[str, float]:
    """Site -> when a file of its hot tier was written last."""
    try:
        folders = [entry for entry in os.scandir(data / "hot") if entry.is_dir()]
    except OSError:
        return {}
    return {folder.name: max(found) for folder in folders if (found := [at for *_, at in hot_files(Path(folder.path))])}


def hot_files(folder: Path) -> list[tuple[str, int, float]]:
    """(name, bytes, seconds since 1970 of its last change) of each shard's file."""
    found = []
    try:
        for entry in os.scandir(folder):
            if entry.name.removesuffix(".json").isdigit():
                stat = entry.stat()
                found.append((entry.name, stat.st_size, stat.st_mtime))
    except OSError:
        return []  # replaced or removed meanwhile
    return sorted(found)
