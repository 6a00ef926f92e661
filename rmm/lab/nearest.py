"""Which of a collector's samples is nearest to a machine: by the words of the file's name.

A name is `<system>-<word>...-<case>`, such as `server2022-dc-typical` or `windows10-german`. A word that is a role or a
language fits only machines that have it; a typical machine of another system is nearer than an odd one of this.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

LANGUAGES = {"german": "de", "french": "fr", "japanese": "ja"}
# What a sample's name calls a role -> the roles of lab machines that have it.
ROLES: dict[str, frozenset[str]] = {
    "dc": frozenset({"dc"}),
    "hv": frozenset({"hv", "hyperv"}),
    "hyperv": frozenset({"hv", "hyperv"}),
    "iis": frozenset({"web", "iis"}),
    "sql": frozenset({"sql"}),
    "dns": frozenset({"net", "dc", "dns"}),
    "dhcp": frozenset({"net", "dhcp"}),
    "rds": frozenset({"rds"}),
    "cluster": frozenset({"cluster"}),
    "core": frozenset({"core"}),
}
_EXACT, _FAMILY = 3, 2


class Traits(NamedTuple):
    """What of a machine a sample is chosen by; `system` is a profile's name or begins with `linux`."""

    system: str
    kind: str  # server | client
    roles: frozenset[str]
    language: str  # en, de ...


def nearest_sample(files: Iterable[Path], traits: Traits) -> Path | None:
    """The nearest of these `*.raw.json`; the first by name of several that are equally near. None where none fits."""
    rated = [(score, file.name, file) for file in files if (score := _score(file.name, traits)) is not None]
    return min(rated, key=lambda item: (-item[0], item[1]))[2] if rated else None


def has_role(roles: Iterable[str], machine: frozenset[str]) -> bool:
    """Whether a machine of these roles has one that a collector is about; every machine where it is about none."""
    wanted = list(roles)
    return not wanted or any(ROLES.get(role, frozenset((role,))) & machine for role in wanted)


def _score(name: str, traits: Traits) -> int | None:
    system, *words = name.removesuffix(".raw.json").split("-")
    if system.startswith("linux") != traits.system.startswith("linux"):
        return None
    score = _EXACT if system == traits.system else _FAMILY if system.startswith(_family(traits.kind)) else 0
    for word in words:
        if word in ROLES:
            score += 40 if ROLES[word] & traits.roles else -200
        elif word in LANGUAGES:
            score += 25 if LANGUAGES[word] == traits.language else -100
        elif word == "typical":
            score += 20
    return score


def _family(kind: str) -> str:
    return "server" if kind == "server" else "win"
