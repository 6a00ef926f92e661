"""Makes the compressed facts from the full dumps that README.md names: `python -m rmm.catalog.facts.extract FOLDER`.

Names only: no types of values, no versions. Output is reproducible byte by byte.
"""

from __future__ import annotations

import json
import lzma
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent


def cim(older: dict[str, Any], newer: dict[str, Any]) -> dict[str, dict[str, list[str]]]:
    """Namespace -> class -> properties that both systems have; a class of one system alone keeps its own."""
    result: dict[str, dict[str, list[str]]] = {}
    for space in sorted({*older, *newer}, key=str.casefold):
        old, new = older.get(space, {}), newer.get(space, {})
        result[space] = {
            name: sorted(set(old.get(name, new.get(name, {}))) & set(new.get(name, old.get(name, {}))))
            for name in sorted({*old, *new})
        }
    return result


def powershell(modules: dict[str, Any]) -> dict[str, Any]:
    """Command -> parameters, and all aliases."""
    commands = {name: sorted(given) for module in modules.values() for name, given in module["commands"].items()}
    aliases = sorted({alias for module in modules.values() for alias in module["aliases"]})
    return {"commands": dict(sorted(commands.items())), "aliases": aliases}


def dotnet(assemblies: dict[str, Any]) -> dict[str, Any]:
    """Type -> kind of member -> members (methods as name/number of parameters)."""
    kinds = ("constructors", "methods", "static_methods", "properties", "static_properties", "fields", "static_fields")
    return {
        name: {kind: members[kind] for kind in kinds if members.get(kind)}
        for types in assemblies.values()
        for name, members in sorted(types.items())
    }


def main(folder: Path) -> None:
    """Write the three files beside this module."""

    def load(name: str) -> Any:
        return json.loads((folder / name).read_text(encoding="utf-8"))

    facts = {
        "cim": cim(load("cim-server2019.json"), load("cim-server23h2.json")),
        "powershell": powershell(load("powershell-5.1.14393.json")),
        "dotnet": dotnet(load("dotnet-framework-4.6.2.json")),
    }
    for name, content in facts.items():
        text = json.dumps(content, separators=(",", ":"), ensure_ascii=False)
        data = lzma.compress(text.encode(), format=lzma.FORMAT_XZ, preset=9 | lzma.PRESET_EXTREME)
        (HERE / f"{name}.json.xz").write_bytes(data)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
