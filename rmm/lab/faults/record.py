"""PowerShell error records.

Options: `error_id`, `category`, `message`, `exception`, `hresult`. With `collector` the record takes the place of this
collector's part; without, it is beside all parts, or with `terminating` instead of them.
"""

from __future__ import annotations

import json

from rmm.lab.faults.plan import Fault
from rmm.lab.machine import ErrorInfo, Execution, Machine


class Record(Fault):
    def __init__(self, info: ErrorInfo, hresult: int, collector: str) -> None:
        self._info = info
        self._hresult = hresult
        self._collector = collector

    def executed(self, machine: Machine, execution: Execution) -> Execution:
        if not self._collector:
            if self._info.terminating:
                return execution._replace(output=[], errors=[self._info], failed=True)
            return execution._replace(errors=[*execution.errors, self._info])
        mark = f'"collector":"{self._collector}"'
        return execution._replace(
            output=[self._part(item) if isinstance(item, str) and mark in item else item for item in execution.output]
        )

    def _part(self, text: str) -> str:
        part = json.loads(text)
        part.pop("document", None)
        info = self._info
        part["error"] = {
            "id": info.error_id, "category": info.category, "hresult": self._hresult, "message": info.message,
        }  # fmt: skip
        return json.dumps(part, separators=(",", ":"))


def build(
    error_id: str,
    category: str = "NotSpecified",
    message: str = "refused by plan",
    exception: str = "System.Exception",
    hresult: int = 0,
    collector: str = "",
    terminating: bool = False,
) -> Record:
    return Record(ErrorInfo(error_id, category, message, exception, bool(terminating)), int(hresult), collector)
