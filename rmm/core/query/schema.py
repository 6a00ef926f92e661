"""What a query may ask: the fields of endpoints and of collectors, with their types; and what is near a wrong name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from rmm.model.collector import Manifest

ENDPOINT = "endpoint"
NAME = "name"  # of an endpoint: what `endpoint` alone means


class Kind(NamedTuple):
    """A field's type (text, number, bool, time, list) and unit."""

    type: str
    unit: str = ""


ENDPOINT_FIELDS: dict[str, Kind] = {
    "id": Kind("text"),
    "name": Kind("text"),
    "site": Kind("text"),
    "group": Kind("text"),
    "tags": Kind("list"),
    "address": Kind("text"),
    "description": Kind("text"),
    "status": Kind("text"),
    "fault": Kind("text"),
    "observed_at": Kind("time"),
    "succeeded_at": Kind("time"),
    "failures": Kind("number"),
    "duration_s": Kind("number", "s"),
    "health": Kind("number"),
    "health_status": Kind("text"),
}
# About a reading, not in it: they have a mark, since a manifest may use any name.
READING_FIELDS = {"@at": Kind("time"), "@outcome": Kind("text"), "@fault": Kind("text")}
_TYPES = {"int": "number", "float": "number", "bool": "bool", "time": "time"}


class Schema(NamedTuple):
    """Fields by collector, `endpoint` among them, and each collector's key."""

    fields: Mapping[str, Mapping[str, Kind]]
    keys: Mapping[str, tuple[str, ...]]

    def unknown(self, collector: str, field: str) -> str:
        """Why there is no such field, and what is near."""
        known = self.fields.get(collector)
        if known is None:
            return f"there is no collector {collector!r}{_near(collector, self.fields)}"
        if not field:
            return f"name a field of {collector}: {', '.join(known)}"
        elsewhere = [f"{name}.{field}" for name, fields in self.fields.items() if field in fields]
        near = _near(field, known)
        if not near and elsewhere:
            near = (
                f"; did you mean {elsewhere[0]}?" if len(elsewhere) == 1 else f"; there is {', '.join(elsewhere[:5])}"
            )
        return f"{collector} has no {field!r}{near or f'; it has {_some(known)}'}"


def schema_of(manifests: Iterable[Manifest]) -> Schema:
    """What can be asked of a fleet with these collectors."""
    fields: dict[str, Mapping[str, Kind]] = {ENDPOINT: ENDPOINT_FIELDS}
    keys: dict[str, tuple[str, ...]] = {}
    for one in manifests:
        own = {name: Kind(_TYPES.get(field.type, "text"), field.unit) for name, field in one.fields.items()}
        fields[one.name] = own | READING_FIELDS
        keys[one.name] = one.key
    return Schema(fields, keys)


def _near(name: str, known: Iterable[str]) -> str:
    found = difflib.get_close_matches(name, list(known), 3, 0.6)
    return f"; did you mean {' or '.join(found)}?" if found else ""


def _some(known: Iterable[str]) -> str:
    names = list(known)
    return ", ".join(names[:20]) + (" ..." if len(names) > 20 else "")
