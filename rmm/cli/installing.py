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


def task_xml(
    name: str, what: str, every: int, command: Sequence[str], *, limit: str, account: str = "", more: str = ""
) -> str:
    """A task for the Task Scheduler (schema 1.2) that runs this interpreter every so many minutes, and once at a time.

    S4U: it runs whether or not the account is logged on, and no password of it is stored.

    Args:
        name: of the task.
        what: it does, for people.
        every: minutes.
        command: words behind the interpreter.
        limit: how long it may run, ISO 8601; PT0S: without end.
        account: with its domain; empty: who runs this.
        more: other triggers, as XML.
    """
    who = account or "\\".join(filter(None, [os.environ.get("USERDOMAIN", ""), getpass.getuser()]))
    return f"""<?xml version="1.0" encoding="UTF-16"?>
<Task version="1.2" xmlns="http://schemas.microsoft.com/windows/2004/02/mit/task">
  <RegistrationInfo>
    <Description>rmm: {escape(what, quote=False)}</Description>
    <URI>\\{name}</URI>
  </RegistrationInfo>
  <Triggers>
{more}    <TimeTrigger>
      <Repetition>
        <Interval>PT{every}M</Interval>
        <StopAtDurationEnd>false</StopAtDurationEnd>
      </Repetition>
      <StartBoundary>2020-01-01T00:00:00</StartBoundary>
      <Enabled>true</Enabled>
    </TimeTrigger>
  </Triggers>
  <Principals>
    <Principal id="Author">
      <UserId>{escape(who, quote=False)}</UserId>
      <LogonType>S4U</LogonType>
      <RunLevel>LeastPrivilege</RunLevel>
    </Principal>
  </Principals>
  <Settings>
    <MultipleInstancesPolicy>IgnoreNew</MultipleInstancesPolicy>
    <DisallowStartIfOnBatteries>false</DisallowStartIfOnBatteries>
    <StopIfGoingOnBatteries>false</StopIfGoingOnBatteries>
    <StartWhenAvailable>true</StartWhenAvailable>
    <ExecutionTimeLimit>{limit}</ExecutionTimeLimit>
    <Enabled>true</Enabled>
  </Settings>
  <Actions Context="Author">
    <Exec>
      <Command>{escape(sys.executable, quote=False)}</Command>
      <Arguments>{escape(subprocess.list2cmdline(command), quote=False)}</Arguments>
    </Exec>
  </Actions>
</Task>"""


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
