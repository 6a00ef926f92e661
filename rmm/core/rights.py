"""What an account may read on an endpoint: the places that collectors need, what a refusal means, and who grants it.

Verdicts come from numbers and identifiers, never from texts. What Windows grants to which group was taken from
Microsoft's documentation; only a Windows machine can prove it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from rmm.core.records import judge
from rmm.model.collector import Collector, Manifest, Source
from rmm.model.observation import ACCESS_DENIED

READABLE, EMPTY, DENIED, ABSENT, NOT_TRIED = "readable", "empty", "denied", "absent", "not tried"

_CLASS = re.compile(r"\bFROM\s+([A-Za-z_][A-Za-z0-9_]*)", re.IGNORECASE)
_HIVES = {"HKLM": "HKEY_LOCAL_MACHINE", "HKU": "HKEY_USERS", "HKCU": "HKEY_CURRENT_USER", "HKCR": "HKEY_CLASSES_ROOT"}
_NO_PLACE = ("PathNotFound", "wmi.class", "wmi.namespace", "wmi.not_found")
_PERF = "win32_perf"


class Place(msgspec.Struct, frozen=True):
    """Where a source reads: a WMI class, a registry key, or whatever a script alone knows."""

    kind: str  # wmi | registry | script
    place: str  # namespace, or key
    name: str = ""  # class

    def __str__(self) -> str:
        return f"{self.place}:{self.name}" if self.kind == "wmi" else self.place

    @property
    def line(self) -> str:
        """How the probe script is told of it."""
        hive, slash, rest = self.place.partition("\\")
        full = f"{_HIVES.get(hive, hive)}{slash}{rest}" if self.kind == "registry" else self.place
        return f"{self.kind}|{full}|{self.name}"


class Right(msgspec.Struct, frozen=True, kw_only=True):
    """One place: what became of it, whose it is, and what is missing without it."""

    source: str
    kind: str
    verdict: str
    needed_by: tuple[str, ...]  # collector.source
    missing: tuple[str, ...] = ()  # catalogue fields that stay empty
    grant: str = ""
    error: str = ""


class Survey(msgspec.Struct, frozen=True):
    """All places, in the order of the collectors; `way` is how they were tried: script or wql."""

    rows: tuple[Right, ...]
    way: str = ""

    def having(self, verdict: str) -> list[Right]:
        """The rows with this verdict."""
        return [row for row in self.rows if row.verdict == verdict]


class Seen(msgspec.Struct, frozen=True):
    """What trying one place gave; `code` is an HRESULT or WSManFault code, as any 32-bit number."""

    error: str = ""  # FullyQualifiedErrorId, or the code of our own error
    category: str = ""
    code: int = 0
    instances: int = 1
    tried: bool = True


def places(collectors: Iterable[Collector]) -> dict[Place, list[tuple[Manifest, str]]]:
    """Place -> the (manifest, source name) that need it."""
    found: dict[Place, list[tuple[Manifest, str]]] = {}
    for collector in collectors:
        for name, source in collector.manifest.sources.items():
            for place in _of(collector.name, name, source):
                found.setdefault(place, []).append((collector.manifest, name))
    return found


def _of(collector: str, name: str, source: Source) -> list[Place]:
    if source.wql:
        match = _CLASS.search(source.wql)
        return [Place("wmi", source.namespace, match[1])] if match else []
    keys = source.registry or source.registry_keys
    if keys:
        return list(dict.fromkeys(Place("registry", _full(key)) for key in keys))
    return [Place("script", f"{collector}.{name}")]


def _full(key: str) -> str:
    """A key up to its first wildcard."""
    hive, _, rest = key.partition("\\")
    fixed = rest.split("\\*")[0] if not rest.startswith("*") else ""
    name = hive.rstrip(":").upper()
    return f"{name}\\{fixed}" if fixed else name


def verdict(place: Place, seen: Seen | None) -> str:
    """What a try says."""
    if seen is None or not seen.tried:
        return NOT_TRIED
    if not (seen.error or seen.category or seen.code):
        return EMPTY if place.name.lower().startswith(_PERF) and not seen.instances else READABLE
    judged = judge(seen.error, seen.category, seen.code)
    if judged.status == ACCESS_DENIED:
        return DENIED
    return ABSENT if judged.unsupported or seen.error.partition(",")[0] in _NO_PLACE else NOT_TRIED


def survey(needed: Mapping[Place, list[tuple[Manifest, str]]], seen: Mapping[Place, Seen], way: str) -> Survey:
    """One row for each place."""
    rows = []
    for place, users in needed.items():
        found = seen.get(place)
        word = verdict(place, found)
        if word == EMPTY and all(manifest.roles for manifest, _ in users):
            word = ABSENT  # counters of a role: who may not read counters sees those of every Windows empty too
        rows.append(
            Right(
                source=str(place),
                kind=place.kind,
                verdict=word,
                needed_by=tuple(f"{manifest.name}.{source}" for manifest, source in users),
                missing=tuple(f for manifest, source in users for f in _missing(manifest, source, word)),
                grant=_grant(place, word, users),
                error=found.error[:200] if found is not None and word not in (READABLE,) else "",
            )
        )
    return Survey(tuple(rows), way)


def _missing(manifest: Manifest, source: str, word: str) -> list[str]:
    """The fields that stay empty; what a script may do without is simply not there."""
    lost = word in (DENIED, EMPTY) or (word == ABSENT and not manifest.sources[source].optional)
    return fields_of(manifest, source) if lost else []


def fields_of(manifest: Manifest, source: str) -> list[str]:
    """The fields that come from a source; all of them where its instances are the rows."""
    name = manifest.name
    if manifest.rows == source and not manifest.sources[source].optional:
        return [f"{name}.*"]
    return [
        f"{name}.{field}"
        for field, declared in manifest.fields.items()
        if source in (declared.source or manifest.rows, *_named(declared.args))
    ]


def _named(arguments: Mapping[str, Any]) -> list[str]:
    """Sources that a formula names beside its own."""
    return [value for key, value in arguments.items() if key in ("from", "source") and isinstance(value, str)]


def _grant(place: Place, word: str, users: list[tuple[Manifest, str]]) -> str:
    """Which group or permission would help."""
    if word == ABSENT:
        optional = all(manifest.sources[source].optional for manifest, source in users)
        return "not needed: this machine has none" if optional else "comes with another Windows, edition or role"
    if place.kind == "script" and word == NOT_TRIED:
        return "only the collector's own script can tell: see its rung of `rmm doctor`"
    if word not in (DENIED, EMPTY):
        return ""
    if place.name.lower().startswith(_PERF):
        return "group Performance Monitor Users"
    if place.name.lower() == "win32_service":
        return "Administrators, or the right to enumerate services in the service manager's SDDL (sc sdset scmanager)"
    if place.kind == "wmi":
        return (
            f"Enable Account and Remote Enable on {place.place} (wmimgmt.msc, WMI Control, Security), or Administrators"
        )
    return f"Read on the key {place.place} (regedit, Permissions), or Administrators"
