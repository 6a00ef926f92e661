"""Makes failures.md: every fault that the source can raise, with its status, retry word and hint, read from the source.

Nothing is run: a call that names `code=` is a fault, its class gives what the call does not.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from rmm import errors
from rmm.model import observation
from rmm.model.enrolment import HINTS

SOURCE = Path(errors.__file__).parent
PAGE = Path(__file__).with_name("failures.md")
END = 1_000_000  # a line behind all others
# Rows of tables by number or identifier: core.records, winrm.kdc.
TABLES = {"Verdict": ("code", "retry", "hint", "status"), "_Meaning": ("code", "status", "retry", "text", "hint")}
REFUSAL = "_Refused"  # of an enrolment or renewal: its code is in `HINTS`
LEFT_OUT = {"lab"}  # what the lab raises, no administrator of a fleet sees

HEAD = """# What can fail, and what to do

Made from the program by `make docs`; do not edit it by hand.

Every poll of an endpoint leaves exactly one observation. It has a **status**; where the poll failed, it has a **fault**
as well, with a code that never changes, a word on when it is tried again, and a hint. `rmm status`, `rmm show ENDPOINT`
and `rmm poll --output ndjson` show them; `rmm doctor ENDPOINT` walks the same way step by step.

## Status words

| status | meaning |
|---|---|
| `OK` | everything that was due was read |
| `PARTIAL` | the endpoint was read, but some collectors have a fault of their own |
| `UNREACHABLE` | no connection: name, route, TCP, or WinRM says that it is not available |
| `TIMEOUT` | connected, but not answered in time, or byte by byte |
| `REBOOTING` | it restarts, as far as can be told; no alert is raised for ten minutes |
| `AUTH_REJECTED` | the logon was refused; no further logon is tried with this credential |
| `AUTH_HELD` | not tried, because this credential was refused elsewhere: no account is locked |
| `ACCESS_DENIED` | logged on, but this account may not do that |
| `TLS_ERROR` | version, certificate or key are not what they must be; nothing secret was sent |
| `IDENTITY_MISMATCH` | another machine answered; nothing was stored (`rmm endpoints quarantined`, `accept`) |
| `QUOTA` | a quota of the endpoint is used up; rmm never raises quotas |
| `CONFIG` | only a change of configuration helps, there or here |
| `PROTOCOL_ERROR` | what came is not what WinRM sends |
| `UNSUPPORTED` | the endpoint has no such capability |
| `SITE_DOWN` | over half of its site is out of reach, or the hub hears nothing of it: one alert, none of the endpoint |
| `COLLECTOR_FAULT` | the site collector's own trouble: one alert of the collector, none of the endpoint |

## When it is tried again

| word | meaning |
|---|---|
| `R0` | not in this round; the next one tries as always |
| `R1` | once more at once, on a fresh connection; what is shown failed twice |
| `RB` | later and later, with jitter, up to an hour; `Retry-After` is honoured. `rmm poll` by hand tries always |
| `RH` | held until configuration or credential change or are released; schedules look again once an hour |

## Whose trouble it is

What befalls many endpoints of a site at once is told once, as an alert of the site or of its collector: `site_down`,
`collector_dns`, `collector_kdc`, `collector_clock` (Kerberos finds our clock wrong), `collector_skew` (most endpoints'
clocks differ from ours), `collector_clock_step` (our clock was set while a round ran), `collector_stalled` (our process
stood still, so timeouts of that time say nothing), `collector_sockets` (too few files may be open, or ports ran out)
and `collector_disk` (history waits and readings are in the spool alone; or nothing can be stored at all: exit code 1,
and what is not stored is not called polled). `collector_budget` warns that the data folder reaches its budget or the
end of its disk within some days; see [the store](store.md).

A hub says as well what it knows of sites: `collector_down` (one of several collectors of a site is not heard; when none
is, it is `site_down`), `link_slow` (what waits at the site gets older, although it is heard), `collector_offset` (a
collector's clock is a minute or more from the hub's), `collector_certificate` (it was not renewed and ends soon),
`collector_spool` (what may wait at a site is nearly full, or something of it was given up), `hub_disk` (the hub can
store nothing) and `hub_broker` (its broker may lose what it has confirmed, so the hub has ended); the last two are told
straight to the channels. [Sites](sites.md) has when each is raised and ends.

`duplicate_identity` names endpoints that report one SMBIOS UUID, one installation, one machine
SID (where an installation is not told), or one name at a site: cloned, or listed twice.

## Fault codes

A code that ends with a capital word is completed with a number or a name. `-` stands for what depends on the case.

