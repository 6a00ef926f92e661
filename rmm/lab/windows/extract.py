"""Makes the packed CIM types from the full dumps that README.md names: `python -m rmm.lab.windows.extract FOLDER`.

One line per class: namespace, class, and `property:type` for each property, with `|` between the three. Output is
reproducible byte by byte.
"""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent / "modules" / "RmmLab.Windows"
_BASE = frozenset(
    {"string", "boolean", "datetime", "object", "real32", "real64", "char16"}
    | {f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)}
)
_OTHER = {"byte": "uint8", "float32": "real32", "float64": "real64", "bool": "boolean", "interface{}": "object"}
Dump = dict[str, dict[str, dict[str, str]]]


def cim_type(written: str, classes: frozenset[str]) -> str:
    """The CIM type of a dump's type: references are written as class names, enumerations by their own names."""
    base, array = written.removesuffix("[]"), "[]" if written.endswith("[]") else ""
    base = _OTHER.get(base, base)
    if base in _BASE:
        return base + array
    return ("reference" if base in classes or base.startswith(("CIM_", "MSFT_", "Win32_")) else "uint16") + array


def merged(older: Dump, newer: Dump) -> tuple[Dump, Dump]:
    """What systems before build 20348 have, and later ones.

    A namespace that one dump lacks altogether was not dumped there; a class that the newer one lacks is kept as well.
    """
    spaces = sorted({*older, *newer}, key=str.casefold)
    old = {space: older.get(space) or newer[space] for space in spaces}
    new = {space: {**older.get(space, {}), **newer.get(space, {})} for space in spaces}
    return old, new


def lines(dump: Dump, classes: frozenset[str]) -> list[str]:
    """One line per class."""
    return [
        f"{space}|{name}|" + ",".join(f"{prop}:{cim_type(kind, classes)}" for prop, kind in sorted(props.items()))
        for space, found in dump.items()
        for name, props in sorted(found.items())
    ]


def main(folder: Path) -> None:
    """Write the two files beside the module."""

    def load(name: str) -> Any:
        return json.loads((folder / name).read_text(encoding="utf-8"))

    dumps = merged(load("cim-server2019.json"), load("cim-server23h2.json"))
    classes = frozenset(name for dump in dumps for found in dump.values() for name in found)
    for name, dump in zip(("server2019", "server23h2"), dumps, strict=True):
        text = "\n".join(["", *lines(dump, classes), ""])
        (HERE / f"types-{name}.gz").write_bytes(gzip.compress(text.encode(), 9, mtime=0))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
