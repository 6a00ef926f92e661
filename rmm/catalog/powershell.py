"""Where PowerShell is on this machine, and running one of our own scripts in it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from rmm.errors import CatalogError

VARIABLE = "RMM_PWSH"


def find_powershell() -> str:
    """The program: what RMM_PWSH names, or `pwsh` on PATH; empty where there is none.

    Raises:
        CatalogError: RMM_PWSH names no program.
    """
    named = os.environ.get(VARIABLE, "")
    if named and shutil.which(named) is None:
        raise CatalogError(f"{VARIABLE}={named}: there is no such program", hint="Name a pwsh, or unset it.")
    return named or shutil.which("pwsh") or ""


def run_script(program: str, script: Path, lines: Iterable[str], *, timeout_s: float = 120.0) -> list[str]:
    """What a script writes when it is given these lines. Raises CatalogError when it fails or takes too long."""
    command = [program, "-NoProfile", "-NonInteractive", "-File", str(script)]
    given = "".join(f"{line}\n" for line in lines)
    try:
        done = subprocess.run(  # noqa: S603 - the administrator's own program with our own script
            command, input=given, capture_output=True, text=True, encoding="utf-8", timeout=timeout_s, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CatalogError(f"{program}: {error}", hint=f"Is {VARIABLE} right?") from error
    if done.returncode:
        raise CatalogError(f"{program} failed on {script.name}: {(done.stderr or done.stdout)[-500:]}")
    return done.stdout.splitlines()
