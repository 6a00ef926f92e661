"""What `rmm schedule install` and `rmm site install` share: words of unit files, folders, the tools of the platform."""

from __future__ import annotations

import getpass
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from rmm.errors import ConfigError, RmmError


def kind_of(kind: str, kinds: Sequence[str], here: str) -> str:
    """The kind that was asked for, or `here`, the one that fits this machine. ConfigError for another word."""
    if kind and kind not in kinds:
        raise ConfigError(f"--kind {kind}: there are {', '.join(kinds)}")
    return kind or here


def has_systemd() -> bool:
    """Whether systemd runs this machine (sd_booted(3))."""
    return Path("/run/systemd/system").is_dir()


def is_root() -> bool:
    """Whether this is root; never on Windows."""
    return hasattr(os, "geteuid") and os.geteuid() == 0


def units_folder() -> Path:
    """Where units of systemd go: the machine's for root, else the account's."""
    home = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path("/etc/systemd/system") if is_root() else Path(home) / "systemd" / "user"


def systemctl(*words: str) -> list[str]:
    """A command of systemctl for the units of this account."""
    return ["systemctl", *([] if is_root() else ["--user"]), *words]


def quoted(word: str) -> str:
    """A word of ExecStart: systemd.syntax(7) and its specifiers."""
    text = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{text}"' if any(mark in text for mark in " \t\"'") else text


def exec_start(command: Sequence[str]) -> str:
    """ExecStart of this interpreter with these words."""
    return " ".join(quoted(word) for word in [sys.executable, *command])


def task_account() -> str:
    """The account of a scheduled task, for its XML."""
    return escape("\\".join(filter(None, [os.environ.get("USERDOMAIN", ""), getpass.getuser()])), quote=False)


def task_words(command: Sequence[str]) -> str:
    """The arguments of a scheduled task, for its XML."""
    return escape(subprocess.list2cmdline(command), quote=False)


def show(made: Mapping[str, str]) -> None:
    """Print files; a single one as it is, to be redirected."""
    for name, text in made.items():
        if len(made) > 1:
            print(f"# {name}")
        print(text)


def put(made: Mapping[str, str], folder: Path, commands: Sequence[Sequence[str]], *, dry_run: bool) -> None:
    """Write files and run commands, each said before it is done."""
    for name, text in made.items():
        print(f"{'would write' if dry_run else 'writing'} {folder / name}")
        if not dry_run:
            folder.mkdir(parents=True, exist_ok=True)
            # schtasks wants UTF-16 with a mark, which is also what it exports.
            (folder / name).write_text(text, encoding="utf-16" if name.endswith(".xml") else "utf-8")
    for command in commands:
        print(f"{'would run' if dry_run else 'running'} {shlex.join(command)}")
        if not dry_run:
            _run(command)


def _run(command: Sequence[str]) -> None:
    hint = "`print` instead of `install`, or --print, shows what to set up by hand."
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    except OSError as error:
        raise RmmError(f"{command[0]}: {error.strerror}", code="schedule", hint=hint) from error
    if done.returncode != 0:
        raise RmmError(f"{shlex.join(command)}: {(done.stderr or done.stdout).strip()}", code="schedule", hint=hint)
