"""What a security descriptor in SDDL grants to a group: the formula `granted`, and `access`, which decides it.

Source: Microsoft, "Security Descriptor String Format", "ACE Strings"; the masks of file and share rights of [MS-DTYP].
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from rmm.core.coerce import Invalid
from rmm.core.context import Context, Instance, Reader, Site

LONGEST = 65_536  # characters; Windows' own limit of a DACL is 64 KB
_FULL, _WRITE, _READ = 0x1F01FF, 0x2, 0x1
_RIGHTS = {
    "GA": 0x1F01FF, "GR": 0x120089, "GW": 0x120116, "GX": 0x1200A0, "FA": 0x1F01FF, "FR": 0x120089, "FW": 0x120116,
    "FX": 0x1200A0, "SD": 0x10000, "RC": 0x20000, "WD": 0x40000, "WO": 0x80000, "CC": 0x1, "DC": 0x2, "LC": 0x4,
    "SW": 0x8, "RP": 0x10, "WP": 0x20, "DT": 0x40, "LO": 0x80, "CR": 0x100,
}  # fmt: skip
_GENERIC = {0x10000000: 0x1F01FF, 0x80000000: 0x120089, 0x40000000: 0x120116, 0x20000000: 0x1200A0}
_DACL = re.compile(r"D:(?P<flags>[A-Z_]*)(?P<aces>(?:\([^()]{0,1000}\))*)")
_ACE = re.compile(r"\(([^()]*)\)")


def granted(site: Site) -> Reader:
    """What the property (SDDL of a file or share) lets the trustees `to` do: full, change, read, other or none."""
    prop, trustees = site.field.prop, frozenset(map(str, site.field.args["to"]))

    def read(context: Context, instance: Instance) -> Any:
        value = instance.get(prop)
        if value is None or value == "":
            return None
        if type(value) is not str or len(value) > LONGEST:
            raise Invalid
        return access(value, trustees)

    return read


def access(sddl: str, trustees: Collection[str]) -> str:
    """The most that any of `trustees` (SIDs or their two letters) is granted by name, in the order of the list.

    A descriptor without a DACL, or with a null one, lets everybody do everything.

    Raises:
        Invalid: not an SDDL.
    """
    if not re.match(r"(?:O:|G:|D:|S:)", sddl):
        raise Invalid
    found = _DACL.search(sddl)
    if found is None or "NO_ACCESS_CONTROL" in found["flags"]:
        return "full"
    masks = [_mask(found["aces"], trustee) for trustee in trustees]
    for word, bits in (("full", _FULL), ("change", _WRITE), ("read", _READ)):
        if any(mask & bits == bits for mask in masks):
            return word
    return "other" if any(masks) else "none"


def _mask(aces: str, trustee: str) -> int:
    allowed = denied = 0
    for ace in _ACE.findall(aces):
        parts = ace.split(";")
        if len(parts) < 6 or parts[5] != trustee or "IO" in parts[1]:  # inherit only: not about the object itself
            continue
        if parts[0] == "A":
            allowed |= _bits(parts[2]) & ~denied
        elif parts[0] == "D":
            denied |= _bits(parts[2]) & ~allowed
    return allowed


def _bits(rights: str) -> int:
    if re.fullmatch(r"0x[0-9A-Fa-f]{1,8}", rights):
        value = int(rights, 16)
        return value | sum(meant for bit, meant in _GENERIC.items() if value & bit == bit and value >= bit)
    bits = 0
    for place in range(0, len(rights), 2):
        bits |= _RIGHTS.get(rights[place : place + 2], 0)
    return bits
