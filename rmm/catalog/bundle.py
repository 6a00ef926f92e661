"""Bundles: the runner and the due collectors' scripts as one static text, so that one pipeline serves them all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from importlib.resources import files

from rmm.catalog.functions import functions_of
from rmm.catalog.wire import wire_form
from rmm.errors import CatalogError
from rmm.model.collector import Collector
from rmm.ports import Script

COMMAND = "Get-RmmData"
ARGUMENTS = "RmmArguments"  # the bundle's one argument: collector -> its arguments, name -> value
_TAKING = f"param([hashtable]${ARGUMENTS})\nif ($null -eq ${ARGUMENTS}) {{ ${ARGUMENTS} = @{{}} }}"
BEGIN, END = "#rmm:begin ", "#rmm:end "  # lines around each script, by which a bundle can be taken apart again


def powershell_bundle(collectors: Sequence[Collector]) -> Script:
    """One script for Windows PowerShell that runs `collectors` in order and writes one part for each."""
    bodies = [
        f"Invoke-RmmCollector '{c.name}' {{\n{_marked(c.name, c.windows)}\n}}"
        + (f" ${ARGUMENTS}['{c.name}']" if c.takes_arguments else "")
        for c in collectors
    ]
    head = [_TAKING] if any(c.takes_arguments for c in collectors) else []
    shared = functions_of("\n".join(bodies))
    return Script("\n".join([*head, _prologue("prologue.ps1"), *shared, *bodies, ""]), steps=_steps(collectors))


def shell_bundle(collectors: Sequence[Collector]) -> Script:
    """The same for POSIX shells."""
    bodies = [f"rmm_{c.name}() (\n{_marked(c.name, c.linux)}\n)\nrmm_part {c.name}" for c in collectors]
    return Script("\n".join([_prologue("prologue.sh"), *bodies, ""]), language="sh", steps=_steps(collectors))


def command_bundle(collectors: Sequence[Collector]) -> Script:
    """The one command of the JEA profile, which runs what `rmm collector jea` put there: see docs/jea.md."""
    names = [collector.name for collector in collectors]
    return Script(COMMAND, (("Collector", names),), language="command", steps=_steps(collectors))


def rights_script() -> Script:
    """The script that tries what an account may read; it takes the places as its argument `Places`."""
    return Script((files("rmm.catalog") / "rights.ps1").read_text(encoding="utf-8"))


def bundler(catalog: Mapping[str, Collector]) -> Callable[[tuple[str, ...], str], Script]:
    """`(names, language) -> Script`, which makes each bundle of this catalogue once."""

    @lru_cache(maxsize=256)
    def bundle(names: tuple[str, ...], language: str) -> Script:
        make = {"sh": shell_bundle, "command": command_bundle}.get(language, powershell_bundle)
        return make([catalog[name] for name in names])

    return bundle


def _steps(collectors: Sequence[Collector]) -> tuple[float, ...]:
    return tuple(float(collector.manifest.timeout) for collector in collectors)


def _marked(name: str, text: str) -> str:
    if not text:
        raise CatalogError(f"collector {name} has no script for this kind of endpoint")
    return f"{BEGIN}{name}\n{wire_form(text)}\n{END}{name}"


@lru_cache(maxsize=2)
def _prologue(name: str) -> str:
    return wire_form((files("rmm.catalog") / name).read_text(encoding="utf-8"))
