"""Fault plans: YAML in, the faults of a machine out.

A plan is a list under `faults:`. Each entry has `kind` (a file of this folder), one of `machines` (indices, from 0),
`names`, `groups` (operating systems) or `share` (0..1, chosen by a hash of the name), the kind's own options, and when
it strikes: `step` (one or more of STEPS), `skip` (chances that pass first), `times` (strikes, then it is over),
`after_s` and `for_s` (seconds of the lab's life).
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import ssl
import time
import zlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rmm.errors import ConfigError
from rmm.lab.machine import Execution, Machine
from rmm.lab.wire.http import Reply, Request, ServerConnection
from rmm.lab.wire.soap import Call
from rmm.lab.wire.tls import Authority

STEPS = (
    "connect", "identify", "offer", "logon", "create", "command", "send", "receive", "signal", "delete", "enumerate",
    "pull", "get", "disconnect", "reconnect", "attach",
)  # fmt: skip
"""What a machine is asked: the connection, WS-Identify, the legs of a logon, WSMan's actions (`attach` is Connect)."""

_MATCHERS = ("machines", "names", "groups", "share")
_WHEN = ("step", "skip", "times", "after_s", "for_s")
HOOKS = (
    "configured", "resolved", "connected", "certified", "requested", "called", "executed", "said", "fragmented",
    "answered", "replied", "hosted",
)  # fmt: skip


