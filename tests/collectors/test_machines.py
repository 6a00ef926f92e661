"""Every script on every kind of lab machine: PowerShell on its state gives what the samples engine gives."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from rmm.lab import registry
from rmm.lab.cim.repository import PROVIDERS
from rmm.lab.documents import Documents, KeyMissingError, derivable
from rmm.lab.fixtures import traits_of
from rmm.lab.fleet import LabFleet
from rmm.lab.machine import CimFault
from rmm.lab.nearest import nearest_sample
from rmm.lab.profile import load_catalogue
from rmm.lab.samples import SampleStore
from rmm.lab.simulated import LabMachine
from rmm.lab.windows.of_machine import state_of_machine
from rmm.lab.windows.state import state_of_sample
from rmm.model.collector import Collector
from tests.collectors.executor import Executor, Job, Result

NOW = datetime(2026, 11, 20, 10, tzinfo=UTC)
FLEET = LabFleet(400, seed=7, started=NOW)
Kind = tuple[str, str, str]


def kind_of(machine: LabMachine) -> Kind:
    return machine.os.name, machine.role or machine.os.kind, machine.language.name


KINDS: dict[Kind, LabMachine] = {}
for each in FLEET:
    KINDS.setdefault(kind_of(each), each)


def covering() -> list[Kind]:
    """So few that every system, role and language is among them."""
    chosen: list[Kind] = []
    seen: set[str] = set()
    for kind in sorted(KINDS, key=lambda kind: (kind[2] == "en", kind)):
        if not seen.issuperset(kind):
            chosen.append(kind)
            seen.update(kind)
    return chosen


MACHINES = {"-".join(kind): KINDS[kind] for kind in covering()}
PROFILES = load_catalogue().profiles


@pytest.mark.parametrize("name", [*MACHINES, *(pytest.param(one, marks=pytest.mark.slow) for one in PROFILES)])
def test_powershell_and_the_samples_engine_say_the_same(
    executor: Executor, catalog: dict[str, Collector], name: str
) -> None:
    machine = MACHINES.get(name) or LabFleet(1, seed=7, started=NOW, profiles=[name])[0]
    chosen = [one for one in catalog.values() if one.windows and machine.os.kind in fits(one)]
    state = state_of_machine(machine, NOW)
    results = executor.run(state, [Job(one.windows) for one in chosen])
    documents, moment = Documents(SampleStore()), machine.moment(NOW)
    different = []
    for one, result in zip(chosen, results, strict=True):
        try:
            wanted: Any = json.loads(documents.document(one, machine, moment))
        except (CimFault, KeyMissingError):
            wanted = None  # a fault, there as well as here
        found = json.loads(result.output[-1]) if result.error is None else None
        other = disturbed(one, machine, state)
        found, wanted = comparable(one, found, other), comparable(one, wanted, other)
        if found != wanted or result.refusals:
            different.append(f"{one.name}: {difference(found, wanted, result)}")
    assert not different, "\n".join(different)


def comparable(one: Collector, document: Any, other: bool) -> Any:
    """A document without what the samples engine cannot know.

    It lists keys of which no value is wanted, and what a script alone makes it can only replay: on a machine that is
    not the sample's, a script may make something else.
    """
    if document is None:
        return None
    sources = one.manifest.sources
    kept = {name: rows for name, rows in document.items() if name != "notes" or rows}
    for name, source in sources.items():
        if source.registry_keys and name in kept:
            kept[name] = [row for row in kept[name] if any(row.get(value) is not None for value in source.values)]
        elif other and not derivable(source):
            kept.pop(name, None)
    if other:
        kept.pop("notes", None)
    return kept


def disturbed(one: Collector, machine: LabMachine, state: Mapping[str, Any]) -> bool:
    """Whether the machine is not quite the one of the collector's sample: the lab or another sample says otherwise."""
    file = nearest_sample(Path(one.folder).glob("samples/*.raw.json"), traits_of(machine))
    assert file is not None
    own = state_of_sample(one, json.loads(file.read_text(encoding="utf-8")), file.name)
    for space, classes in own.pop("cim").items():
        for name, rows in classes.items():
            whole = state["cim"].get(space, {}).get(name)
            if name in PROVIDERS or whole is None or len(whole) != len(rows) or not all(map(within, rows, whole)):
                return True
    keys = {registry.normal(path): values for path, values in state["registry"].items()}
    for path, values in own.pop("registry").items():
        if not within(values, keys.get(registry.normal(path), {"": None})):
            return True
    absent = set(own.pop("absent", [])) - set(state["absent"])
    areas = {name: value for name, value in own.items() if name not in ABOUT}
    return bool(absent) or any(state.get(name) != value for name, value in areas.items())


ABOUT = frozenset({"format", "computer", "os", "now", "kind", "build", "classes", "roles", "culture", "methods"})
NAMES = frozenset({"CSName", "SystemName", "UUID"})


def within(part: Mapping[str, Any], whole: Mapping[str, Any]) -> bool:
    return all(name in NAMES or whole.get(name) == value for name, value in part.items())


def fits(one: Collector) -> tuple[str, ...]:
    return ("server",) if one.manifest.roles else ("server", "client")


def difference(found: Any, wanted: Any, result: Result) -> str:
    if result.refusals:
        return "; ".join(result.refusals)
    if found is None or wanted is None:
        return f"{result.error} instead of {str(wanted)[:300]}"
    names = [name for name in {**found, **wanted} if found.get(name) != wanted.get(name)]
    return "; ".join(f"{name}: {str(found.get(name))[:300]} instead of {str(wanted.get(name))[:300]}" for name in names)
