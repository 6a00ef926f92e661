"""Options that many commands have, and opening the configuration that they name."""

from __future__ import annotations

import getpass
import os
import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rmm.errors import ConfigError, VaultError
from rmm.hardening import keep_memory_private, take_from_environment

if TYPE_CHECKING:
    from rmm.app import App

Config = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="Configuration folder (else RMM_CONFIG, ./config, the platform's place)."),
]
PassphraseFile = Annotated[
    Path | None,
    typer.Option(
        "--passphrase-file",
        help="File with the vault's passphrase (else RMM_PASSPHRASE_FILE, RMM_PASSPHRASE, a prompt).",
    ),
]
Output = Annotated[str, typer.Option("--output", "-o", help="table, json, ndjson or csv.")]

_UNITS = {"m": 60, "h": 3600, "d": 86_400, "w": 604_800}
OUTPUTS = ("table", "json", "ndjson", "csv")


def folder_of(config: Path | None) -> Path:
    """The configuration folder."""
    from rmm.settings.places import find_folder

    return find_folder(config)


def passphrase_from(folder: Path, file: Path | None, *, new: bool = False) -> str:
    """The vault's passphrase: a file, the environment, a lab's own file, or a prompt."""
    keep_memory_private()
    given = take_from_environment()
    place = file or (Path(os.environ["RMM_PASSPHRASE_FILE"]) if os.environ.get("RMM_PASSPHRASE_FILE") else None)
    if place is None and given:
        return given
    if place is None and (folder / "lab.json").is_file() and (folder / "passphrase").is_file():
        place = folder / "passphrase"  # a lab guards nothing
    if place is not None:
        try:
            text = place.read_text(encoding="utf-8-sig").strip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise VaultError(f"{place}: cannot be read: {error}", hint="Name a readable file.") from error
        if not text:
            raise VaultError(f"{place}: is empty", hint="Its first line is the passphrase.")
        return text
    if not sys.stdin.isatty():
        raise VaultError(
            "the vault's passphrase is needed, and there is no terminal to ask on",
            hint="Use --passphrase-file, RMM_PASSPHRASE_FILE or RMM_PASSPHRASE.",
        )
    first = getpass.getpass("Passphrase of the vault: ")
    if new and first != getpass.getpass("Once more: "):
        raise VaultError("the two passphrases differ", hint="Try again.")
    return first


def open_app(config: Path | None, passphrase_file: Path | None = None, flags: Mapping[str, Any] | None = None) -> App:
    """The application of a configuration folder."""
    from rmm.app import open_app as open_folder

    folder = folder_of(config)
    # Once: the environment gives it away only once, and nobody wants to type it twice.
    return open_folder(folder, cache(lambda: passphrase_from(folder, passphrase_file)), flags)


def checked_output(output: str) -> str:
    """The output form; ConfigError for another word."""
    if output not in OUTPUTS:
        raise ConfigError(f"--output {output}: there are {', '.join(OUTPUTS)}", hint="Choose one of them.")
    return output


def coming(text: str, now: datetime) -> datetime:
    """A moment that is to come: 30m, 4h, 7d or 2w from now, or an ISO time. Or ConfigError, also where it is past."""
    span = re.fullmatch(r"(\d{1,6})([mhdw])", text)
    at = now + timedelta(seconds=int(span[1]) * _UNITS[span[2]]) if span else time_of(text)
    if at <= now:
        raise ConfigError(f"{text!r} is past", hint="Write 30m, 4h, 7d or 2026-11-24T12:00.")
    return at


def who() -> str:
    """The account of the operating system that runs this."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # an account without a name
        return "unknown"


def time_of(text: str, end: datetime | None = None) -> datetime:
    """A moment as people write it: 30m, 24h, 7d or 2w before `end` (without: now), or an ISO time. Or ConfigError."""
    span = re.fullmatch(r"(\d{1,6})([mhdw])", text)
    if span:
        return (end or datetime.now(UTC)) - timedelta(seconds=int(span[1]) * _UNITS[span[2]])
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(f"{text!r} is no time", hint="Write 30m, 24h, 7d or 2026-11-24T12:00.") from error
    return at if at.tzinfo else at.astimezone(UTC)
