"""Finds command groups, runs one, and turns what it raises into a message and an exit code.

Every file of this folder that has an `app` is a group; nothing is listed here. Only the file of the command that was
asked for is imported, and at this level only typer and the standard library: the command line must start fast.
"""

from __future__ import annotations

import importlib
import io
import logging
import os
import pkgutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

import typer

from rmm import __version__
from rmm.errors import BusError, ConfigError, EnvelopeError, LeaseLost, RmmError, TierError, TransportError

INTERNAL, USAGE, SOME_FAILED, NOTHING = 1, 2, 3, 4
STOPPED, GONE, TERMINATED = 130, 141, 143  # as a shell says it of SIGINT, SIGPIPE and SIGTERM
_WRONG_USAGE: Any = typer.BadParameter.__mro__[1]  # UsageError, which typer does not export
_PLUMBING = frozenset({"main", "printing", "options", "quarantine", "acting", "installing", "site_forms", "site_way"})
# These print whole messages at DEBUG, and with them what is in them.
_NOISY = ("pypsrp", "spnego", "psrpcore", "winrm", "urllib3", "requests", "asyncio", "aiosqlite", "asyncssh")


def groups() -> list[str]:
    """Names of all command groups."""
    found = pkgutil.iter_modules([str(Path(__file__).parent)])
    return sorted(item.name for item in found if item.name not in _PLUMBING)


def build(names: Sequence[str]) -> typer.Typer:
    """The command line with these groups; a group whose only command has its own name is that command."""
    app = typer.Typer(
        rich_markup_mode=None,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        help="Agentless monitoring of Windows fleets over PowerShell Remoting.",
    )
    app.callback()(_root)
    for name in names:
        group: typer.Typer = importlib.import_module(f"rmm.cli.{name}").app
        commands = group.registered_commands
        callback = commands[0].callback if len(commands) == 1 else None
        if callback is not None and callback.__name__ == name:
            app.command(name)(callback)
        else:
            app.add_typer(group, name=name)
    return app


def _version(value: bool) -> None:
    if value:
        print(f"rmm {__version__}")
        raise typer.Exit


def _root(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Show the version."),
    debug: bool = typer.Option(False, "--debug", help="Log to standard error what happens, and show tracebacks."),
) -> None:
    logging.basicConfig(
        level=logging.DEBUG if debug else logging.WARNING,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s" if debug else "%(levelname)s: %(message)s",
        stream=sys.stderr,
    )
    for noisy in _NOISY:
        logging.getLogger(noisy).setLevel(logging.WARNING)
    if debug:
        os.environ["RMM_DEBUG"] = "1"


def _whole(stream: TextIO) -> TextIO:
    """A stream that writes all of a text: with PYTHONUNBUFFERED, Python's own drops what a full pipe did not take."""
    raw = getattr(stream, "buffer", None)
    if not isinstance(raw, io.RawIOBase):
        return stream
    writer: Any = io.BufferedWriter(raw)
    return io.TextIOWrapper(writer, encoding="utf-8", errors="replace", line_buffering=True)


def main() -> None:
    """The entry point; ends the process with one of the documented exit codes."""
    for stream in (sys.stdout, sys.stderr):
        # A Windows console or a redirected stream may have a code page that lacks half of what machines are called.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="replace")
    sys.stdout = _whole(sys.stdout)
    wanted = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
    names = groups()
    out = sys.stdout
    try:
        try:
            code = _run([wanted] if wanted in names else names)
        finally:
            out.flush()
    except BrokenPipeError:
        code = GONE
    except SystemExit as error:
        # typer ends a process whose output nobody reads with 1, after it has wrapped the streams.
        code = GONE if sys.stdout is not out else error.code if isinstance(error.code, int) else INTERNAL
    if code == GONE:
        # What is still buffered goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), out.fileno())
    sys.exit(code)


def _run(names: Sequence[str]) -> int:
    """Run the command; returns the exit code, with everything that it raised said."""
    try:
        result = build(names)(standalone_mode=False)
        if result == STOPPED:  # typer has swallowed a Ctrl-C
            print("\nstopped", file=sys.stderr)
        return result if isinstance(result, int) else 0
    except _WRONG_USAGE as error:
        error.show()
        return USAGE
    except (KeyboardInterrupt, typer.Abort):
        print("stopped", file=sys.stderr)
        return STOPPED
    except BrokenPipeError:
        raise
    except Exception as error:
        if os.environ.get("RMM_DEBUG"):
            raise
        if isinstance(error, RmmError):
            return _say(error)
        print(f"error: {type(error).__name__}: {error}", file=sys.stderr)
        print("  fix: This is a defect in rmm: please report it with the output of `rmm --debug ...`.", file=sys.stderr)
        return INTERNAL


def _say(error: RmmError) -> int:
    """Print what happened and what to do; returns the exit code."""
    if error.code in ("stopped", "terminated"):
        print(error, file=sys.stderr)
        return STOPPED if error.code == "stopped" else TERMINATED
    for line in str(error).splitlines() or [""]:
        print(f"error: {line}", file=sys.stderr)
    if error.hint:
        print(f"  fix: {error.hint}", file=sys.stderr)
    if isinstance(error, LeaseLost | TransportError | BusError) and error.status != "CONFIG":
        return NOTHING
    if isinstance(error, TierError):
        return INTERNAL
    return USAGE if isinstance(error, ConfigError | EnvelopeError) or error.status == "CONFIG" else INTERNAL
