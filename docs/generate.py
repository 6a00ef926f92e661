"""Makes docs/commands.md out of the command line, and the tables of the collectors' pages; --check only compares."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import typer

from rmm.catalog.golden import main as write_collectors
from rmm.cli.main import build, groups

PAGE = Path(__file__).parent / "commands.md"
HEAD = """# Commands

This page is made by `make docs` from the commands themselves.

Exit codes, everywhere: 0 done (poll: all endpoints polled), 1 internal error or something could not be stored, 2 wrong
usage or configuration, 3 some endpoints or rows failed, 4 nothing could be polled, 130 stopped by Ctrl-C.

`--output` is `table` for people, `json`, `ndjson` (one object per line) or `csv` for programs. Tables are coloured on a
terminal and plain in a pipe. Results go to standard output, errors and what to do about them to standard error.

Environment: `RMM_CONFIG` (configuration folder), `RMM_DATA`, `RMM_POLL_CONCURRENCY`, `RMM_POLL_WORKERS`,
`RMM_POLL_TIMEOUT`, `RMM_POLL_CONNECT_TIMEOUT`, `RMM_POLL_STAGGER` (over rmm.yaml, under flags), `RMM_PASSPHRASE_FILE`, `RMM_PASSPHRASE`.
"""


def lines(command: Any, name: str) -> list[str]:
    """One command, or a group and its commands."""
    children = getattr(command, "commands", None)
    if children:
        found = [f"## {name}", "", (command.help or "").strip(), ""]
        for child in sorted(children):
            found += lines(children[child], f"{name} {child}")
        return found
    text = [f"### {name}" if " " in name.removeprefix("rmm ") else f"## {name}", "", (command.help or "").strip(), ""]
    shown = [parameter for parameter in command.params if not getattr(parameter, "hidden", False)]
    if shown:
        text += ["| | |", "|---|---|"]
    for parameter in shown:
        names = ", ".join(parameter.opts) if parameter.param_type_name == "option" else parameter.name.upper()
        note = (getattr(parameter, "help", None) or "").strip().replace("|", "\\|")
        text.append(f"| `{names}` | {note} |")
    return [*text, ""]


def page() -> str:
    """The whole page."""
    root: Any = typer.main.get_command(build(groups()))
    body = [line for name in sorted(root.commands) for line in lines(root.commands[name], f"rmm {name}")]
    return HEAD + "\n" + "\n".join(body).rstrip() + "\n"


def main() -> None:
    """Write, or compare."""
    text = page()
    if "--check" in sys.argv:
        if not PAGE.exists() or PAGE.read_text(encoding="utf-8") != text:
            sys.exit("docs/commands.md is stale")
        return
    PAGE.write_text(text, encoding="utf-8")
    write_collectors()


if __name__ == "__main__":
    main()
