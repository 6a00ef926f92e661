"""The lab's own test scripts: a first line `#lab:WORD`, so that transports can be tested without PowerShell."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from rmm.lab.machine import ErrorInfo, Execution, Machine

Arguments = list[tuple[str | None, Any]]

_LINE = re.compile(r"^\s*#lab:(\w+)(?:[ \t]+([^\r\n]*))?", re.MULTILINE)
_NAME = re.compile(r"\s*(?:\$env:COMPUTERNAME|\[Environment\]::MachineName|hostname)\s*;?\s*", re.IGNORECASE)
_LANGUAGE = '"$($ExecutionContext.SessionState.LanguageMode)"'
MAX_SIZE = 64 << 20
MAX_SLEEP = 3600.0


def run(machine: Machine, text: str, arguments: Arguments) -> Execution | None:
    """Run a test script; None when the text is not one."""
    if _NAME.fullmatch(text):
        return Execution([machine.name], [])
    if text == _LANGUAGE:
        return Execution(["FullLanguage"], [])
    match = _LINE.search(text) if "#lab:" in text else None
    if match is None:
        return None
    script = _SCRIPTS.get(match[1])
    if script is None:
        return None
    try:
        return script(machine, (match[2] or "").strip(), arguments)
    except ValueError as error:
        return Execution(
            [], [ErrorInfo("LabArgument", "InvalidArgument", str(error), "System.ArgumentException", True)], True
        )


def _echo(machine: Machine, word: str, arguments: Arguments) -> Execution:
    return Execution([value for _, value in arguments], [])


def _size(machine: Machine, word: str, arguments: Arguments) -> Execution:
    size = int(word)
    if not 0 <= size <= MAX_SIZE:
        raise ValueError(f"size must be 0..{MAX_SIZE}")
    head = f"{machine.name} "
    return Execution([(head + "x" * max(size - len(head), 0))[:size]], [])


def _sleep(machine: Machine, word: str, arguments: Arguments) -> Execution:
    seconds = float(word)
    if not 0 <= seconds <= MAX_SLEEP:
        raise ValueError(f"sleep must be 0..{MAX_SLEEP:g} seconds")
    return Execution([machine.name], [], delay_s=seconds)


def _error(machine: Machine, word: str, arguments: Arguments) -> Execution:
    record = ErrorInfo(
        "Microsoft.PowerShell.Commands.WriteErrorException",
        "NotSpecified",
        word or "an error that does not end the script",
        "Microsoft.PowerShell.Commands.WriteErrorException",
    )
    return Execution(["after"], [record])


def _throw(machine: Machine, word: str, arguments: Arguments) -> Execution:
    message = word or "an error that ends the script"
    record = ErrorInfo(message, "OperationStopped", message, "System.Management.Automation.RuntimeException", True)
    return Execution(["before"], [record], True)


_SCRIPTS: dict[str, Callable[[Machine, str, Arguments], Execution]] = {
    "echo": _echo,
    "size": _size,
    "sleep": _sleep,
    "error": _error,
    "throw": _throw,
}
