"""Makes the state of a machine (README.md beside this file) from a collector's sample: its sources turned round."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rmm.lab import wql
from rmm.lab.windows.classes import extra_classes, find_class, plain_namespace
from rmm.lab.windows.witness import witness
from rmm.model.collector import Collector, Source

State = dict[str, Any]
_BUILDS = {"server2016": 14393, "server2019": 17763, "server2022": 20348, "server2025": 26100,
           "windows10": 19045, "windows11": 22631}  # fmt: skip
_USER = "S-1-5-21-1004336348-1177238915-682003330-"  # whose hives `HKU\*` are


def state_of_sample(collector: Collector, sample: Mapping[str, Any], case: str = "") -> State:
    """The machine that gives `sample["document"]`; `case` is the sample's name, which begins with the system's.

    What the sample's own `state` says is added to what the sources say, and wins.
    """
    own: Mapping[str, Any] = sample.get("state", {})
    system = case.split("-")[0]
    state: State = {"format": 1, "computer": "SRV01", "os": system, "now": sample.get("observed_at", "")}
    if system in _BUILDS:
        state |= {"kind": "server" if system.startswith("server") else "client", "build": _BUILDS[system]}
    state |= {"classes": extra_classes(), "cim": {}, "registry": {}}
    build = int(own.get("build", state.get("build", 20348)))
    for name, source in collector.manifest.sources.items():
        rows = sample["document"].get(name)
        if isinstance(rows, list):
            if source.wql:
                _instances(state["cim"], source, rows, build)
            elif source.registry:
                _keys(state["registry"], source, rows)
            elif source.registry_keys:
                _subkeys(state["registry"], source, rows)
    return merged(state, own)


def merged(state: Mapping[str, Any], more: Mapping[str, Any]) -> State:
    """Both; objects are merged, of everything else `more` wins. Names compare without case."""
    result = dict(state)
    for name, value in more.items():
        key = next((known for known in result if _same(known, name)), name)
        have = result.get(key)
        result[key] = merged(have, value) if isinstance(have, dict) and isinstance(value, dict) else value
    return result


def _same(one: str, other: str) -> bool:
    return plain_namespace(one) == plain_namespace(other)


def _instances(cim: State, source: Source, rows: list[dict[str, Any]], build: int) -> None:
    """Rows become instances of the class; an instance that another source began is completed."""
    query = wql.parse(source.wql)
    found = find_class(source.namespace, query.class_name, build)
    if found is None or (found.extra and not rows and source.optional):
        return
    kept = cim.setdefault(plain_namespace(source.namespace), {}).setdefault(found.name, [])
    taken: set[int] = set()
    for row in rows:
        whole = {**row, **witness(query.where, found.types, row)}
        for place, instance in enumerate(kept):
            if place not in taken and all(instance[name] == whole[name] for name in instance if name in whole):
                instance.update(whole)
                taken.add(place)
                break
        else:
            taken.add(len(kept))
            kept.append(whole)


def _keys(registry: State, source: Source, rows: list[dict[str, Any]]) -> None:
    for row in rows:
        stars = [path for path in source.registry if "*" in path]
        if "KeyName" in row and stars:
            _put(registry, _at(stars[0], str(row["KeyName"])), row, source)
        else:
            _put(registry, next(path for path in source.registry if "*" not in path), row, source)


def _subkeys(registry: State, source: Source, rows: list[dict[str, Any]]) -> None:
    for row in rows:
        root = row.get("Root")
        if root is None or not row["KeyName"]:
            continue  # of another place, or no key of Windows
        for user in range(1001, 1001 + len(rows)):  # the same name again is another user's
            path = f"{source.registry_keys[root].replace('*', _USER + str(user))}\\{row['KeyName']}"
            if path not in registry:
                break
        _put(registry, path, row, source)


def _at(path: str, name: str) -> str:
    """The path with `name` in place of its last `*`, and a user's hive in place of others."""
    head, _, tail = path.rpartition("*")
    return head.replace("*", f"{_USER}1001") + name + tail


def _put(registry: State, path: str, row: Mapping[str, Any], source: Source) -> None:
    values = {name: _value(row[name]) for name in source.values if row.get(name) is not None}
    if not values and source.values:
        values = {"": ""}  # real keys hold other values too; a key without any has no properties at all
    registry.setdefault(path, {}).update(values)


def _value(value: Any) -> Any:
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, list) and value and all(isinstance(item, int) for item in value):
        import base64

        return {"kind": "binary", "value": base64.b64encode(bytes(value)).decode()}
    return value