class Fault:
    """How a machine fails. The hooks of this class change nothing; a kind overrides those it needs."""

    policy: Any = None  # of the logon: `rmm.lab.wire.policy.Policy`
    refuses_logons = False
    hangs = False  # what `said` of this fault has struck never ends

    def configured(self, machine: Machine, columns: dict[str, str]) -> bool:
        """The endpoint list is written; change `columns` (column of endpoints.csv -> text) and return True."""
        return False

    def resolved(self, name: str, address: str) -> Any:
        """The lab's name server is asked for this machine; what it does: see `rmm.lab.wire.dns`. None: answer."""
        return None

    def connected(self, connection: ServerConnection) -> bool:
        """A connection was opened; True: this fault deals with it, nothing is served on it."""
        return False

    def certified(self, authority: Authority, machine: Machine) -> ssl.SSLContext | None:
        """The TLS context for a connection, instead of the machine's own."""
        return None

    def requested(self, connection: ServerConnection, request: Request) -> bool:
        """A request arrived; True: this fault deals with it."""
        return False

    def called(self, call: Call, machine: Machine) -> None:
        """A WSMan request is about to be carried out; may raise `WsmanFault`."""

    def executed(self, machine: Machine, execution: Execution) -> Execution:
        """A script has run; what it gave instead."""
        return execution

    def said(self, messages: list[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
        """(PSRP message type, data) of all that a pipeline says; what it says instead."""
        return messages

    def fragmented(self, fragments: list[bytes]) -> list[bytes]:
        """The fragments of one message; what is sent instead."""
        return fragments

    def answered(self, call: Call, envelope: bytes) -> bytes:
        """The envelope of an answer before it is sealed; what is sealed instead."""
        return envelope

    def hosted(self, name: str) -> str:
        """The language of a session configuration, full or none; empty where the machine has no such one."""
        return ""

    def replied(self, connection: ServerConnection, reply: Reply) -> bool:
        """A reply is ready to leave; True: this fault deals with it."""
        return False


class Entry:
    """One line of a plan: a fault, for which machines, and when it strikes."""

    def __init__(self, fault: Fault, matches: Callable[[Machine], bool], when: Mapping[str, Any]) -> None:
        self.fault = fault
        self.matches = matches
        self.what = ", ".join(f"{name}: {when[name]}" for name in ("kind", *_MATCHERS) if name in when)
        given = when.get("step", ())
        self.steps = frozenset([given] if isinstance(given, str) else given)
        unknown = self.steps - set(STEPS)
        if unknown:
            raise ValueError(f"no step {', '.join(sorted(unknown))}; there are {', '.join(STEPS)}")
        self.skip = int(when.get("skip", 0))
        self.times = int(when["times"]) if "times" in when else None
        self.after_s = float(when.get("after_s", 0))
        self.for_s = float(when["for_s"]) if "for_s" in when else None
        self.hooks = frozenset(name for name in HOOKS if getattr(type(fault), name) is not getattr(Fault, name))


class MachineFaults:
    """The faults of one machine, with what has become of each so far."""

    def __init__(self, entries: Sequence[Entry], began: float) -> None:
        self._entries = tuple(entries)
        self._counts: Counter[tuple[int, str]] = Counter()  # (entry, hook) -> how often it could have struck
        self._began = began

    def strike(self, hook: str, step: str = "") -> Iterator[Fault]:
        """The faults that strike now, through this hook, at this step; each is counted as one strike."""
        for number, entry in enumerate(self._entries):
            if hook not in entry.hooks or (entry.steps and step not in entry.steps) or not self._due(entry):
                continue
            self._counts[number, hook] += 1
            count = self._counts[number, hook]
            if count > entry.skip and (entry.times is None or count <= entry.skip + entry.times):
                yield entry.fault

    def concerns(self, hooks: Collection[str]) -> bool:
        """Whether a fault may ever strike through one of these hooks."""
        return any(not entry.hooks.isdisjoint(hooks) for entry in self._entries)

    @property
    def refuses_logons(self) -> bool:
        """Whether a fault that is due lets nobody log on."""
        return any(entry.fault.refuses_logons and self._due(entry) for entry in self._entries)

    @property
    def policy(self) -> Any:
        """The logon policy of the first fault that has one and is due."""
        return next((entry.fault.policy for entry in self._entries if entry.fault.policy and self._due(entry)), None)

    def _due(self, entry: Entry) -> bool:
        if not entry.after_s and entry.for_s is None:
            return True
        age = time.monotonic() - self._began - entry.after_s
        return age >= 0 and (entry.for_s is None or age < entry.for_s)


class Plan:
    """All of a lab's faults. Also what a scenario wants of the configuration that the lab writes."""

    def __init__(self, entries: Sequence[Entry] = (), document: Mapping[str, Any] | None = None) -> None:
        self._entries = tuple(entries)
        self._began = time.monotonic()
        self._machines: dict[str, MachineFaults | None] = {}
        self.document = dict(document or {})

    def unmatched(self, machines: Iterable[Machine]) -> list[str]:
        """The faults that strike none of these machines, in words."""
        left = dict(enumerate(self._entries, start=1))
        for machine in machines:
            left = {number: entry for number, entry in left.items() if not entry.matches(machine)}
            if not left:
                break
        return [f"fault {number} ({entry.what}) matches no endpoint of this lab" for number, entry in left.items()]

    def of(self, machine: Machine) -> MachineFaults | None:
        """The faults of a machine; None where it has none."""
        if not self._entries:
            return None
        if machine.address not in self._machines:
            mine = [entry for entry in self._entries if entry.matches(machine)]
            self._machines[machine.address] = MachineFaults(mine, self._began) if mine else None
        return self._machines[machine.address]


def kinds() -> list[str]:
    """Names of all kinds."""
    return sorted(entry.name for entry in pkgutil.iter_modules([str(Path(__file__).parent)]) if entry.name != "plan")


def load_plan(path: Path) -> Plan:
    """Read a plan. Raises ConfigError with every problem in it."""
    import yaml

    try:
        plan = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", hint="Name a readable fault plan with --faults.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text: {error}", hint="Name a fault plan with --faults.") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not YAML: {error}", hint="See config/lab/mixed.yaml for an example.") from error
    entries = plan.get("faults") if isinstance(plan, dict) else None
    if not isinstance(entries, list):
        raise ConfigError(f"{path}: the plan has no list `faults`", hint="See config/lab/mixed.yaml for an example.")
    problems: list[str] = []
    rules: list[Entry] = []
    for number, entry in enumerate(entries, start=1):
        try:
            rules.append(_entry(entry))
        except (ValueError, TypeError, KeyError) as error:
            problems.append(f"{path}: fault {number}: {error}")
    if problems:
        raise ConfigError(problems=tuple(problems), hint=f"Kinds: {', '.join(kinds())}.")
    return Plan(rules, plan)


def _entry(entry: Any) -> Entry:
    if not isinstance(entry, dict) or "kind" not in entry:
        raise ValueError("each fault needs a `kind`")
    if entry["kind"] not in kinds():
        raise ValueError(f"no kind {entry['kind']!r}; there are {', '.join(kinds())}")
    given = [name for name in _MATCHERS if name in entry]
    if len(given) != 1:
        raise ValueError(f"name the machines by one of {', '.join(_MATCHERS)}")
    options = {name: value for name, value in entry.items() if name not in ("kind", *_MATCHERS, *_WHEN)}
    return Entry(_built(entry["kind"], options), _matcher(entry), entry)


def _built(kind: str, options: Mapping[str, Any]) -> Fault:
    build: Callable[..., Fault] = importlib.import_module(f"rmm.lab.faults.{kind}").build
    wanted = inspect.signature(build).parameters
    open_end = any(one.kind is one.VAR_KEYWORD for one in wanted.values())
    unknown = [] if open_end else [str(name) for name in options if name not in wanted]
    if unknown:
        raise ValueError(f"{kind} has no option {', '.join(unknown)}; it has {', '.join(wanted) or 'none'}")
    given = (*options, *(name for name, one in wanted.items() if one.kind is one.VAR_KEYWORD))
    missing = [name for name, one in wanted.items() if one.default is one.empty and name not in given]
    if missing:
        raise ValueError(f"{kind} needs {', '.join(missing)}")
    return build(**options)


def _matcher(entry: Mapping[str, Any]) -> Callable[[Machine], bool]:
    if "machines" in entry:
        indices = {int(index) for index in entry["machines"]}
        return lambda machine: machine.index in indices
    if "names" in entry:
        names = {str(name).lower() for name in entry["names"]}
        return lambda machine: machine.name.lower() in names
    if "groups" in entry:
        groups = {str(name).lower() for name in entry["groups"]}
        return lambda machine: machine.profile.lower() in groups
    share = float(entry["share"])
    if not 0 <= share <= 1:
        raise ValueError(f"share {share:g}: 0 to 1 are allowed")
    return lambda machine: zlib.crc32(machine.name.encode()) / 2**32 < share
