"""What of a machine no provider computes: the nearest samples of all collectors, put together as one state.

The samples engine, WS-Enumeration and the state for PowerShell all take it from here, so that they agree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from rmm.catalog.load import load_catalog
from rmm.catalog.wql import Query, parse_query
from rmm.lab.continued import continued, counters_of
from rmm.lab.moved import age_of, moved
from rmm.lab.nearest import Traits, has_role, nearest_sample
from rmm.lab.state import MachineState
from rmm.lab.windows.classes import plain_namespace
from rmm.lab.windows.state import State, state_of_sample
from rmm.model.collector import Collector
from rmm.resources import shipped

MAX_KEPT = 128
_NAMES = frozenset({"CSName", "SystemName", "PSComputerName", "ComputerName", "MachineName", "HostName", "__SERVER"})
# Properties that tell instances of a class apart.
_IDENTITY = ("SID", "InstanceName", "InstanceID", "DeviceID", "DeviceId", "UniqueId", "Name", "Id")
_JOINED = frozenset({"methods", "absent"})


@cache
def catalog_with(collectors: tuple[Path, ...] = ()) -> Mapping[str, Collector]:
    """The product's own collectors and those of `collectors`, folders of folders."""
    return load_catalog([shipped("collectors"), *collectors])


class Growth(NamedTuple):
    """Raw counters of a class: the instances of the sample's poll before, and each property's width in bits."""

    before: list[dict[str, Any]]
    widths: dict[str, int]


class Fixtures:
    """States by kind of machine, made when first asked for. `computed(class)` says what a provider answers itself."""

    def __init__(
        self, computed: Callable[[str], bool], catalog: Callable[[], Mapping[str, Collector]] = catalog_with
    ) -> None:
        self._computed, self._catalog = computed, catalog
        self._kept: dict[Traits, State] = {}
        self._growing: dict[Traits, dict[tuple[str, str], Growth]] = {}

    def state(self, machine: MachineState) -> State:
        """Shared: do not change it."""
        traits = traits_of(machine)
        found = self._kept.get(traits)
        if found is None:
            found = _together(self._states(traits, machine.started), self._computed)
            if len(self._kept) >= MAX_KEPT:
                self._kept.clear()
            self._kept[traits] = found
        return found

    def _collectors(self, traits: Traits) -> list[Collector]:
        """Those that find something on such a machine: of roles, those that it has."""
        return [one for one in self._catalog().values() if has_role(one.manifest.roles, traits.roles)]

    def _states(self, traits: Traits, started: float) -> Iterable[State]:
        for collector in self._collectors(traits):
            file = nearest_sample(Path(collector.folder).glob("samples/*.raw.json"), traits)
            if collector.windows and file is not None:
                content = msgspec.json.decode(file.read_bytes())
                yield moved(state_of_sample(collector, content, file.name), age_of(content, started))

    def instances(
        self, machine: MachineState, namespace: str, name: str, stamps: Mapping[str, int], elapsed: float
    ) -> list[dict[str, Any]] | None:
        """The instances of a class, as this machine's own at a moment; None when no sample knows the class.

        `stamps` and `elapsed`: as `rmm.lab.continued` needs them for raw counters.
        """
        space, folded = plain_namespace(namespace), name.casefold()
        classes = self.state(machine)["cim"].get(space, {})
        rows = next((rows for known, rows in classes.items() if known.casefold() == folded), None)
        if rows is None:
            return None
        growth = self._grows(traits_of(machine)).get((space, folded))
        if growth is not None:
            rows = continued(rows, growth.before, growth.widths, stamps, elapsed)
        return [owned(row, machine) for row in rows]

    def _grows(self, traits: Traits) -> dict[tuple[str, str], Growth]:
        """The classes of raw counters, by namespace and name in lower case."""
        found = self._growing.get(traits)
        if found is None:
            found = {}
            for collector in self._collectors(traits):
                file = nearest_sample(Path(collector.folder).glob("samples/*.raw.json"), traits)
                before = _previous(file) if file is not None else {}
                for name, source in collector.manifest.sources.items():
                    widths = counters_of(collector.manifest, name)
                    query = parse_query(source.wql) if source.wql and widths else ""
                    if isinstance(query, Query):
                        place = plain_namespace(source.namespace), query.class_name.casefold()
                        known = found.get(place, Growth([], {}))
                        found[place] = Growth([*known.before, *before.get(name, [])], {**known.widths, **widths})
            if len(self._growing) >= MAX_KEPT:
                self._growing.clear()
            self._growing[traits] = found
        return found

    def values(self, machine: MachineState, path: str) -> dict[str, Any] | None:
        r"""The values of a key, `path` such as `hklm\x`; empty for a key that has only subkeys, None for no key."""
        return self._keys(machine).get(path.casefold())

    def subkeys(self, machine: MachineState, path: str) -> tuple[str, ...]:
        """Names of the direct subkeys."""
        prefix = path.casefold() + "\\"
        depth = prefix.count("\\")
        keys = self._spelled(machine)
        return tuple(
            keys[key].rsplit("\\", 1)[1] for key in keys if key.startswith(prefix) and key.count("\\") == depth
        )

    def _keys(self, machine: MachineState) -> dict[str, dict[str, Any]]:
        spelled, registry = self._spelled(machine), self.state(machine)["registry"]
        return {key: registry.get(path, {}) for key, path in spelled.items()}

    def _spelled(self, machine: MachineState) -> dict[str, str]:
        """Every key and all above it: path in lower case -> as written."""
        state = self.state(machine)
        found: dict[str, str] | None = state.get("_paths")
        if found is None:
            found = {}
            for path in state["registry"]:
                parts = path.split("\\")
                for end in range(1, len(parts) + 1):
                    whole = "\\".join(parts[:end])
                    found.setdefault(whole.casefold(), whole)
            state["_paths"] = found
        return found


