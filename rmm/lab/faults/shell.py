"""Shells and runspaces.

Option `how`: reaped (the shell is gone at this step), or how a pipeline ends after `parts` outputs: broken (the pool
breaks), stuck (it never ends: a provider hangs), stopped (without our signal), done (the command is Done, without the
state of its pipeline).
"""

from __future__ import annotations

from rmm.lab.faults.plan import Fault
from rmm.lab.machine import Machine
from rmm.lab.wire.soap import Call, shell_gone

STATE, POOL_STATE = 0x00041006, 0x00021005
_STATE = b'<Obj RefId="0"><MS><I32 N="PipelineState">%d</I32></MS></Obj>'
_POOL = b'<Obj RefId="0"><MS><I32 N="RunspaceState">%d</I32></MS></Obj>'
ENDS: dict[str, tuple[tuple[int, bytes], ...]] = {
    "broken": ((POOL_STATE, _POOL % 5),), "stopped": ((STATE, _STATE % 3),), "done": (), "stuck": (),
}  # fmt: skip


class Reaped(Fault):
    def called(self, call: Call, machine: Machine) -> None:
        raise shell_gone()


class Said(Fault):
    def __init__(self, parts: int, *end: tuple[int, bytes]) -> None:
        self._parts = parts
        self._end = end

    def said(self, messages: list[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
        output = [message for message in messages if message[0] != STATE]
        return [*output[: self._parts], *self._end]


class Stuck(Said):
    hangs = True


def build(how: str, parts: int = 0) -> Fault:
    if how == "reaped":
        return Reaped()
    if how not in ENDS:
        raise ValueError(f"`how` is reaped, {', '.join(ENDS)}")
    return Stuck(int(parts)) if how == "stuck" else Said(int(parts), *ENDS[how])
