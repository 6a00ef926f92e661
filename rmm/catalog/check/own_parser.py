"""What PowerShell's own parser says of scripts: its syntax errors, and every command, type and member that it sees.

The rules are those of the other parser (`commands`, `members`); this one is never wrong about what a text means.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from rmm.catalog.check.commands import (
    BY_OPERATOR,
    INTO_FILE,
    command_problem,
    function_problem,
    parameter_problem,
)
from rmm.catalog.check.finding import Finding
from rmm.catalog.check.members import instance_problem, static_problem, type_problem
from rmm.catalog.powershell import run_script

PARSE = Path(__file__).parent / "parse.ps1"
Place = tuple[int, int]  # line and column, from 1


class _Named(msgspec.Struct):
    at: Place
    name: str = ""


class _Error(msgspec.Struct):
    at: Place
    message: str


class _Newer(msgspec.Struct):
    at: Place
    what: str


class _Command(msgspec.Struct):
    at: Place
    name: str | None
    operator: str
    parameters: list[_Named]
    files: list[_Named]


class _Member(msgspec.Struct):
    at: Place
    name: str | None
    type: str | None
    static: bool
    arguments: int | None


class _Parsed(msgspec.Struct):
    errors: list[_Error]
    newer: list[_Newer]
    commands: list[_Command]
    members: list[_Member]
    types: list[_Named]
    functions: list[_Named]


class Script(NamedTuple):
    """A script's text, and what to call it."""

    file: str
    text: str


def own_findings(program: str, scripts: Sequence[Script]) -> list[list[Finding]]:
    """The findings of each script, in their order. Raises CatalogError when PowerShell does not answer."""
    if not scripts:
        return []
    lines = run_script(program, PARSE, (base64.b64encode(one.text.encode()).decode() for one in scripts))
    parsed = [msgspec.json.decode(line, type=_Parsed) for line in lines]
    return [sorted(set(_findings(one.file, found))) for one, found in zip(scripts, parsed, strict=True)]


def _findings(file: str, parsed: _Parsed) -> Iterator[Finding]:
    for error in parsed.errors:
        yield Finding(file, *error.at, "syntax", f"cannot be parsed as PowerShell: {error.message}")
    for newer in parsed.newer:
        yield Finding(file, *newer.at, "syntax-5.1", f"Windows PowerShell 5.1 does not have {newer.what}")
    for function in parsed.functions:
        if reason := function_problem(function.name):
            yield Finding(file, *function.at, *reason)
    own = {function.name.casefold() for function in parsed.functions}
    for command in parsed.commands:
        yield from _command(file, command, own)
    for named in parsed.types:
        if reason := type_problem(named.name):
            yield Finding(file, *named.at, *reason)
    for member in parsed.members:
        if reason := _member(member):
            yield Finding(file, *member.at, *reason)


def _member(member: _Member) -> tuple[str, str] | None:
    if member.name is None:
        return "dynamic", "a member is named by a constant"
    if member.static:
        return static_problem(member.type, member.name, member.arguments)
    return instance_problem(None, member.name, member.arguments)


def _command(file: str, command: _Command, own: set[str]) -> Iterator[Finding]:
    for place in command.files:
        yield Finding(file, *place.at, *INTO_FILE)
    if command.operator in ("Ampersand", "Dot") or command.name is None:
        yield Finding(file, *command.at, *BY_OPERATOR)
    elif command.name.casefold() in own:
        return
    elif reason := command_problem(command.name):
        yield Finding(file, *command.at, *reason)
    else:
        for given in command.parameters:
            if reason := parameter_problem(command.name, given.name):
                yield Finding(file, *given.at, *reason)
