"""Which CIM classes Windows has and the types of their properties: the packed schemas and `extra_classes.yaml`."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).resolve().parent
MODULES = HERE / "modules"  # for PSModulePath


class CimClass(NamedTuple):
    """A class in Windows' own spelling; `types` maps its properties to CIM types such as `uint64` or `string[]`."""

    namespace: str
    name: str
    types: Mapping[str, str]
    extra: bool = False  # comes with a role or a product: is there only where a machine's state names it


def plain_namespace(text: str) -> str:
    r"""A namespace in one form: `root\CIMV2` is `root/cimv2`."""
    return text.replace("\\", "/").strip("/").casefold()


@cache
def _lines(schema: str) -> dict[tuple[str, str], str]:
    """(Namespace, class) in lower case -> the line of the packed schema."""
    text = gzip.decompress((MODULES / "RmmLab.Windows" / f"types-{schema}.gz").read_bytes()).decode()
    found = {}
    for line in text.splitlines():
        if line:
            space, name, _ = line.split("|")
            found[space.casefold(), name.casefold()] = line
    return found


@cache
def has_namespace(namespace: str) -> bool:
    """Whether any Windows has this namespace."""
    space = plain_namespace(namespace)
    return everywhere(space) or space in {plain_namespace(name) for name in extra_classes()}


@cache
def everywhere(namespace: str) -> bool:
    """Whether each Windows has this namespace; others come with a role or a product."""
    space = plain_namespace(namespace)
    return any(space == found for schema in ("server2019", "server23h2") for found, _ in _lines(schema))


@cache
def extra_classes() -> dict[str, dict[str, dict[str, str]]]:
    """Namespace -> class -> property -> type, of classes that come with a role or product and for corrected types."""
    import yaml

    content: Any = yaml.safe_load((HERE / "extra_classes.yaml").read_text(encoding="utf-8"))
    return content or {}


@cache
def _extra(namespace: str, name: str) -> tuple[str, str, dict[str, str]] | None:
    for space, classes in extra_classes().items():
        if plain_namespace(space) == namespace:
            for known, types in classes.items():
                if known.casefold() == name:
                    return space, known, types
    return None


@cache
def find_class(namespace: str, name: str, build: int = 20348) -> CimClass | None:
    """A class of systems of this build; None when Windows has no such class there."""
    space, folded = plain_namespace(namespace), name.casefold()
    line = _lines("server2019" if build < 20348 else "server23h2").get((space, folded))
    extra = _extra(space, folded)
    if line is None:
        return CimClass(*extra, extra=True) if extra else None
    own_space, own_name, props = line.split("|")
    types = dict(pair.split(":") for pair in props.split(",") if pair)
    return CimClass(own_space.replace("CIMV2", "cimv2"), own_name, {**types, **(extra[2] if extra else {})})
