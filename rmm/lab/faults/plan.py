"""Fault plans: YAML in, the fault of a machine out.

A plan is a list under `faults:`. Each entry has `kind` (a file of this folder), one of `machines` (indices, from 0),
`names` or `share` (0..1, chosen by a hash of the name), and the kind's own options.
"""

from __future__ import annotations

import importlib
import pkgutil
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rmm.errors import ConfigError
from rmm.lab.machine import Machine
from rmm.lab.wire.http import Reply, Request, ServerConnection

_MATCHERS = ("machines", "names", "share")


class Fault:
    """How one machine fails. The methods of this class change nothing; a kind overrides what it needs."""

    refuses_logons = False

    def connected(self, connection: ServerConnection) -> bool:
        """A connection was opened; True: this fault deals with it, nothing is served on it."""
        return False

    def requested(self, connection: ServerConnection, request: Request) -> bool:
        """A request arrived; True: this fault deals with it."""
        return False

    def replied(self, connection: ServerConnection, reply: Reply) -> bool:
        """A reply is ready to leave; True: this fault deals with it."""
        return False


def kinds() -> list[str]:
    """Names of all kinds."""
    return sorted(entry.name for entry in pkgutil.iter_modules([str(Path(__file__).parent)]) if entry.name != "plan")


def load_plan(path: Path) -> Callable[[Machine], Fault | None]:
    """Read a plan. Raises ConfigError with every problem in it."""
    import yaml

    try:
        plan = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", hint="Name a readable fault plan with --faults.") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not YAML: {error}", hint="See config/lab/mixed.yaml for an example.") from error
    entries = plan.get("faults") if isinstance(plan, dict) else None
    if not isinstance(entries, list):
        raise ConfigError(f"{path}: the plan has no list `faults`", hint="See config/lab/mixed.yaml for an example.")
    problems: list[str] = []
    rules: list[tuple[Callable[[Machine], bool], Fault]] = []
    for number, entry in enumerate(entries, start=1):
        try:
            rules.append(_rule(entry))
        except (ValueError, TypeError, KeyError) as error:
            problems.append(f"{path}: fault {number}: {error}")
    if problems:
        raise ConfigError(problems=tuple(problems), hint=f"Kinds: {', '.join(kinds())}.")

    def fault_of(machine: Machine) -> Fault | None:
        return next((fault for matches, fault in rules if matches(machine)), None)

    return fault_of


def _rule(entry: Any) -> tuple[Callable[[Machine], bool], Fault]:
    if not isinstance(entry, dict) or "kind" not in entry:
        raise ValueError("each fault needs a `kind`")
    if entry["kind"] not in kinds():
        raise ValueError(f"no kind {entry['kind']!r}; there are {', '.join(kinds())}")
    given = [name for name in _MATCHERS if name in entry]
    if len(given) != 1:
        raise ValueError(f"name the machines by one of {', '.join(_MATCHERS)}")
    options = {name: value for name, value in entry.items() if name not in ("kind", *_MATCHERS)}
    fault: Fault = importlib.import_module(f"rmm.lab.faults.{entry['kind']}").build(**options)
    return _matcher(entry), fault


def _matcher(entry: Mapping[str, Any]) -> Callable[[Machine], bool]:
    if "machines" in entry:
        indices = {int(index) for index in entry["machines"]}
        return lambda machine: machine.index in indices
    if "names" in entry:
        names = {str(name).lower() for name in entry["names"]}
        return lambda machine: machine.name.lower() in names
    share = float(entry["share"])
    return lambda machine: zlib.crc32(machine.name.encode()) / 2**32 < share
