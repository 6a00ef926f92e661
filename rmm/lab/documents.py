"""A collector's raw document as its script would emit it on a simulated machine, made from the manifest's sources.

Nothing here knows a collector by name: WQL sources are queried, registry sources are read, and what a script alone
produces is replayed from the collector's samples with the machine's own identity.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from rmm.lab import registry
from rmm.lab.cim.moment import Moment
from rmm.lab.cim.repository import Plan, columns
from rmm.lab.cim.services import SharedRow
from rmm.lab.machine import INVALID_CLASS, CimFault
from rmm.lab.nearest import has_role
from rmm.lab.samples import SampleStore
from rmm.lab.simulated import LabMachine
from rmm.model.collector import Collector, Source

_encode = msgspec.json.Encoder().encode


def text_of(value: Any) -> str:
    """A JSON value, compact."""
    return _encode(value).decode()


def iso(value: datetime) -> str:
    """ISO-8601 in UTC with seven digits, as PowerShell's round-trip format has them."""
    return f"{value.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}0Z"


class KeyMissingError(LookupError):
    """A registry key that a source needs is not there; the argument is its path."""


class Documents:
    """Makes documents. `samples` gives what only a script can produce."""

    def __init__(self, samples: SampleStore) -> None:
        self._samples = samples

    def document(self, collector: Collector, machine: LabMachine, moment: Moment) -> str:
        """The document's JSON text. Raises CimFault or KeyMissingError for a source that cannot be had."""
        sources = collector.manifest.sources
        if _fits(collector, machine) and not any(derivable(source) for source in sources.values()):
            return text_of(self._samples.document(collector, machine))
        return "{" + ",".join(self._members(collector, sources, machine, moment)) + "}"

    def _members(
        self, collector: Collector, sources: Mapping[str, Source], machine: LabMachine, moment: Moment
    ) -> Iterable[str]:
        absent: list[str] = []
        for name, source in sources.items():
            rows: str | None
            try:
                if not derivable(source) and not _fits(collector, machine):
                    raise CimFault(INVALID_CLASS, f"no {', '.join(collector.manifest.roles)} on this machine")
                rows = _rows(source, machine, moment) if derivable(source) else self._sample(collector, name, machine)
            except (CimFault, KeyMissingError):
                absent.append(name)
                rows = "[]" if source.optional else self._sample(collector, name, machine)
                if rows is None:
                    raise
            yield f"{text_of(name)}:{rows or '[]'}"
        notes = self._notes(collector, machine, absent)
        if notes is not None:
            yield f'"notes":{text_of(notes)}'

    def _notes(self, collector: Collector, machine: LabMachine, absent: list[str]) -> list[Any] | None:
        """What a script that takes notes says: of what this machine lacks, and of what only its sample knows."""
        sources = collector.manifest.sources
        taken = self._samples.document(collector, machine).get("notes")
        if not isinstance(taken, list):
            return None
        replayed = [note for note in taken if (source := sources.get(note["Source"])) is None or not derivable(source)]
        return replayed + [{"Source": name, "Reason": "unsupported"} for name in absent]

    def _sample(self, collector: Collector, name: str, machine: LabMachine) -> str | None:
        """What the typical sample has under this name, if anything: users' collectors may need what no machine has."""
        if not _fits(collector, machine):
            return None
        rows = self._samples.document(collector, machine).get(name)
        return text_of(rows) if rows else None


def _fits(collector: Collector, machine: LabMachine) -> bool:
    """Whether the machine has what the collector is about."""
    return has_role(collector.manifest.roles, frozenset((machine.role,)))


def _rows(source: Source, machine: LabMachine, moment: Moment) -> str:
    if source.wql:
        return _wql(machine, moment, source)
    return text_of(_keys(moment, source) if source.registry else _subkeys(moment, source))


def derivable(source: Source) -> bool:
    """Whether a source says itself where it comes from."""
    return bool(source.wql or source.registry or source.registry_keys)


def _wql(machine: LabMachine, moment: Moment, source: Source) -> str:
    plan = machine.repository.plan(machine, source.namespace, source.wql)
    rows = machine.repository.rows(plan, moment)
    names = tuple(plan.types)
    if rows and isinstance(rows[0], SharedRow) and "SystemName" not in plan.types:
        return "[" + ",".join([_shared(row, names) for row in rows]) + "]"
    found = columns(rows, names)
    _times(plan, found)
    if "SystemName" in plan.types:
        for row in found:
            row["SystemName"] = machine.name
    return text_of(found)


def _shared(row: dict[str, Any], names: tuple[str, ...]) -> str:
    if not isinstance(row, SharedRow):
        return text_of({name: row.get(name) for name in names})
    text = row.texts.get(names)
    if text is None:
        text = row.texts[names] = text_of({name: row.get(name) for name in names})
    return text


def _times(plan: Plan, rows: list[dict[str, Any]]) -> None:
    """Write times as text, in place."""
    for name, kind in plan.types.items():
        if kind == "datetime":
            for row in rows:
                if row[name] is not None:
                    row[name] = iso(row[name])


def _keys(moment: Moment, source: Source) -> list[dict[str, Any]]:
    """One instance with the named values, taken together from the keys that exist; none without any key.

    A path with `*` gives one instance per key that it names, with the name that stood for it as KeyName.
    """
    together: dict[str, Any] = {}
    rows: list[dict[str, Any]] = []
    exists = False
    for path in source.registry:
        if "*" in path:
            rows += [
                {"KeyName": name, **registry.named(key, source.values)} for name, key in registry.matches(moment, path)
            ]
            continue
        key = registry.read_key(moment, path)
        if key is not None:
            exists = True
            together |= {
                n: v for n, v in registry.named(key, source.values).items() if v is not None or n not in together
            }
    if not exists and not source.optional and not any("*" in path for path in source.registry):
        raise KeyMissingError(source.registry[0])
    return [together, *rows] if exists else rows


def _subkeys(moment: Moment, source: Source) -> list[dict[str, Any]]:
    """One instance per direct subkey, with its name as KeyName and its path's place in the list as Root."""
    return [
        {"KeyName": name, "Root": root, **registry.named(key, source.values)}
        for root, path in enumerate(source.registry_keys)
        for name, key in registry.matches(moment, f"{path}\\*")
    ]
