"""What the polling account may not read, as for somebody who is no administrator.

Options: `namespaces`, `classes` (WMI, by name), `keys` (registry keys, with all below), `empty` (classes that answer
without an instance, as performance counters do for who is not in Performance Monitor Users). It answers queries, the
probe of `rmm doctor --rights`, and collectors: one that reads such a place ends with PowerShell's error record.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from functools import cached_property

from rmm.core.rights import Place, places
from rmm.lab.faults.plan import Fault
from rmm.lab.machine import Execution, Machine
from rmm.lab.registry import normal
from rmm.lab.wire.soap import Call, W, WsmanFault

E_ACCESSDENIED = 0x80070005
WBEM_E_ACCESS_DENIED = 0x80041003
_FROM = re.compile(r"\bFROM\s+(\w+)", re.IGNORECASE)
_SECURITY = "System.Security.SecurityException,Microsoft.PowerShell.Commands.GetItemCommand"
_CIM = f"HRESULT 0x{WBEM_E_ACCESS_DENIED:08x},Microsoft.Management.Infrastructure.CimCmdlets.GetCimInstanceCommand"


class Rights(Fault):
    def __init__(
        self, namespaces: Iterable[str], classes: Iterable[str], keys: Iterable[str], empty: Iterable[str]
    ) -> None:
        self._namespaces = {name.lower() for name in namespaces}
        self._classes = {name.lower() for name in classes}
        self._keys = tuple(normal(key) for key in keys)
        self._empty = {name.lower() for name in empty}

    def called(self, call: Call, machine: Machine) -> None:
        query = next(call.body.iter(f"{{{W}}}Filter"), None) if call.body is not None else None
        if query is None or not call.action.endswith("/Enumerate"):
            return
        found = _FROM.search(query.text or "")
        namespace = call.resource.rpartition("/wmi/")[2].rpartition("/")[0]
        if found and self._denies(Place("wmi", namespace, found[1])):
            raise WsmanFault(E_ACCESSDENIED, "w:AccessDenied", "Access is denied.", sender=False)

    def _denies(self, place: Place) -> bool:
        if place.kind == "wmi":
            return place.place.lower() in self._namespaces or place.name.lower() in self._classes
        key = normal(place.place)
        return place.kind == "registry" and any(key == one or key.startswith(f"{one}\\") for one in self._keys)

    @cached_property
    def _collectors(self) -> dict[str, Place]:
        """Collectors that cannot do without a denied place -> that place."""
        from rmm.catalog.load import load_catalog
        from rmm.resources import shipped

        found: dict[str, Place] = {}
        for place, users in places(load_catalog([shipped("collectors")]).values()).items():
            if self._denies(place):
                found |= {manifest.name: place for manifest, _ in users}
        return found

    def executed(self, machine: Machine, execution: Execution) -> Execution:
        return execution._replace(
            output=[self._changed(item) if isinstance(item, str) else item for item in execution.output]
        )

    def _changed(self, text: str) -> str:
        if text.startswith('{"place":'):
            return self._probed(json.loads(text))
        name = re.match(r'\{"collector":"(\w+)"', text)
        place = self._collectors.get(name[1]) if name else None
        if place is None:
            return text
        part = json.loads(text)
        part.pop("document", None)
        number, identity = (WBEM_E_ACCESS_DENIED, _CIM) if place.kind == "wmi" else (0x8013150A, _SECURITY)
        part["error"] = {
            "id": identity, "category": "PermissionDenied", "hresult": number - (1 << 32), "message": "Access denied",
        }  # fmt: skip
        return json.dumps(part, separators=(",", ":"))

    def _probed(self, line: dict[str, object]) -> str:
        place = Place(*str(line["place"]).split("|"))
        if self._denies(place):
            wmi = place.kind == "wmi"
            number = WBEM_E_ACCESS_DENIED if wmi else 0x8013150A
            line |= {"id": _CIM if wmi else _SECURITY, "category": "PermissionDenied", "hresult": number - (1 << 32)}
            line["instances"] = 0
        elif place.name.lower() in self._empty:
            line["instances"] = 0
        return json.dumps(line, separators=(",", ":"))


def build(
    namespaces: list[str] | None = None,
    classes: list[str] | None = None,
    keys: list[str] | None = None,
    empty: list[str] | None = None,
) -> Rights:
    return Rights(namespaces or (), classes or (), keys or (), empty or ())
