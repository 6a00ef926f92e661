"""Counted quotas, as Windows enforces them.

Options: `shells` per user; `commands` per shell and `operations` per user that were not terminated; `envelope` (bytes
that the machine takes); `output` (bytes of output after which it ends a shell). `foreign` shells of other clients are
there from the start. `over`: a quota, one of OVER, that others have used up; name the `step` at which it shows.
"""

from __future__ import annotations

import itertools

from rmm.lab.faults.plan import Fault
from rmm.lab.machine import Execution, Machine
from rmm.lab.wire.soap import Call, WsmanFault, shell_gone

SHELLS, ENVELOPE = 2150859173, 2150858790
OVER = {
    "limit": 2150858815, "shells": SHELLS, "operations": 2150859174, "user": 2150859175, "system": 2150859176,
    "users": 2150859179, "plugin_user_shells": 2150859236, "plugin_users": 2150859237, "plugin_shells": 2150859238,
    "plugin_operations": 2150859239, "plugin_user_operations": 2150859240, "plugin_commands": 2150859241,
    "plugin_least": 2150859242,
}  # fmt: skip


class Quota(Fault):
    def __init__(self, shells: int, foreign: int, commands: int, envelope: int, operations: int) -> None:
        self._limits = (shells, commands, envelope)
        self._most = operations
        self._foreign = foreign
        self._open: dict[str, set[str]] = {}  # machine -> shells that were created and not deleted
        self._commands: dict[str, int] = {}  # shell -> commands that were not terminated

    def called(self, call: Call, machine: Machine) -> None:
        shells, commands, envelope = self._limits
        action = call.action.rpartition("/")[2]
        if envelope and call.length > envelope:
            raise WsmanFault(ENVELOPE, "w:EncodingLimit", f"The request is larger than {envelope} bytes.")
        mine = self._open.setdefault(machine.address, set())
        shell = call.selector("ShellId")
        if action == "Create" and shells and len(mine) + self._foreign >= shells:
            raise WsmanFault(SHELLS, "w:QuotaLimit", f"This user is allowed a maximum number of {shells} shells.")
        if action == "Create" and call.body is not None:
            mine.add((call.body.get("ShellId") or "").upper())
        elif action == "Delete":
            mine.discard(shell)
            self._commands.pop(shell, None)
        elif action == "Command" and (commands or self._most):
            if self._most and sum(self._commands.get(one, 0) for one in mine) >= self._most:
                raise WsmanFault(OVER["operations"], "w:QuotaLimit", f"At most {self._most} operations of one user.")
            self._commands[shell] = self._commands.get(shell, 0) + 1
            if commands and self._commands[shell] > commands:
                raise WsmanFault(0, "w:InternalError", "")
        elif action == "Signal":
            self._commands[shell] = max(0, self._commands.get(shell, 0) - 1)


class Memory(Fault):
    """The shell is ended at the output with which a script has written so much; what came before is received."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._receives: dict[str, int] = {}  # machine whose shell ends -> Receives that are answered before

    def executed(self, machine: Machine, execution: Execution) -> Execution:
        sizes = itertools.accumulate(len(str(item)) for item in execution.output)
        fit = sum(size <= self._limit for size in sizes)
        self.hangs = fit < len(execution.output)
        if self.hangs:
            self._receives[machine.address] = min(1, fit)
        return execution._replace(output=execution.output[:fit])

    def said(self, messages: list[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
        return messages[:-1] if self.hangs else messages

    def called(self, call: Call, machine: Machine) -> None:
        if call.action.endswith("/Create"):
            self._receives.pop(machine.address, None)
        elif call.action.endswith(("/Receive", "/Signal")) and machine.address in self._receives:
            self._receives[machine.address] -= 1
            if self._receives[machine.address] < 0:
                raise shell_gone()


class UsedUp(Fault):
    def __init__(self, code: int) -> None:
        self._code = code

    def called(self, call: Call, machine: Machine) -> None:
        raise WsmanFault(self._code, "w:QuotaLimit", "A quota is used up.")


def build(
    shells: int = 0,
    foreign: int = 0,
    commands: int = 0,
    envelope: int = 0,
    output: int = 0,
    over: str = "",
    operations: int = 0,
) -> Fault:
    if over:
        return UsedUp(OVER[over])
    if output:
        return Memory(int(output))
    return Quota(int(shells), int(foreign), int(commands), int(envelope), int(operations))