| code | status | retry | what to do |
|---|---|---|---|
"""


class Known(NamedTuple):
    """One way in which a fault is raised."""

    code: str
    status: str
    retry: str
    hint: str


def faults() -> list[Known]:
    """All faults of the source, by code; the same code with another remedy is another line."""
    found = {Known(kind.code, kind.status, kind.retry, kind.hint) for kind in _classes()}
    paths = [path for path in sorted(SOURCE.rglob("*.py")) if path.relative_to(SOURCE).parts[0] not in LEFT_OUT]
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in paths]
    constants = {name: value for tree in trees for name, value in _assigned(tree.body, END).items() if name.isupper()}
    for tree in trees:
        found.update(_in_module(tree, constants))
    found.update(_by_number())
    found.update(_of_enrolment())
    told = {one.code for one in found if one.hint != "-"}
    return sorted(one for one in found if one.hint != "-" or one.code not in told)


def _classes() -> Iterator[type[errors.RmmError]]:
    waiting = [errors.RmmError]
    while waiting:
        kind = waiting.pop()
        yield kind
        waiting += kind.__subclasses__()


def _by_number() -> Iterator[Known]:
    """Those that a table names by number."""
    from rmm.transports.winrm.faults import _PLUGIN_HINT, _QUOTA

    quota = errors.QuotaError
    for code, retry, _ in _QUOTA.values():
        yield Known(code, quota.status, retry, _PLUGIN_HINT if code == "quota.plugin" else quota.hint)


def _of_enrolment() -> Iterator[Known]:
    """What the hub refuses; the site knows by the code what to do."""
    for code, hint in HINTS.items():
        yield Known(code, errors.EnvelopeError.status, errors.EnvelopeError.retry, hint)


def _in_module(tree: ast.Module, constants: dict[str, ast.expr]) -> Iterator[Known]:
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    within: dict[ast.Call, ast.AST] = {}  # the innermost function of a call: ast.walk gives outer ones first
    for function in functions:
        within.update({node: function for node in ast.walk(function) if isinstance(node, ast.Call)})
    for call in ast.walk(tree):
        if isinstance(call, ast.Call):
            names = constants | _assigned(tree.body, END) | _assigned(ast.walk(within.get(call, tree)), call.lineno)
            if (made := _fault(call, names)) is not None:
                yield made


def _assigned(nodes: Iterable[ast.AST], before: int) -> dict[str, ast.expr]:
    """Names with what was last assigned to them before a line."""
    found = [
        (node.lineno, node.targets[0].id, node.value)
        for node in nodes
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.lineno < before
    ]
    return {name: value for _, name, value in sorted(found, key=lambda one: one[0])}


def _fault(call: ast.Call, names: dict[str, ast.expr]) -> Known | None:
    name = call.func.id if isinstance(call.func, ast.Name) else ""
    if name == REFUSAL:
        return None
    given = {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg}
    if name == "Fault":
        given = dict(zip(("code", "retry", "hint"), call.args, strict=False)) | given
        return _known(given, errors.RmmError, names) if "code" in given else None
    if name in TABLES:
        given = {"status": ast.Name("PARTIAL")} | dict(zip(TABLES[name], call.args, strict=False)) | given
        return _known(given, errors.RmmError, names)
    if name == "give_up" or (isinstance(call.func, ast.Attribute) and call.func.attr == "give_up"):
        given = dict(zip(("names", "code", "message", "hint"), call.args, strict=False)) | {"retry": ast.Constant("RB")}
        given = {"hint": ast.Name("ALONE"), "status": ast.Name("PARTIAL")} | given
    kind = getattr(errors, name, errors.RmmError)
    if "code" not in given or not (isinstance(kind, type) and issubclass(kind, errors.RmmError)):
        return None
    return _known(given, kind, names)


def _known(given: dict[str, ast.expr], kind: type[errors.RmmError], names: dict[str, ast.expr]) -> Known | None:
    code = _text(given["code"], names)
    if not code or "." not in code:
        return None
    texts = {
        key: _text(given[key], names) if key in given else getattr(kind, key) for key in ("status", "retry", "hint")
    }
    hint = "-" if texts["hint"] == "NAME." else texts["hint"]
    return Known(code, texts["status"], texts["retry"], hint)


def _text(node: ast.expr, names: dict[str, ast.expr], depth: int = 0) -> str:
    """What can be told of a text without running anything; a part that depends on the case is `...`."""
    if isinstance(node, ast.Constant):
        return str(node.value) if node.value is not None else ""
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part, names, depth) for part in node.values)
    if isinstance(node, ast.FormattedValue):
        return "NAME"
    if isinstance(node, ast.BinOp):
        return _text(node.left, names, depth) + _text(node.right, names, depth)
    name = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
    if name in _words():
        return name
    return _text(names[name], names, depth + 1) if isinstance(node, ast.Name) and name in names and depth < 3 else "-"


@lru_cache(maxsize=1)
def _words() -> frozenset[str]:
    """The status words, each the value of a constant of its own name."""
    return frozenset(name for name, value in vars(observation).items() if name.isupper() and value == name)


def page() -> str:
    """What docs/failures.md must hold."""
    rows = [f"| `{one.code}` | {one.status} | {one.retry} | {one.hint.replace('|', '/') or '-'} |" for one in faults()]
    return HEAD + "\n".join(rows) + "\n"
