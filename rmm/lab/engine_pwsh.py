"""The engine `pwsh`: real PowerShell executes whatever arrives, on machines whose Windows is stood in for.

One process for each shell, from a pool; the commands of Windows are those of the module RmmLab.Windows.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rmm.catalog import powershell
from rmm.errors import ConfigError
from rmm.lab.machine import Machine
from rmm.lab.pwsh.command import PowerShellCommands, encoded
from rmm.lab.pwsh.pool import FullError, Pool
from rmm.lab.pwsh.preparation import Machine as Prepared
from rmm.lab.pwsh.process import LostError, kill, reap, spawn
from rmm.lab.pwsh.runspace import RunspaceShell
from rmm.lab.simulated import LabMachine
from rmm.lab.wire.shells import Shell
from rmm.lab.wire.soap import WsmanFault

MODULES = Path(__file__).resolve().parent / "windows" / "modules"
SPARE, MOST = 2, 16
CHECK_S = 30.0
State = Callable[[LabMachine, datetime], Mapping[str, Any]]


def find_powershell() -> str:
    """The program: `RMM_PWSH`, then `pwsh` on PATH. Raises CatalogError and ConfigError."""
    found = powershell.find_powershell()
    if not found:
        raise ConfigError(
            "no PowerShell: pwsh is not on the PATH",
            hint="Install PowerShell 7, or name its program pwsh in RMM_PWSH.",
        )
    return found


def environment(path: Path) -> dict[str, str]:
    """What PowerShell's processes get of ours: nothing that could change what scripts do, and our modules first."""
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "TMPDIR", "SYSTEMROOT")}
    return kept | {
        "PSModulePath": str(path), "LANG": "en_US.UTF-8", "TZ": "UTC", "DOTNET_CLI_TELEMETRY_OPTOUT": "1",
        "POWERSHELL_TELEMETRY_OPTOUT": "1", "POWERSHELL_UPDATECHECK": "Off",
    }  # fmt: skip


class PwshEngine:
    """Makes shells; implements `rmm.lab.wire.shells.ShellHost`.

    Args:
        program: PowerShell 7.
        state: the state of a machine at a time, as the stand-ins read it.
        spare: processes that are started ahead.
        most: shells at most, over all machines.
        modules: the folder in which PowerShell finds the stand-ins.
        restricted: text of the module whose commands a session without a language has.
        clock: the time of the machines.
    """

    def __init__(
        self, program: str, state: State, *, spare: int = SPARE, most: int = MOST, modules: Path = MODULES,
        restricted: str = "",
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:  # fmt: skip
        self._state = state
        self._clock = clock
        self.folder = Path(tempfile.mkdtemp(prefix="rmm-lab-"))
        self.pool = Pool(program, environment(modules), self.folder, spare=spare, most=most)
        self._restricted = self.folder / "Rmm.psm1"
        self._restricted.write_text(restricted, encoding="utf-8")
        self._lives: dict[asyncio.Future[None], Shell] = {}

    async def start(self) -> None:
        """See whether PowerShell works, and start those that wait. Raises ConfigError."""
        program, folder = self.pool.program, self.pool.new_folder()
        words = ["-NoProfile", "-NonInteractive", "-EncodedCommand", encoded("$PSVersionTable.PSVersion.Major")]
        said = b""
        try:
            child = await spawn([program, *words], self.pool.environment, folder)
            try:
                async with asyncio.timeout(CHECK_S):
                    said, _ = await child.communicate()
            finally:
                kill(child)
                await reap(child, folder)
        except (LostError, TimeoutError) as error:
            raise ConfigError(
                f"{program}: {str(error) or 'it does not answer'}", hint="Does it run by itself?"
            ) from error
        if not said.strip().isdigit() or int(said) < 7:
            raise ConfigError(f"{program}: no PowerShell 7", hint="It was asked for its version and did not say 7.")
        self.pool.fill()

    def runspace(
        self, machine: Machine, identity: str, idle_s: float, *, opening: bytes, began: Callable[[], None], faults: Any,
        language: str,
    ) -> Shell:  # fmt: skip
        """A PowerShell session. Raises WsmanFault."""
        try:
            shell = RunspaceShell(
                machine, identity, idle_s, opening=opening, pool=self.pool, began=began, faults=faults,
                language=language,
                become=lambda process: self._become(machine, process.state_file, language),
            )  # fmt: skip
        except FullError as error:
            raise self._full() from error
        self._keep(shell.life, shell)
        return shell

    def command_shell(
        self, machine: Machine, identity: str, idle_s: float, *, codepage: int, began: Callable[[], None], faults: Any
    ) -> Shell:
        """A command shell, in which `powershell` is PowerShell."""
        return PowerShellCommands(
            machine, identity, idle_s, codepage=codepage, pool=self.pool, began=began, full=self._full,
            keep=self._keep, faults=faults, become=lambda file: self._become(machine, file),
        )  # fmt: skip

    def _keep(self, life: asyncio.Future[None], shell: Shell) -> None:
        self._lives[life] = shell
        life.add_done_callback(self._lives.pop)

    def _become(self, machine: Machine, file: Path, language: str = "full") -> Prepared:
        """Write the machine's state where a process looks for it."""
        if not isinstance(machine, LabMachine):
            raise TypeError("the engine pwsh needs machines of a LabFleet")
        state = self._state(machine, self._clock())
        file.write_text(json.dumps(state, ensure_ascii=False), encoding="utf-8")
        only = str(self._restricted) if language == "none" else ""
        return Prepared(machine.name, machine.language.mui, machine.zone.key, only)

    def _full(self) -> WsmanFault:
        return WsmanFault(
            2150859173,
            "w:QuotaLimit",
            f"This lab is allowed a maximum number of {self.pool.most} concurrent shells, which has been exceeded.",
        )

    def shells(self) -> list[Shell]:
        """Those behind which something runs."""
        return list(self._lives.values())

    async def aclose(self) -> None:
        """End all processes, and remove what was written."""
        for shell in list(self._lives.values()):
            shell.end()
        await asyncio.gather(*self._lives, return_exceptions=True)
        await self.pool.aclose()
        shutil.rmtree(self.folder, ignore_errors=True)
