"""Shells and runspaces.

Option `how`: reaped (the shell is gone at this step), broken (the pool breaks in mid-pipeline), stuck (the pipeline
never ends; `parts` outputs come before), stopped (it ends as stopped without our signal), done (the command is Done
without a pipeline state).
"""

from __future__ import annotations

from rmm.lab.faults.plan import Fault
from rmm.lab.machine import Execution, Machine
from rmm.lab.wire.soap import Call, shell_gone

STATE, POOL_STATE = 0x00041006, 0x00021005
_STATE = b'<Obj RefId="0"><MS><I32 N="PipelineState">%d</I32></MS></Obj>'
_POOL = b'<Obj RefId="0"><MS><I32 N="RunspaceState">%d</I32></MS></Obj>'
NEVER_S = 1e9


class Reaped(Fault):
    def called(self, call: Call, machine: Machine) -> None:
        raise shell_gone()


class Said(Fault):
    def __init__(self, how: str) -> None:
        self._how = how

    def said(self, messages: list[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
        output = [message for message in messages if message[0] != STATE]
        if self._how == "broken":
            return [*output[:1], (POOL_STATE, _POOL % 5)]
        if self._how == "stopped":
            return [*output[:1], (STATE, _STATE % 3)]
        return output


class Stuck(Fault):
    """The pipeline runs for ever: a provider hangs. Option `parts`: how many outputs come before."""

    def __init__(self, parts: int) -> None:
        self._parts = parts

    def executed(self, machine: Machine, execution: Execution) -> Execution:
        return execution._replace(output=execution.output[: self._parts], delay_s=NEVER_S if not self._parts else 0.0)

    def said(self, messages: list[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
        return [message for message in messages if message[0] != STATE]


def build(how: str, parts: int = 0) -> Fault:
    if how == "reaped":
        return Reaped()
    if how == "stuck":
        return Stuck(int(parts))
    if how not in ("broken", "stopped", "done"):
        raise ValueError("`how` is reaped, broken, stuck, stopped or done")
    return Said(how)