def _previous(file: Path) -> dict[str, list[dict[str, Any]]]:
    """The document of the poll before, of a sample; empty without one."""
    content = msgspec.json.decode(file.read_bytes())
    before = content.get("previous") if isinstance(content, dict) else None
    return dict(before["document"]) if isinstance(before, dict) else {}


def traits_of(machine: MachineState) -> Traits:
    """By what a machine's samples are chosen."""
    return Traits(
        machine.os.name, machine.os.kind, machine.words | frozenset({machine.role} - {""}), machine.language.name
    )


def owned(row: Mapping[str, Any], machine: MachineState) -> dict[str, Any]:
    """The row with this machine's name and identity in place of the sample's."""
    own = {name: machine.name for name in row if name in _NAMES and row[name] is not None}
    return {**row, **own, **({"UUID": machine.uuid} if "UUID" in row else {})}


def read_time(text: str) -> datetime:
    """An ISO 8601 time; Windows' seven digits after the point are cut to six."""
    head, _, rest = text.partition(".")
    digits = rest.rstrip("Zz")
    return datetime.fromisoformat(f"{head.rstrip('Z')}.{digits[:6]:0<6}+00:00" if rest else text.replace("Z", "+00:00"))


def _together(states: Iterable[State], computed: Callable[[str], bool]) -> State:
    """What the first says of a thing holds; later ones add what it does not say.

    Nothing is denied: what one sample's account may not read, another sample shows.
    """
    result: State = {"cim": {}, "registry": {}, "absent": [], "methods": []}
    for state in states:
        for name, value in state.items():
            if name == "cim":
                _classes(result["cim"], value, computed)
            elif name in ("registry", "certificates", "files", "directory", "logs", "sql"):
                _deep(result.setdefault(name, {}), value)
            elif name == "events":
                _events(result.setdefault(name, {}), value)
            elif name == "denied":
                continue
            elif name in _JOINED:
                result[name] += [item for item in value if item not in result[name]]
            else:
                result.setdefault(name, value)
    named = {f"{space}:{name}".casefold() for space, classes in result["cim"].items() for name in classes}
    spaces = set(map(str.casefold, result["cim"]))
    result["absent"] = [item for item in result["absent"] if item.casefold() not in named | spaces]
    return result


def _classes(cim: State, more: State, computed: Callable[[str], bool]) -> None:
    for space, classes in more.items():
        for name, rows in classes.items():
            if plain_namespace(space) == "root/cimv2" and computed(name):
                continue
            kept = cim.setdefault(plain_namespace(space), {})
            known = next((have for have in kept if have.casefold() == name.casefold()), name)
            if not kept.get(known):
                kept[known] = [dict(row) for row in rows]
                continue
            for row in rows:
                _complete(kept[known], row)


def _complete(kept: list[dict[str, Any]], row: Mapping[str, Any]) -> None:
    """Adds what `row` says to the instance that it agrees with, or the row where no instance has its name.

    A row that is called like an instance and contradicts it is another machine's.
    """
    for instance in kept:
        common = instance.keys() & row.keys()
        if (common or len(kept) == 1) and all(instance[name] == row[name] for name in common):
            instance.update(row)
            return
    name = next((name for name in _IDENTITY if row.get(name) is not None), None)
    if name is not None and all(instance.get(name) != row[name] for instance in kept):
        kept.append(dict(row))


def _deep(into: State, more: Mapping[str, Any]) -> None:
    for name, value in more.items():
        if isinstance(value, dict) and isinstance(into.get(name), dict):
            _deep(into[name], value)
        else:
            into.setdefault(name, dict(value) if isinstance(value, dict) else value)


def _events(into: State, more: Mapping[str, Any]) -> None:
    for channel, events in more.items():
        kept = into.setdefault(channel, [])
        records = {event["record"] for event in kept}
        kept += [event for event in events if event["record"] not in records]
