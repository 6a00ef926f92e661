"""The engine `samples`: recognises the product's own scripts and answers as they would on the machine.

A bundle is recognised by its `#rmm:begin NAME` / `#rmm:end NAME` lines, and each part by its text. It never guesses:
a text that it does not know is answered with PowerShell's own error record.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from rmm.catalog.wire import wire_form
from rmm.lab import literal, rights_probe
from rmm.lab.cim.moment import Moment
from rmm.lab.documents import Documents, KeyMissingError, text_of
from rmm.lab.machine import CimFault, ErrorInfo, Execution, Machine
from rmm.lab.samples import SampleStore
from rmm.lab.simulated import LabMachine
from rmm.model.collector import Collector

MAX_BUNDLES = 256
_PART = re.compile(r"^#rmm:begin (?P<name>\S+)[^\n]*\n(?P<text>.*?)^#rmm:end (?P=name)\s*?$", re.MULTILINE | re.DOTALL)


class _Part(NamedTuple):
    name: str
    collector: Collector | None  # None: the text is not this collector's


class SamplesEngine:
    """Runs bundles of the collectors in `catalog` on lab machines. Implements `rmm.lab.machine.Engine`."""

    def __init__(self, catalog: Mapping[str, Collector]) -> None:
        self._catalog = dict(catalog)
        self._samples = SampleStore()
        self._documents = Documents(self._samples)
        self._bundles: dict[tuple[str, str], tuple[_Part, ...]] = {}

    def execute(
        self,
        machine: Machine,
        text: str,
        arguments: list[tuple[str | None, Any]],
        now: datetime,
        language: str = "powershell",
    ) -> Execution:
        """What the script would have written. Raises TypeError for a machine that is not of a LabFleet."""
        if not isinstance(machine, LabMachine):
            raise TypeError("the samples engine needs machines of a LabFleet")
        if language == "command":
            return self._command(machine, arguments, now)
        parts = self._bundles.get((language, text))
        if parts is None:
            answer = literal.run(machine, text, arguments) or rights_probe.run(machine, text, arguments, now)
            if answer is not None:
                return answer
            parts = self._recognise(text, language)
        if not parts:
            return Execution([], [_unknown(text, language)], True)
        moment = machine.moment(now)
        return Execution([self._part(part, machine, moment, language) for part in parts], [])

    def _command(self, machine: LabMachine, arguments: list[tuple[str | None, Any]], now: datetime) -> Execution:
        """`Get-RmmData -Collector a, b` of the JEA profile."""
        given = dict(arguments).get("Collector", ())
        moment = machine.moment(now)
        output = []
        for name in [str(name) for name in ([given] if isinstance(given, str) else given)]:
            collector = self._catalog.get(name)
            if collector is None or not collector.windows:
                error = {"id": "RmmNoCollector", "category": "InvalidArgument", "message": name}
                head = f'{{"collector":{text_of(name)},"host":{text_of(machine.name)},"ms":0'
                output.append(f'{head},"error":{text_of(error)}}}')
            else:
                output.append(self._part(_Part(name, collector), machine, moment, "powershell"))
        return Execution(output, [])

    def _recognise(self, text: str, language: str) -> tuple[_Part, ...]:
        normal = text.replace("\r\n", "\n")
        parts = tuple(self._known(match["name"], match["text"], language) for match in _PART.finditer(normal))
        if parts:
            if len(self._bundles) >= MAX_BUNDLES:
                self._bundles.clear()
            self._bundles[language, text] = parts
        return parts

    def _known(self, name: str, text: str, language: str) -> _Part:
        collector = self._catalog.get(name)
        if collector is None:
            return _Part(name, None)
        own = collector.linux if language == "sh" else collector.windows
        return _Part(name, collector if own and _bare(wire_form(own)) == _bare(wire_form(text)) else None)

    def _part(self, part: _Part, machine: LabMachine, moment: Moment, language: str) -> str:
        own = f',"machine":"{machine.installation}"' if language == "powershell" else ""
        head = f'{{"collector":{text_of(part.name)},"host":{text_of(machine.name)}{own},'
        head += f'"ms":{_milliseconds(part, machine)},'
        if part.collector is None:
            error = _unknown(f"{part.name}: this text", language)
            return f'{head}"error":{text_of(_record(error, None))}}}'
        try:
            if language == "sh":
                body = text_of(self._samples.document(part.collector, machine, "linux"))
            else:
                body = self._documents.document(part.collector, machine, moment)
        except CimFault as fault:
            return f'{head}"error":{text_of(_record(_cim_error(fault), fault.code))}}}'
        except KeyMissingError as missing:
            return f'{head}"error":{text_of(_record(_path_error(missing), None))}}}'
        return f'{head}"document":{body}}}'


def _bare(text: str) -> str:
    return "\n".join(line.strip() for line in text.splitlines() if line.strip())


def _milliseconds(part: _Part, machine: LabMachine) -> float:
    """How long the script would have taken: by its cost class, and longer where the processor is busy."""
    cost = part.collector.manifest.cost if part.collector else "C1"
    return round({"C1": 18.0, "C2": 130.0, "C3": 900.0, "C4": 4000.0}.get(cost, 5.0) * (0.6 + machine.load), 1)


def _record(error: ErrorInfo, code: int | None) -> dict[str, Any]:
    record: dict[str, Any] = {"id": error.error_id, "category": error.category, "message": error.message}
    if code is not None:
        record["hresult"] = code - (1 << 32) if code >= 1 << 31 else code
    return record


def _cim_error(fault: CimFault) -> ErrorInfo:
    """As Get-CimInstance reports it."""
    identity = (
        f"HRESULT 0x{fault.code & 0xFFFFFFFF:08x},Microsoft.Management.Infrastructure.CimCmdlets.GetCimInstanceCommand"
    )
    category = "MetadataError" if fault.code == 0x80041010 else "InvalidArgument"
    return ErrorInfo(identity, category, fault.message, "Microsoft.Management.Infrastructure.CimException", True)


def _path_error(missing: KeyMissingError) -> ErrorInfo:
    """As Get-ItemProperty reports it."""
    return ErrorInfo(
        "PathNotFound,Microsoft.PowerShell.Commands.GetItemPropertyCommand",
        "ObjectNotFound",
        f"Cannot find path '{missing}' because it does not exist.",
        "System.Management.Automation.ItemNotFoundException",
        True,
    )


def _unknown(text: str, language: str) -> ErrorInfo:
    """PowerShell's answer to a command that does not exist."""
    term = (text.split() or [""])[0][:200]
    if language == "sh":
        return ErrorInfo("127", "ObjectNotFound", f"sh: 1: {term}: not found", "ExitCode", True)
    message = (
        f"The term '{term}' is not recognized as the name of a cmdlet, function, script file, or operable program. "
        "Check the spelling of the name, or if a path was included, verify that the path is correct and try again."
    )
    return ErrorInfo(
        "CommandNotFoundException",
        "ObjectNotFound",
        message,
        "System.Management.Automation.CommandNotFoundException",
        True,
    )
