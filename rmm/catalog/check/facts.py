"""Questions about Windows, answered from the shipped facts; loaded on the first question."""

from __future__ import annotations

import json
import lzma
from functools import cache
from importlib.resources import files
from typing import Any

ACCELERATORS = {
    "string": "System.String", "char": "System.Char", "byte": "System.Byte", "sbyte": "System.SByte",
    "int": "System.Int32", "int16": "System.Int16", "int32": "System.Int32", "int64": "System.Int64",
    "long": "System.Int64", "uint16": "System.UInt16", "uint32": "System.UInt32", "uint64": "System.UInt64",
    "bool": "System.Boolean", "double": "System.Double", "single": "System.Single", "float": "System.Single",
    "decimal": "System.Decimal", "datetime": "System.DateTime", "timespan": "System.TimeSpan",
    "guid": "System.Guid", "regex": "System.Text.RegularExpressions.Regex", "version": "System.Version",
    "uri": "System.Uri", "xml": "System.Xml.XmlDocument", "array": "System.Array",
    "hashtable": "System.Collections.Hashtable", "math": "System.Math", "convert": "System.Convert",
    "object": "System.Object", "bigint": "System.Numerics.BigInteger", "ipaddress": "System.Net.IPAddress",
    "cultureinfo": "System.Globalization.CultureInfo", "void": "System.Void", "type": "System.Type",
    "environment": "System.Environment",
}  # fmt: skip
# Types of PowerShell itself and of its CIM layer, of which there are no facts.
OWN_TYPES = frozenset(
    {"pscustomobject", "psobject", "scriptblock", "ordered", "switch", "ciminstance", "cimsession", "cimtype",
     "cmdletbinding", "parameter", "validateset", "validaterange", "validatenotnullorempty", "outputtype", "alias",
     "allownull", "pscredential", "psdefaultvalue", "nullstring", "wmi", "adsi", "wmiclass", "wmisearcher"}
)  # fmt: skip
OWN_PREFIXES = ("system.management.automation.", "microsoft.management.infrastructure.", "microsoft.powershell.")


@cache
def _load(name: str) -> Any:
    data = (files("rmm.catalog.facts") / f"{name}.json.xz").read_bytes()
    return json.loads(lzma.decompress(data))


@cache
def commands() -> dict[str, frozenset[str]]:
    """Lower-case command name -> its lower-case parameters, common ones not included."""
    return {
        name.casefold(): frozenset(map(str.casefold, given)) for name, given in _load("powershell")["commands"].items()
    }


@cache
def aliases() -> frozenset[str]:
    """Lower-case names of all aliases of 5.1."""
    own = (files("rmm.catalog.facts") / "aliases.txt").read_text(encoding="utf-8").split()
    return frozenset(map(str.casefold, [*own, *_load("powershell")["aliases"]]))


@cache
def classes(namespace: str) -> dict[str, frozenset[str]] | None:
    """Lower-case class name -> lower-case properties; None for an unknown namespace."""
    wanted = namespace.replace("\\", "/").strip("/").casefold()
    result: dict[str, frozenset[str]] = {}
    for spaces in (_load("cim"), _extra_classes()):
        for name, found in spaces.items():
            if name.casefold() == wanted:
                for key, props in found.items():
                    have = result.get(key.casefold(), frozenset())
                    result[key.casefold()] = have | frozenset(map(str.casefold, props))
    return result or None


@cache
def _extra_classes() -> dict[str, dict[str, dict[str, str]]]:
    """Classes that come with a role or product; the list lies with the stand-ins that execute scripts."""
    import yaml

    text = (files("rmm") / "lab" / "windows" / "extra_classes.yaml").read_text(encoding="utf-8")
    return yaml.safe_load(text) or {}


@cache
def _types() -> dict[str, dict[str, list[str]]]:
    return {name.casefold(): members for name, members in _load("dotnet").items()}


def members(type_name: str) -> dict[str, frozenset[str]] | None:
    """Kind of member -> lower-case members of a .NET type, by accelerator or full name; None when it is unknown."""
    plain = type_name.casefold()
    full = ACCELERATORS.get(plain, plain).casefold()
    found = _types().get(full) or _types().get(f"system.{full}")
    return None if found is None else {kind: frozenset(map(str.casefold, names)) for kind, names in found.items()}


def is_own_type(type_name: str) -> bool:
    """Whether a type belongs to PowerShell itself."""
    return type_name.casefold() in OWN_TYPES or type_name.casefold().startswith(OWN_PREFIXES)


# What scripts handle most; an unknown receiver whose method has one of their names is held to one of their shapes.
_USUAL = (
    "System.String", "System.DateTime", "System.TimeSpan", "System.Array", "System.Collections.Hashtable",
    "System.Version", "System.Guid", "System.Int32", "System.UInt64", "System.Double", "System.Object",
    "System.Text.StringBuilder", "System.Text.RegularExpressions.Regex", "System.Text.RegularExpressions.Match",
    "System.Collections.ArrayList", "System.Collections.Generic.List`1", "System.Collections.Generic.Dictionary`2",
    "System.Collections.Generic.HashSet`1",
)  # fmt: skip


@cache
def usual_methods() -> frozenset[str]:
    """`name/number` of the methods of the usual types, lower case."""
    return frozenset().union(*((members(name) or {}).get("methods", frozenset()) for name in _USUAL))


@cache
def all_methods() -> frozenset[str]:
    """The same of every type."""
    return frozenset(method.casefold() for found in _types().values() for method in found.get("methods", ()))
