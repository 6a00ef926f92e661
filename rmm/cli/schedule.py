"""`rmm schedule`: a round every few minutes, by the platform's own scheduler."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from rmm.cli.installing import (
    exec_start,
    has_systemd,
    kind_of,
    put,
    show,
    systemctl,
    task_xml,
    units_folder,
)
from rmm.cli.options import Config, folder_of
from rmm.errors import ConfigError

app = typer.Typer(
    rich_markup_mode=None, no_args_is_help=True, help="A round every few minutes, by the platform's own scheduler."
)

KINDS = ("windows", "systemd", "cron")
NAME = "rmm-poll"

Every = Annotated[int, typer.Option(min=1, max=1440, help="Minutes between two rounds.")]
Kind = Annotated[str, typer.Option(help="windows, systemd or cron; without: what fits this machine.")]
File = Annotated[
    Path | None,
    typer.Option("--passphrase-file", help="File with the vault's passphrase; readable by the account that polls."),
]


@app.command("print")
def print_schedule(config: Config = None, every: Every = 5, kind: Kind = "", passphrase_file: File = None) -> None:
    """Print what `install` would set up: Task Scheduler XML, systemd units, or a cron line."""
    show(files(_kind(kind), folder_of(config), every, passphrase_file))


@app.command()
def install(
    config: Config = None,
    every: Every = 5,
    kind: Kind = "",
    passphrase_file: File = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")] = False,
) -> None:
    """Install the schedule for this account."""
    wanted = _kind(kind)
    made = files(wanted, folder_of(config), every, passphrase_file)
    if wanted == "cron":
        raise ConfigError(
            "a crontab is not edited by rmm", hint=f"Add this line with `crontab -e`: {next(iter(made.values()))}"
        )
    folder = _folder(wanted)
    put(made, folder, _commands(wanted, folder), dry_run=dry_run)


def _kind(kind: str) -> str:
    return kind_of(kind, KINDS, "windows" if sys.platform == "win32" else "systemd" if has_systemd() else "cron")


def _folder(kind: str) -> Path:
    return Path(os.environ.get("TEMP", ".")) if kind == "windows" else units_folder()


def _commands(kind: str, folder: Path) -> list[list[str]]:
    if kind == "windows":
        return [["schtasks", "/Create", "/TN", NAME, "/XML", str(folder / f"{NAME}.xml"), "/F"]]
    return [systemctl("daemon-reload"), systemctl("enable", "--now", f"{NAME}.timer")]


def arguments(folder: Path, passphrase_file: Path | None) -> list[str]:
    """The command that a schedule runs, without the interpreter."""
    extra = ["--passphrase-file", str(passphrase_file.absolute())] if passphrase_file else []
    return ["-m", "rmm", "poll", "--due", "--quiet", "--config", str(folder.absolute()), *extra]


def files(kind: str, folder: Path, every: int, passphrase_file: Path | None) -> dict[str, str]:
    """File name -> content; a cron line has no name."""
    command = arguments(folder, passphrase_file)
    if kind == "windows":
        return {f"{NAME}.xml": _task(command, every)}
    if kind == "systemd":
        return _units(command, every)
    if every < 60 and 60 % every == 0:
        when = f"*/{every} *"
    elif every % 60 == 0 and 1440 % every == 0:
        when = f"0 */{every // 60}" if every < 1440 else "0 0"
    else:
        raise ConfigError(
            f"--every {every}: cron cannot say that", hint="Use a divisor of 60, or a number of hours that divides 24."
        )
    # A percent sign ends the command in a crontab.
    return {"": f"{when} * * * {shlex.join([sys.executable, *command])}".replace("%", "\\%")}


def _units(command: list[str], every: int) -> dict[str, str]:
    line = exec_start(command)
    service = (
        "[Unit]\nDescription=rmm: poll the fleet\nAfter=network-online.target\nWants=network-online.target\n\n"
        f"[Service]\nType=oneshot\nExecStart={line}\nSuccessExitStatus=3\nNice=5\n"
        f"TimeoutStartSec={max(every * 60 * 2, 600)}\nNoNewPrivileges=yes\nLimitNOFILE=16384\n"
    )
    timer = (
        f"[Unit]\nDescription=rmm: a round every {every} minutes\n\n"
        f"[Timer]\nOnBootSec=2min\nOnUnitActiveSec={every}min\n"
        "AccuracySec=1s\nRandomizedDelaySec=5s\n\n[Install]\nWantedBy=timers.target\n"
    )
    return {f"{NAME}.service": service, f"{NAME}.timer": timer}


def _task(command: list[str], every: int) -> str:
    return task_xml(NAME, f"poll the fleet every {every} minutes", every, command, limit=f"PT{max(every * 2, 10)}M")
