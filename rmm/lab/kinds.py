"""What kind of machine a profile's name asks for: `server2022-core-dc-de-degraded`. Pure."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from rmm.lab.profile import CORE, Catalogue, Language, Model, OsProfile

FORMS = ("laptop", "desktop")
CONDITIONS = ("healthy", "degraded")
LAPTOP = 10  # SMBIOS chassis type


class MachineKind(NamedTuple):
    """What is known of a machine before its dice are thrown; empty: thrown."""

    system: str
    core: bool = False
    role: str = ""
    form: str = ""
    language: str = ""
    condition: str = ""


def parse_kind(name: str, catalogue: Catalogue) -> MachineKind:
    """The kind that a profile's name says. Raises ValueError with what is known."""
    system, *words = name.split("-")
    if system not in catalogue.systems:
        raise ValueError(f"no such profile: {name}; systems are {', '.join(catalogue.systems)}")
    found: dict[str, str] = {}
    choices = {
        "core": ("core",), "role": tuple(catalogue.roles), "form": FORMS, "language": tuple(catalogue.languages),
        "condition": CONDITIONS,
    }  # fmt: skip
    for word in words:
        place = next((place for place, known in choices.items() if word in known), "")
        if not place:
            known = ", ".join(word for each in choices.values() for word in each)
            raise ValueError(f"no such profile: {name}: {word!r} is none of {known}")
        if place in found:
            raise ValueError(f"no such profile: {name}: {found[place]} and {word}")
        found[place] = word
    server = catalogue.systems[system].kind == "server"
    if wrong := [found[place] for place in (("form",) if server else ("core", "role")) if place in found]:
        raise ValueError(f"no such profile: {name}: {', '.join(wrong)} goes with {'clients' if server else 'servers'}")
    core = found.pop("core", "") == "core"
    return MachineKind(system, core, **found)


def system_of(kind: MachineKind, catalogue: Catalogue) -> OsProfile:
    """The operating system as it is installed."""
    system = catalogue.systems[kind.system]
    return msgspec.structs.replace(system, installation=CORE) if kind.core else system


def fits(kind: MachineKind, model: Model) -> bool:
    """Whether such a machine is of this model."""
    laptop = model.chassis == LAPTOP
    if kind.role == "hv":  # a machine in a machine can be a Hyper-V host, but nobody runs one so
        return not model.vm
    return laptop if kind.form == "laptop" else not laptop if kind.form == "desktop" else True


def words(kind: MachineKind, language: Language, catalogue: Catalogue) -> frozenset[str]:
    """The words by which a sample's name may be of such a machine: system, role, language, condition."""
    role = catalogue.roles.get(kind.role)
    also = role.also if role is not None else ()
    named = {kind.system, kind.role, *also, language.name, *language.also, kind.form, kind.condition}
    return frozenset(named | ({"core"} if kind.core else set())) - {""}
