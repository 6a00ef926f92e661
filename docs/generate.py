"""Makes commands.md, lab.md (kinds of faults), failures.md (fault codes), collectors/ and the collectors' READMEs.

`--check` only compares.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import faults  # of this folder
import typer

from rmm.catalog.golden import write_expected
from rmm.catalog.load import load_catalog
from rmm.catalog.pages import index_page, reference_page
from rmm.cli.main import build, groups
from rmm.lab.faults.plan import STEPS, kinds
from rmm.resources import shipped
from rmm.settings.load import ENVIRONMENT

PAGE = Path(__file__).with_name("commands.md")
LAB = Path(__file__).with_name("lab.md")
COLLECTORS = Path(__file__).with_name("collectors")

HEAD = """# Commands

Made from the program by `make docs`; do not edit it by hand.

The configuration folder is `--config`, else `RMM_CONFIG`, else `./config` if it has rmm.yaml and endpoints.csv, else
the platform's own place (`/etc/rmm`, `~/.config/rmm`, `%PROGRAMDATA%\\rmm`). A value comes from the flag, else the
environment, else rmm.yaml, else the default.

`--output` is `table` (colours and a progress bar on a terminal, plain aligned text in a pipe), `json` (one document),
`ndjson` (one object per line, as it arrives) or `csv`. Errors go to standard error as `error: ...` and `fix: ...`.

## Exit codes

| code | meaning |
|---|---|
| 0 | done; for `poll`: all endpoints polled |
| 1 | internal error, or something could not be stored (full disk, read-only folder) |
| 2 | wrong usage or configuration; nothing was polled |
| 3 | some endpoints failed; for `endpoints import`: some rows were bad; for `doctor`: some collectors failed |
| 4 | nothing could be polled, or another poll holds the shard; for `doctor` and `credentials test`: no session |
| 130, 143 | stopped by Ctrl-C, by SIGTERM; what was stored is kept, shells on endpoints are deleted |
| 141 | whoever read the output has gone |

## One observation, as `rmm poll --output ndjson` prints it

| field | value |
|---|---|
| `endpoint`, `name` | id and ComputerName |
| `site`, `shard` | where it is polled and kept |
| `observed_at` | time in UTC, ISO 8601 |
| `duration_s` | seconds of its poll |
| `status` | `OK`, `PARTIAL`, or what failed, such as `UNREACHABLE`, `TIMEOUT`, `AUTH_REJECTED` |
| `fault` | null, or `code`, `retry`, `hint`, `message`, and `sample`: what could not be read, scrubbed |
| `identity` | what the machine says it is |
| `refused` | null, or of another machine that answered: `asked`, `listed`, `expected`, `seen` |
| `collectors` | name -> `outcome`, `gather_ms` (there), `bytes`, `readings` (rows), perhaps `notes` and `fault` |

`outcome` is `ok`, `partial`, `unsupported`, `fault`, or `not_run` where a poll's time did not reach the collector.

## Environment

| variable | meaning |
|---|---|
| `RMM_CONFIG` | configuration folder |
| `RMM_PASSPHRASE_FILE` | file with the vault's passphrase |
| `RMM_PASSPHRASE` | the vault's passphrase itself |
"""


LAB_HEAD = """# The lab

Made from the program by `make docs`; do not edit it by hand.

`rmm lab up` simulates a fleet on loopback that speaks the real protocols: WSMan, PSRP, WinRS, NTLM with message
encryption, TLS. Any WinRM client can talk to it; `lab.json` says how. `rmm poll --config FOLDER` polls it.

## Engines

`--engine samples`, the default, knows the product's own scripts by their text and answers as they would; anything else
is a command that does not exist. It carries ten thousand endpoints.

`--engine pwsh` executes whatever arrives in PowerShell 7, which it finds by `RMM_PWSH`, then as `pwsh` on the PATH. A
PowerShell session is one process in server mode: behind the lab's WSMan stands Microsoft's own PSRP server. A line
`powershell -EncodedCommand ...` (or `-Command ...`) of the command shell is a process as well. Windows' commands (CIM,
registry, event logs and so on) are those of the stand-ins in `rmm/lab/windows`, fed from the machine's state; name,
culture and time zone are the machine's. A session configuration without a language has `Get-RmmData` alone.

```
rmm lab up --engine pwsh                          # 8 endpoints
rmm lab up --engine pwsh --endpoints 30 --shells 8 --spare 2 --profile server2022-dc-de
```

A shell costs about half a second of processor time and 120 MB. `--shells` is how many there may be at once over all
machines (16); the next one is refused with the quota fault of Windows, and the written configuration polls no more at
once. `--spare` processes are started ahead (2). Output that nobody receives waits in PowerShell beyond 2 MB; a process
that does not answer for 30 seconds is killed; a process that is gone is a shell that is not found any more.

