"""`rmm collector new`: a small collector folder that works, to be changed into what is wanted."""

from __future__ import annotations

import json
from pathlib import Path

from rmm.catalog.golden import write_expected
from rmm.catalog.load import MANIFEST, WINDOWS, read_collector
from rmm.catalog.rules_of_manifests import NAME
from rmm.errors import CatalogError

_MANIFEST = """\
name: {name}
title: {title}
description: What it is about, in one sentence.
schema: 1        # raise it when a field changes its meaning
interval: 3600   # seconds
timeout: 20      # seconds
cost: C1         # C1 < 50 ms, C2 50-300 ms, C3 0.3-3 s, C4 > 3 s on the endpoint
owner: {owner}
sources:
  os:
    wql: SELECT CSName, NumberOfUsers, FreePhysicalMemory FROM Win32_OperatingSystem
rows: os
key: []
fields:
  users: {{type: int, kind: gauge, prop: NumberOfUsers, title: Users who are logged on}}
  free_b: {{type: int, kind: gauge, unit: B, prop: FreePhysicalMemory, formula: scale, args: {{by: 1024}}}}
rules: []
"""
_SCRIPT = """\
$os = Get-CimInstance -Query 'SELECT CSName, NumberOfUsers, FreePhysicalMemory FROM Win32_OperatingSystem'
$document = @{
    os = @($os | Select-Object -Property CSName, NumberOfUsers, FreePhysicalMemory)
}
ConvertTo-Json -InputObject $document -Compress -Depth 4
"""
_SAMPLE = {
    "observed_at": "2026-11-20T10:00:00Z",
    "document": {"os": [{"CSName": "SRV01", "NumberOfUsers": 2, "FreePhysicalMemory": 8388608}]},
}


def new_collector(folder: Path, name: str, *, title: str = "", owner: str = "us") -> list[Path]:
    """Make `folder/name` with manifest, script, sample, readings and page; returns the files.

    Raises:
        CatalogError: the name is not allowed, or the folder exists or cannot be written.
    """
    if not NAME.match(name):
        raise CatalogError(f"{name!r}: a collector's name is lower-case letters, digits and _, starting with a letter")
    place = folder / name
    shown = json.dumps(title or name.replace("_", " ").capitalize(), ensure_ascii=False)
    files = {
        MANIFEST: _MANIFEST.format(name=name, title=shown, owner=json.dumps(owner, ensure_ascii=False)),
        WINDOWS: _SCRIPT,
        "samples/server2022-typical.raw.json": json.dumps(_SAMPLE, indent=2) + "\n",
    }
    try:
        (place / "samples").mkdir(parents=True)
        for file, text in files.items():
            (place / file).write_text(text, encoding="utf-8", newline="\n")
    except FileExistsError as error:
        raise CatalogError(f"{place} exists already") from error
    except OSError as error:
        raise CatalogError(f"{place}: {error.strerror or error}") from error
    collector, problems = read_collector(place)
    if collector is None:
        raise CatalogError(problems=tuple(problems))
    write_expected([collector])
    return sorted(path for path in place.rglob("*") if path.is_file())
