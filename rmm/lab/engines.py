"""The lab's engines by name: `samples` and `pwsh`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from rmm.catalog.jea import profile
from rmm.catalog.load import load_catalog
from rmm.lab.machine import Engine
from rmm.lab.wire.shells import ShellHost
from rmm.resources import shipped

ENGINES = ("samples", "pwsh")


def usual_count(engine: str) -> int:
    """How many endpoints a lab has if nobody says so: with real PowerShell few can be polled at once."""
    return 8 if engine == "pwsh" else 50


def engine_of(
    name: str,
    *,
    shells: int = 16,
    spare: int = 2,
    collectors: Sequence[Path] = (),
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Engine | ShellHost:
    """The engine, for the shipped collectors and those of `collectors`, folders of folders.

    Raises ConfigError when there is no PowerShell for it.
    """
    catalog = load_catalog([shipped("collectors"), *collectors])
    if name == "samples":
        from rmm.lab.engine_samples import SamplesEngine

        return SamplesEngine(catalog)
    from rmm.lab.engine_pwsh import PwshEngine, find_powershell
    from rmm.lab.windows.of_machine import state_of_machine

    return PwshEngine(
        find_powershell(),
        state_of_machine,
        restricted=profile(catalog.values())["Rmm/Rmm.psm1"],
        spare=spare,
        most=shells,
        clock=clock,
    )
