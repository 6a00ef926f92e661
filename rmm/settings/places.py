"""Where a configuration lies: a folder of its own files, or, at a site, the bundle of the hub that it has unpacked.

A site's folder holds what is the site's own (`site.yaml`, the vault, its identity below `site/`), and below `bundles/`
the newest two bundles; the file `active` there names the one that counts.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from rmm.errors import ConfigError
from rmm.settings.endpoints import ENDPOINTS

SETTINGS = "rmm.yaml"
LOCAL = "site.yaml"
VAULT = "credentials.vault"
IDENTITY = "site"  # the folder that enrolment makes
BUNDLES = "bundles"
ACTIVE = "active"
_VERSION = re.compile(r"[1-9][0-9]{0,15}\n?\Z")
_LONGEST = 32  # bytes of the pointer


def active_version(folder: Path) -> int:
    """The version of the bundle that counts in a configuration folder; 0 where there is none.

    Raises ConfigError where the pointer is there and cannot be read: what it should be is not guessed.
    """
    pointer = folder / BUNDLES / ACTIVE
    try:
        with pointer.open("rb") as file:
            text = file.read(_LONGEST).decode("ascii", "replace")
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise ConfigError(f"{pointer}: cannot be read: {error.strerror}") from error
    if not _VERSION.match(text):
        hint = f"Write the number of a folder of {folder / BUNDLES} into it, or remove it: then the hub is asked anew."
        raise ConfigError(f"{pointer}: is not the number of a bundle", hint=hint)
    return int(text)


def active_bundle(folder: Path) -> Path | None:
    """The folder of the bundle that counts; None where a configuration folder has its own rmm.yaml, or nothing yet."""
    version = active_version(folder)
    return folder / BUNDLES / str(version) if version else None


def has_settings(folder: Path) -> bool:
    """Whether a folder holds settings, its own or those of a bundle."""
    return (folder / SETTINGS).is_file() or (folder / BUNDLES / ACTIVE).is_file()


def is_configured(folder: Path) -> bool:
    """Whether a folder holds settings, or is that of a site which may fetch them."""
    return has_settings(folder) or (folder / LOCAL).is_file() or is_enrolled(folder)


def is_enrolled(folder: Path) -> bool:
    """Whether a site has been enrolled in a folder."""
    return (folder / IDENTITY).is_dir()


def find_folder(given: Path | None) -> Path:
    """The configuration folder: the flag, RMM_CONFIG, ./config if it holds settings, else the platform's own place."""
    if given is not None:
        return given
    if os.environ.get("RMM_CONFIG"):
        return Path(os.environ["RMM_CONFIG"])
    here = Path("config")
    own = (here / SETTINGS).is_file() and (here / ENDPOINTS).is_file()
    if (own or (here / BUNDLES / ACTIVE).is_file()) and not (here.parent / "pyproject.toml").is_file():
        return here
    if os.name == "nt":
        return Path(os.environ.get("PROGRAMDATA", r"C:\ProgramData")) / "rmm"
    home = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path("/etc/rmm") if is_configured(Path("/etc/rmm")) else Path(home) / "rmm"
