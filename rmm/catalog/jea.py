"""The JEA profile of a set of collectors: a module with one visible function, its role, a session configuration.

What a contributor's `collect.ps1` is for a bundle, it is for the profile: the same text, run by the same runner. The
files are plain ASCII, because Windows PowerShell 5.1 reads others by the machine's code page.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path

from rmm.catalog.bundle import COMMAND
from rmm.catalog.functions import functions_of
from rmm.catalog.wire import wire_form
from rmm.durable import replace_file
from rmm.errors import CatalogError
from rmm.model.collector import Collector

MODULE = "Rmm"
CONFIGURATION = "RmmJea"
GROUP = "BUILTIN\\Remote Management Users"
_SPACE = uuid.UUID("6f0c2a53-6f4c-4d57-9a51-5f1f1f5a6c11")  # of the three GUIDs: the same files for the same content

# A session of SessionType RestrictedRemoteServer puts restricted functions in the place of these commands.
_REPLACED = ("Measure-Object", "Select-Object")


def profile(collectors: Iterable[Collector], *, group: str = GROUP) -> dict[str, str]:
    """Relative path -> text of every file.

    Args:
        collectors: those with a script for Windows are taken.
        group: whose members may open a session, as the endpoint knows it.
    """
    chosen = [collector for collector in collectors if collector.windows]
    return {
        f"{MODULE}/{MODULE}.psd1": _filled("manifest.psd1"),
        f"{MODULE}/{MODULE}.psm1": _module(chosen),
        f"{MODULE}/RoleCapabilities/{MODULE}.psrc": _filled("role.psrc"),
        f"{MODULE}.pssc": _filled("session.pssc", group=_quoted(group)),
    }


def write_profile(folder: Path, texts: dict[str, str]) -> list[Path]:
    """Write the files, with the line ends of Windows; returns their paths."""
    written = []
    for name, text in texts.items():
        try:
            data = text.replace("\n", "\r\n").encode("ascii")
        except UnicodeEncodeError as error:
            raise CatalogError(f"{name}: {error.object[error.start : error.end]!r} is not ASCII") from error
        replace_file(folder / name, data)
        written.append(folder / name)
    return written


def _module(collectors: list[Collector]) -> str:
    scripts = "\n".join(f"{collector.name} = {{\n{wire_form(collector.windows)}\n}}" for collector in collectors)
    aliases = "\n".join(f"Set-Alias -Name {name} -Value Microsoft.PowerShell.Utility\\{name}" for name in _REPLACED)
    prologue = (files("rmm.catalog") / "prologue.ps1").read_text(encoding="utf-8")
    shared = "\n".join([wire_form(prologue), *functions_of(scripts)])
    return _filled("module.psm1", prologue=shared, aliases=aliases, scripts=scripts)


def _filled(name: str, **values: str) -> str:
    """A file of rmm/catalog/jea with its {{places}} filled in."""
    text = (files("rmm.catalog") / "jea_files" / name).read_text(encoding="ascii")
    guid = str(uuid.uuid5(_SPACE, name))
    for key, value in {"guid": guid, "command": COMMAND, "module": MODULE, **values}.items():
        text = text.replace("{{" + key + "}}", value)
    return text


def _quoted(text: str) -> str:
    """As a literal of PowerShell, for which typographic quotes are quotes too."""
    for quote in "'\u2018\u2019\u201a\u201b":
        text = text.replace(quote, quote * 2)
    return f"'{text}'"
