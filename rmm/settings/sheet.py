"""One file of settings with what is wrong with it, and sections over several files, the environment and flags."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from rmm.document import Document, Problem, checked, dotted, lines_of, read_document
from rmm.document import Path as Place
from rmm.errors import ConfigError

# Environment variable -> (section, key): for containers and scheduled tasks.
ENVIRONMENT = {
    "RMM_DATA": ("", "data"),
    "RMM_POLL_CONCURRENCY": ("poll", "concurrency"),
    "RMM_POLL_WORKERS": ("poll", "workers"),
    "RMM_POLL_TIMEOUT": ("poll", "timeout"),
    "RMM_POLL_CONNECT_TIMEOUT": ("poll", "connect_timeout"),
    "RMM_POLL_STAGGER": ("poll", "stagger"),
}

Flags = Mapping[str, Any] | None


class Own(msgspec.Struct):
    """The keys of site.yaml: what a site says itself where the rest comes from the hub."""

    data: str = "data"
    poll: dict[str, Any] = {}
    forward: dict[str, Any] = {}
    channels: dict[str, dict[str, Any]] = {}
    routes: list[Any] = []
    inhibit: list[Any] = []
    disk: dict[str, Any] = {}
    archive: dict[str, Any] = {}


class Top(Own):
    """The keys of rmm.yaml."""

    sites: list[dict[str, Any]] = []
    groups: dict[str, dict[str, Any]] = {}
    exceptions: list[dict[str, Any]] = []
    collectors: dict[str, Any] = {}
    lockout: dict[str, Any] = {}
    people: dict[str, Any] = {}
    hours: dict[str, Any] = {}
    oncall: dict[str, Any] = {}
    escalation: dict[str, Any] = {}
    retention: dict[str, Any] = {}
    retention_days: int | None = None  # of samples and of changes
    maintenance: list[dict[str, Any]] = []
    dependencies: list[dict[str, Any]] = []
    alerts: dict[str, Any] = {}
    reports: dict[str, Any] = {}
    hub: dict[str, Any] = {}


class Sheet:
    """A file of settings. `top` has its keys, as far as they are right."""

    def __init__(self, path: Path, document: Document, kind: type[Own]) -> None:
        self.path = path
        self.document = document
        self.problems: list[Problem] = list(document.problems)
        self.top: Any = self._top(kind)

    def _top(self, kind: type[Own]) -> Own:
        if isinstance(self.document.data, dict):
            return kind(**each(self.document, (), kind, self.document.data, self.problems))
        if not self.problems and not (self.document.data is None and kind is Own):
            self.note((), "a mapping of keys is expected; see `rmm init`")
        return kind()

    def note(self, place: Place, text: str) -> None:
        """Something is wrong there."""
        self.problems.append(Problem(self.document.line(place), dotted(place), text))

    def lines(self) -> list[str]:
        """What is wrong, as `file:line: key: text`."""
        return lines_of(str(self.path), self.problems)

    @property
    def ignored(self) -> list[str]:
        """The keys of a bundle's file that this version does not know, as `file:line: key: text`."""
        return lines_of(str(self.path), self.document.ignored or ())


def read_sheet(path: Path, kind: type[Own], *, lenient: bool = False, hint: str = "") -> Sheet:
    """Read a file of settings; site.yaml may be missing. Raises ConfigError where it cannot be read at all."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        if kind is not Own:
            raise ConfigError(f"{path}: there is no such file", hint=hint) from error
        text = ""
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    return Sheet(path, read_document(text, lenient=lenient), kind)


def flag(flags: Flags, name: str) -> Any:
    """A value of the command line; None where there is none."""
    return flags.get(name) if flags else None


def each(
    document: Document, place: tuple[str, ...], kind: type[Any], values: Mapping[str, Any], problems: list[Problem]
) -> dict[str, Any]:
    """The values that are right, one by one: a mistake in one key hides none in another."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= checked(document, place, kind, {key: value}, problems) or {}
    return found


class Section(NamedTuple):
    """A section as it counts, and where it is said; of two files the later one counts."""

    name: str
    value: Any
    sheets: tuple[Sheet, ...]

    def wrong(self, key: str, text: str) -> None:
        """A value of it is wrong: that is told where the value comes from."""
        place = (self.name, key)
        sheet = next((one for one in reversed(self.sheets) if place in one.document.lines), self.sheets[0])
        for variable, overridden in ENVIRONMENT.items():
            if place == overridden and os.environ.get(variable):
                sheet.problems.append(Problem(0, f"environment {variable}", text))
                return
        sheet.note(place, text)


def read_section(name: str, kind: type[Any], sheets: tuple[Sheet, ...], flags: Flags) -> Section:
    """One section of the files, with what environment and flags say laid over it."""
    values: dict[str, Any] = {}
    for sheet in sheets:
        values |= each(sheet.document, (name,), kind, getattr(sheet.top, name), sheet.problems)
    fields = {field.name: field.type for field in msgspec.structs.fields(kind)}
    for variable, (section, key) in ENVIRONMENT.items():
        if section == name and os.environ.get(variable):
            try:
                values[key] = msgspec.convert(os.environ[variable], fields[key], strict=False)
            except msgspec.ValidationError as error:
                sheets[0].problems.append(Problem(0, f"environment {variable}", str(error)))
    for key in fields:
        given = flag(flags, f"{name}.{key}")
        if given is not None:
            values[key] = given
    return Section(name, kind(**values), sheets)