Fault plans apply. Where a fault changes what a script writes (`content`, `record`, `rights`, `identity`, `clock` and
others), the pipeline's output is kept until it ends (64 MB at most) and changed then. In the command shell of WinRS
the lines of standard output are what such a fault changes, and its error records go to standard error; faults in the
messages or fragments of PSRP do not strike there, as there are none.

What it does not show: this is PowerShell 7 on another system. Windows PowerShell 5.1 lacks some of its syntax and
.NET members (`rmm collector check` knows which); a pool of more than one runspace has the stand-ins in its first one
only; how long WinRM gathers output before it answers a Receive is not documented and assumed here (0.5 s). In the
command shell, line feeds that a script writes itself arrive as CR LF.

On Linux the system kills all PowerShell processes when the lab is killed; elsewhere a session ends with its standard
input, and a command line of the command shell may go on until it ends by itself.

Over SSH the same PowerShell is a subsystem that is one machine; STATE is a machine's state as
`rmm/lab/windows/README.md` describes it:

```
Subsystem powershell /path/to/python -m rmm.lab.pwsh.subsystem /path/to/pwsh STATE
```

## Sessions that are left

With either engine a client may leave a PowerShell session and come back (WSMan's Disconnect and Reconnect), or another
one takes it over (Connect, after the list of shells and of their commands), as with pypsrp's `RunspacePool.disconnect`,
`connect` and `get_runspace_pools`. The script goes on meanwhile, and its output waits:

- With BufferMode Block, the default, the script waits too when 2 MB wait for a client (`--engine samples`, whose
  scripts run in no time, keeps all); with Drop the oldest messages are forgotten beyond that.
- The session is deleted when its idle timeout is over, that of its creation or of the Disconnect (IdleTimeOut); what is
  refused meanwhile does not keep it.
- Whatever else is asked of a session that was left is a fault, 2150859204; a Receive that waits when its client leaves,
  or of a command that was not connected again after its session, 2150859230; a second Disconnect 2150859215; Reconnect
  by another client session (the SessionId of the envelopes) 2150859206; Connect to a session that has its client
  2150859213; Disconnect of a command shell, or of a session whose client did not choose its ShellId, 2150859205.
  Delete is obeyed.

Answers are as a recorded Server 2016 gave them. The codes of the faults are those of the Windows SDK; which of them
Windows chooses in each case, how it words them, how much it buffers, and whether it obeys a Delete without a client,
can only be seen on Windows. With `--engine pwsh` the answer to a Connect is the lab's own, made of what Microsoft's
server said when the session was opened: see `docs/decisions/0013-pwsh-engine.md`. Input that a script still expects is
not ended by a Connect, as it is on Windows.

## Fault plans

`rmm lab up --faults FILE` makes machines fail. A plan is YAML, a list under `faults`:

```yaml
faults:
  - {kind: refuse, machines: [1]}                        # by index, from 0
  - {kind: hang, groups: [server2019]}                   # by operating system
  - {kind: trickle, share: 0.3, every_s: 0.5}            # 30 % of the fleet, chosen by a hash of the name
  - {kind: connection, how: reset, step: receive, skip: 2, times: 1, names: [LAB-SRV-001]}
  - {kind: http, status: 503, after_s: 60, for_s: 120, share: 1.0}
```

Each entry has a `kind` from the list below with its options, the machines (one of `machines`, `names`, `groups`,
`share`), and when it strikes: `step` (one or more of STEPS;
`connect` is that of TCP, `attach` is WSMan's Connect),
`skip` (chances that pass before), `times` (how often), `after_s` and `for_s` (seconds of the lab's life). Without them
it always strikes.

`config/lab/mixed.yaml` is an example with many kinds; `config/lab/rows/` has one plan and more for each row of the
catalogue of field failures, with what the product must make of it. `make faults` runs them all and prints the table.

## Accounts

The lab has one account, whose password is in `lab.json`, and counts its bad logons as a domain controller does. A
plan's `accounts` adds others or changes it (an entry without `name`), and `credential` is what the vault holds:

```yaml
faults: []
accounts:
  - {threshold: 3, window_s: 1800, duration_s: 1800}     # the lab's own account may be locked
  - {name: admin, password: secret, state: disabled}     # without a domain: a local account of every machine
credential: {username: admin, password: mistyped}
```

`state` is ok, expired, must_change, disabled, hours or workstation; each but ok gets the same 401 as a wrong password.
`GET /lab/stats` (its address is `stats` in `lab.json`) has each account's good and bad logons, largest badPwdCount and
lock-outs. `POST /lab/accounts` (`accounts` in `lab.json`) does what an administrator does, while the lab runs:
`{"name": "LAB\\\\rmm", "password": "rotated", "state": "ok"}`; each key may be left out, and ok also unlocks.

## New kinds

A new kind is one file in `rmm/lab/faults/` with a function `build(**options)`; nothing else is edited.

## Kinds
"""


def lab_page() -> str:
    """What docs/lab.md must hold."""
    lines = [LAB_HEAD.replace("STEPS", ", ".join(f"`{step}`" for step in STEPS))]
    for kind in kinds():
        module = importlib.import_module(f"rmm.lab.faults.{kind}")
        options = [_default(one) for one in inspect.signature(module.build).parameters.values()]
        lines += [f"### `{kind}`", "", inspect.getdoc(module) or "", ""]
        if options:
            lines += [f"Defaults: {', '.join(options)}.", ""]
    return "\n".join(lines).rstrip() + "\n"


def _default(one: inspect.Parameter) -> str:
    return f"`{one.name}`" + ("" if one.default is one.empty else f" {one.default!r}")


def page() -> str:
    """What docs/commands.md must hold."""
    root = typer.main.get_command(build(groups()))
    lines = [f"| `{name}` | `{'.'.join(filter(None, place))}` of rmm.yaml |" for name, place in ENVIRONMENT.items()]
    return HEAD + "\n".join([*lines, "", *_commands(root, ["rmm"])]) + "\n"


def _commands(command: Any, words: list[str]) -> Iterator[str]:
    children: Any = getattr(command, "commands", None)
    if children is None or words == ["rmm"] or getattr(command, "invoke_without_command", False):
        yield from _command(command, words)
    for name in sorted(children or ()):
        yield from _commands(children[name], [*words, name])


def _command(command: Any, words: list[str]) -> Iterator[str]:
    arguments = [parameter for parameter in command.params if parameter.param_type_name == "argument"]
    options = [parameter for parameter in command.params if parameter.param_type_name == "option"]
    usage = [*words, *(_argument(parameter) for parameter in arguments)]
    yield from (
        f"## `{' '.join(usage)}`",
        "",
        "\n".join(line.strip() for line in (command.help or "").splitlines()),
        "",
    )
    shown = [(f"`{parameter.human_readable_name.upper()}`", parameter) for parameter in arguments]
    shown += [(_names(parameter), parameter) for parameter in options if parameter.name != "help"]
    if shown:
        yield from ("| | |", "|---|---|")
        yield from (f"| {names} | {_meaning(parameter)} |" for names, parameter in shown)
        yield ""


def _argument(parameter: Any) -> str:
    name = str(parameter.human_readable_name).upper() + ("..." if parameter.nargs == -1 else "")
    return name if parameter.required else f"[{name}]"


def _names(parameter: Any) -> str:
    flags = "" if parameter.is_flag else f" {parameter.type.name.upper()}"
    return ", ".join(f"`{name}`" for name in parameter.opts) + (f"{flags}" if flags else "")


def _meaning(parameter: Any) -> str:
    text = str(parameter.help or "").replace("|", "\\|")
    default = parameter.default
    if default in (None, "", False, ()) or parameter.required or callable(default):
        return text + (" Required." if parameter.required and parameter.param_type_name == "option" else "")
    return f"{text} Default: `{default}`."


def collector_pages() -> dict[Path, str]:
    """What docs/collectors/ must hold: one page for each collector, and an index."""
    catalog = load_catalog([shipped("collectors")])
    found = {COLLECTORS / f"{name}.md": reference_page(collector) for name, collector in catalog.items()}
    return found | {COLLECTORS / "README.md": index_page(catalog.values())}


def main() -> None:
    """Write, or compare."""
    if "--check" not in sys.argv:
        for path in write_expected(list(load_catalog([shipped("collectors")]).values())):
            sys.stdout.write(f"wrote {path}\n")
    pages = {PAGE: page(), LAB: lab_page(), faults.PAGE: faults.page()} | collector_pages()
    stale = [path for path, text in pages.items() if not path.is_file() or path.read_text(encoding="utf-8") != text]
    left = [path for path in COLLECTORS.glob("*.md") if path not in pages]  # of collectors that are gone
    if "--check" in sys.argv:
        if stale := stale + left:
            sys.exit(f"stale, run `make docs`: {', '.join(path.name for path in stale)}")
        return
    COLLECTORS.mkdir(exist_ok=True)
    for path in left:
        path.unlink()
    for path in stale:
        path.write_text(pages[path], encoding="utf-8", newline="\n")
        sys.stdout.write(f"wrote {path}\n")


if __name__ == "__main__":
    main()
