"""A session becomes a simulated machine: between its opening and the first pipeline runs one of the lab's own.

The commands of the stand-ins would load themselves when they are first used, but those that PowerShell has on every
system (Get-ItemProperty, Get-ChildItem) would not: the module must be imported before.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

from psrpcore import ClientPowerShell, ClientRunspacePool, ServerRunspacePool

from rmm.core.outofprocess import SESSION, Event
from rmm.lab.pwsh import messages
from rmm.lab.pwsh.messages import Fragment, Watch
from rmm.lab.pwsh.process import LostError, Process

MODULE = "RmmLab.Windows"
_PLACE = uuid.UUID("abababab-abab-abab-abab-abababababab")
_OWN = uuid.UUID("cdcdcdcd-cdcd-cdcd-cdcd-cdcdcdcdcdcd")
_SHOWN = 8192  # bytes of what our script says that are kept
_OBJECT = 1 << 40  # id of our PSRP object, far from the client's

SCRIPT = f"""
param($Computer, $Culture, $Zone, $Only)
$ErrorActionPreference = 'Stop'
$env:COMPUTERNAME = $Computer
if ($Culture) {{
    [System.Globalization.CultureInfo]::DefaultThreadCurrentCulture = $Culture
    [System.Globalization.CultureInfo]::DefaultThreadCurrentUICulture = $Culture
}}
$name = ''
if ([TimeZoneInfo]::TryConvertWindowsIdToIanaId($Zone, [ref]$name)) {{
    $env:TZ = $name
    [TimeZoneInfo]::ClearCachedData()
}}
Import-Module {MODULE} -Global -DisableNameChecking
if ($Only) {{
    Import-Module Microsoft.PowerShell.Management, Microsoft.PowerShell.Security, Microsoft.PowerShell.Utility -Global
    $visible = (Import-Module $Only -Global -DisableNameChecking -PassThru).ExportedCommands.Keys
    foreach ($command in Get-Command -CommandType Alias, Cmdlet, Filter, Function) {{
        if ($command.Name -notin $visible) {{ $command.Visibility = 'Private' }}
    }}
    $ExecutionContext.SessionState.Applications.Clear()
    $ExecutionContext.SessionState.Scripts.Clear()
    $ExecutionContext.SessionState.LanguageMode = 'NoLanguage'
}}
"""


class Machine(NamedTuple):
    """What a process becomes: name, culture (`de-DE`), time zone as Windows calls it.

    `only` is a module's path: the session has no language, and of all commands those of this module are visible.
    """

    name: str
    culture: str
    zone: str
    only: str = ""


REFRESH = "Import-RmmLabState -Path $env:RMM_LAB_STATE"


def pipeline(pool: bytes, ours: uuid.UUID, script: str, **arguments: str) -> bytes:
    """The CREATE_PIPELINE of a script of the lab's own, as the fragment that a client would send."""
    data = _pipeline(script, tuple(arguments.items()))
    return data.replace(_PLACE.bytes_le, pool).replace(_OWN.bytes_le, ours.bytes_le)


@lru_cache(maxsize=64)
def _pipeline(script: str, arguments: tuple[tuple[str, str], ...]) -> bytes:
    """The same with placeholders for the ids."""
    pool = ClientRunspacePool(runspace_pool_id=_PLACE)
    pool.open()
    server: Any = ServerRunspacePool()
    server.receive_data(pool.data_to_send())
    while server.next_event() is not None:
        pass
    while (answer := server.data_to_send()) is not None:
        pool.receive_data(answer)
        while pool.next_event() is not None:
            pass
    shell = ClientPowerShell(pool, pipeline_id=_OWN)
    shell.add_script(script, use_local_scope=True)
    for name, value in arguments:
        shell.add_parameter(name, value)
    shell.start()
    payload: Any = pool.data_to_send()
    return _OBJECT.to_bytes(8, "big") + bytes(payload.data)[8:]


async def open_session(process: Process, creation: bytes, machine: Machine, say: Callable[[Fragment], None]) -> None:
    """Open a client's pool and prepare it; `say` is given what the pool says. Opened is said last, when all is ready.

    Raises:
        LostError: the process is gone, or the stand-ins cannot be loaded.
        ValueError: `creation` is not what opens a pool.
    """
    pool = messages.pool_of(creation)
    process.exchange.data(SESSION, creation)
    process.flush()
    watch = Watch()
    held: list[Fragment] = []
    while not held:
        for event in await process.events():
            for fragment in watch.feed(event.data) if event.kind == "data" else ():
                opened = fragment.ends == messages.POOL_STATE and fragment.state == messages.OPENED
                if opened or held:
                    held.append(fragment)
                else:
                    say(fragment)
                    if fragment.state in (messages.CLOSED, messages.BROKEN):
                        raise LostError("the runspace pool did not open")
    await _prepare(process, pool, machine, held, watch)
    for fragment in held:
        say(fragment)


async def _prepare(process: Process, pool: bytes, machine: Machine, held: list[Fragment], own: Watch) -> None:
    ours = uuid.uuid4()
    names = {"Computer": machine.name, "Culture": machine.culture, "Zone": machine.zone, "Only": machine.only}
    data = pipeline(pool, ours, SCRIPT, **names)
    process.exchange.command(ours)
    process.exchange.data(ours, data)
    process.flush()
    watch, said, closed = Watch(), b"", False
    while not closed:
        for event in await process.events():
            closed = closed or event == Event("close_ack", ours)
            if event.kind == "data" and event.guid == SESSION:
                held += own.feed(event.data)
            for fragment in watch.feed(event.data) if event.kind == "data" and event.guid == ours else ():
                said = (said + fragment.data)[-_SHOWN:]
                if fragment.ends == messages.PIPELINE_STATE and fragment.state in messages.FINAL:
                    _check(fragment.state, said)
                    process.exchange.close(ours)
                    process.flush()


def _check(state: int, said: bytes) -> None:
    if state != messages.FINAL[1]:
        text = " ".join(said.decode("utf-8", "replace").split())
        raise LostError(f"the stand-ins could not be loaded: {text}")
