"""The state of a simulated machine for the stand-ins: what the engine `samples` would answer, turned round."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from rmm.lab.documents import Documents, KeyMissingError, iso
from rmm.lab.machine import CimFault
from rmm.lab.samples import SampleStore
from rmm.lab.simulated import LabMachine
from rmm.lab.windows.classes import plain_namespace
from rmm.lab.windows.state import merged, state_of_sample
from rmm.model.collector import Collector, Source


class MachineStates:
    """Makes states for the sources of the collectors in `catalog`."""

    def __init__(self, catalog: Mapping[str, Collector]) -> None:
        self._collectors = [collector for collector in catalog.values() if collector.windows]
        self._samples = SampleStore()
        self._documents = Documents(self._samples)

    def of(self, machine: LabMachine, now: datetime) -> dict[str, Any]:
        """One machine at `now`. All collectors' sources are turned round together, because classes are shared."""
        moment = machine.moment(now)
        sources: dict[str, Source] = {}
        document: dict[str, Any] = {}
        states: list[Mapping[str, Any]] = []
        for collector in self._collectors:
            try:
                rows = msgspec.json.decode(self._documents.document(collector, machine, moment))
            except (CimFault, KeyMissingError):
                continue  # the stand-ins refuse it as well
            for name, source in collector.manifest.sources.items():
                sources[f"{collector.name}.{name}"] = source
                document[f"{collector.name}.{name}"] = rows.get(name, [])
            states.append(self._samples.state(collector, machine))
        one = self._collectors[0]
        together = msgspec.structs.replace(one, manifest=msgspec.structs.replace(one.manifest, sources=sources))
        sample = {"observed_at": iso(now), "document": document}
        state = state_of_sample(together, sample, f"{machine.os.name}-lab")
        for more in states:
            state = merged(state, {**more, "cim": _completed(state["cim"], more.get("cim", {}))})
        return state | {
            "computer": machine.name, "kind": machine.os.kind, "build": machine.os.build, "now": iso(now),
            "culture": machine.language.mui, "zone": machine.zone.key,
        }  # fmt: skip


def _completed(cim: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """`more`, but for classes that `cim` has: there it says of each instance what that does not say itself.

    Samples are of different machines, and of two that disagree this machine is the one that was turned round.
    """
    found: dict[str, Any] = {}
    for namespace, classes in more.items():
        mine = {name.casefold(): rows for name, rows in cim.get(plain_namespace(namespace), {}).items()}
        found[namespace] = {
            name: _over(mine[name.casefold()], rows) if name.casefold() in mine else rows
            for name, rows in classes.items()
        }
    return found


def _over(mine: list[dict[str, Any]], more: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**(more[place] if place < len(more) else {}), **row} for place, row in enumerate(mine)]
