"""Every script on every kind of lab machine: PowerShell on its state gives what the samples engine gives."""

from __future__ import annotations

import json
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
from rmm.lab.samples import SampleStore
from rmm.lab.simulated import LabMachine
from rmm.lab.windows.of_machine import state_of_machine
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


QUICK = covering()
SLOW = [pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS if kind not in QUICK]


@pytest.mark.parametrize("kind", [*QUICK, *SLOW], ids="-".join)
def test_powershell_and_the_samples_engine_say_the_same(
    executor: Executor, catalog: dict[str, Collector], kind: Kind
) -> None:
    machine = KINDS[kind]
    chosen = [one for one in catalog.values() if one.windows and machine.os.kind in fits(one)]
    results = executor.run(state_of_machine(machine, NOW), [Job(one.windows) for one in chosen])
    documents, moment = Documents(SampleStore()), machine.moment(NOW)
    different = []
    for one, result in zip(chosen, results, strict=True):
        try:
            wanted: Any = json.loads(documents.document(one, machine, moment))
        except (CimFault, KeyMissingError):
            wanted = None  # a fault, there as well as here
        found = json.loads(result.output[-1]) if result.error is None else None
        found, wanted = comparable(one, machine, found), comparable(one, machine, wanted)
        if found != wanted or result.refusals:
            different.append(f"{one.name}: {difference(found, wanted, result)}")
    assert not different, "\n".join(different)


def comparable(one: Collector, machine: LabMachine, document: Any) -> Any:
    """A document without what the samples engine cannot know.

    It has no notes of a script that went well, it lists keys of which no value is wanted, and where a script looks at
    what the lab computes and at what a sample says, it can only replay the sample.
    """
    if document is None:
        return None
    sources = one.manifest.sources
    kept = {name: rows for name, rows in document.items() if name != "notes" or rows}
    for name, source in sources.items():
        if source.registry_keys and name in kept:
            kept[name] = [row for row in kept[name] if any(row.get(value) is not None for value in source.values)]
        elif mixed(one, machine) and not derivable(source):
            kept.pop(name, None)
    return kept


def mixed(one: Collector, machine: LabMachine) -> bool:
    """Whether the state of the collector's sample names something that the lab computes."""
    file = nearest_sample(Path(one.folder).glob("samples/*.raw.json"), traits_of(machine))
    assert file is not None
    state = json.loads(file.read_text(encoding="utf-8")).get("state", {})
    classes = [name for found in state.get("cim", {}).values() for name in found]
    keys = [registry.normal(path) for path in state.get("registry", {})]
    return any(name in PROVIDERS for name in classes) or any(map(registry.computed, keys))


def fits(one: Collector) -> tuple[str, ...]:
    return ("server",) if one.manifest.roles else ("server", "client")


def difference(found: Any, wanted: Any, result: Result) -> str:
    if result.refusals:
        return "; ".join(result.refusals)
    if found is None or wanted is None:
        return f"{result.error} instead of {str(wanted)[:300]}"
    names = [name for name in {**found, **wanted} if found.get(name) != wanted.get(name)]
    return "; ".join(f"{name}: {str(found.get(name))[:300]} instead of {str(wanted.get(name))[:300]}" for name in names)
