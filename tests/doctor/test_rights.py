"""What an account may read: verdicts from numbers, the probe against the lab, and the command's table."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from climbing import climbed

from rmm.app import App
from rmm.catalog.bundle import rights_script
from rmm.core import rights
from rmm.core.rights import Place, Seen, Survey
from rmm.errors import UnsupportedError
from rmm.model.endpoint import Endpoint
from rmm.poller.rights import survey
from rmm.ports import Script, ScriptResult

SERVICE = Place("wmi", "root/cimv2", "Win32_Service")
PERF = Place("wmi", "root/cimv2", "Win32_PerfRawData_PerfOS_System")
KEY = Place("registry", "HKLM\\SOFTWARE\\X")


@pytest.mark.parametrize(
    ("place", "seen", "word"),
    [
        (SERVICE, None, "not tried"),
        (SERVICE, Seen(), "readable"),
        (SERVICE, Seen(instances=0), "readable"),
        (PERF, Seen(instances=0), "empty"),
        (SERVICE, Seen("HRESULT 0x80041003,Get", "PermissionDenied", -2147217405), "denied"),
        (SERVICE, Seen("", "", 0x80070005), "denied"),
        (SERVICE, Seen("HRESULT 0x80041010,Get", "MetadataError", -2147217392), "absent"),
        (SERVICE, Seen("HRESULT 0x8004100e,Get", "ObjectNotFound", -2147217394), "absent"),
        (SERVICE, Seen("wmi.class"), "absent"),
        (SERVICE, Seen("access.denied", "PermissionDenied"), "denied"),
        (SERVICE, Seen("HRESULT 0x800706ba,Get", "ConnectionError", -2147023174), "not tried"),
        (SERVICE, Seen("CommandNotFoundException", "ObjectNotFound", 0, tried=False), "not tried"),
        (KEY, Seen("PathNotFound,Microsoft.PowerShell.Commands.GetItemCommand", "ObjectNotFound"), "absent"),
        (KEY, Seen("System.Security.SecurityException,GetItemCommand", "PermissionDenied"), "denied"),
    ],
)  # fmt: skip
def test_what_a_try_says(place: Place, seen: Seen | None, word: str) -> None:
    assert rights.verdict(place, seen) == word


class Over:
    """A transport, and its session, of which only the language and what a script gives matter."""

    def __init__(self, language: str) -> None:
        self.language = language

    @contextlib.asynccontextmanager
    async def session(self, target: Any, *, deadline: float) -> AsyncIterator[Over]:
        yield self

    async def run(self, script: Script, *, deadline: float, max_bytes: int) -> ScriptResult:
        return ScriptResult(output=(), state="failed")


@pytest.mark.parametrize(
    ("language", "why"), [("sh", "is read by a POSIX shell"), ("powershell", "runs no script, and over ssh is no WQL")]
)
async def test_rights_over_ssh_are_said_to_be_unsupported_and_why(language: str, why: str) -> None:
    target = SimpleNamespace(transport="ssh")
    kit: Any = SimpleNamespace(
        target=lambda _: target, collectors={}, rights=Script(""), transport=lambda _: Over(language)
    )
    with pytest.raises(UnsupportedError) as caught:
        await survey(kit, Endpoint(id="a", name="A", site="hq"), 1.0)
    assert (caught.value.code, why in str(caught.value)) == ("unsupported.rights", True)


def test_the_places_of_the_shipped_collectors(engine: Any) -> None:
    found = rights.places(engine._catalog.values())
    assert SERVICE in found
    assert Place("registry", "HKLM\\SYSTEM\\CurrentControlSet\\Services") in found  # up to the wildcard
    assert Place("registry", "HKU") in found
    assert Place("registry", "HKU").line == "registry|HKEY_USERS|"
    computer = found[Place("wmi", "root/cimv2", "Win32_ComputerSystem")]
    assert {"hardware.computer", "os.computer", "system.computer"} <= {
        f"{one.name}.{source}" for one, source in computer
    }


def test_counters_of_a_role_that_are_empty_are_not_a_matter_of_rights(engine: Any) -> None:
    needed = rights.places(engine._catalog.values())
    seen = {place: Seen(instances=0) for place in needed}
    words = {row.source: row.verdict for row in rights.survey(needed, seen, "script").rows}
    assert words["root/cimv2:Win32_PerfRawData_HvStats_HyperVHypervisorLogicalProcessor"] == "absent"
    assert words["root/cimv2:Win32_PerfRawData_PerfOS_System"] == "empty"


async def surveyed(app: App) -> Survey:
    async with app.kit("0123456789abcdef") as kit:
        return await survey(kit, app.settings.endpoints[0], asyncio.get_running_loop().time() + 20)


PLAN = {
    "kind": "rights", "classes": ["Win32_Service", "Win32_BIOS"], "empty": ["Win32_PerfRawData_PerfOS_System"],
    "keys": ["HKLM\\SOFTWARE\\Microsoft\\Windows NT"],
}  # fmt: skip


@pytest.mark.parametrize("transport", ["winrm", "pypsrp", "wql"])
async def test_what_the_account_lacks(transport: str, lab_in: Callable[..., Any]) -> None:
    async with lab_in([PLAN], site={"transport": transport}) as app:
        found = await surveyed(app)
    by_source = {row.source: row for row in found.rows}
    service = by_source["root/cimv2:Win32_Service"]
    assert service.verdict == "denied"
    assert "services.service" in service.needed_by
    assert "services.*" in service.missing
    assert "service manager" in service.grant
    bios = by_source["root/cimv2:Win32_BIOS"]
    assert bios.verdict == "denied"
    assert "hardware.serial" in bios.missing
    assert "Remote Enable on root/cimv2" in bios.grant
    assert by_source["root/cimv2:Win32_Volume"].verdict == "readable"
    version = by_source["HKLM\\SOFTWARE\\Microsoft\\Windows NT\\CurrentVersion"]
    if transport == "wql":
        assert found.way == "wql"
        assert version.verdict == "not tried"  # the registry takes a script
    else:
        assert found.way == "script"
        assert version.verdict == "denied"
        assert {"os.ubr", "os.edition"} <= set(version.missing)
        assert "Read on the key" in version.grant
        perf = by_source["root/cimv2:Win32_PerfRawData_PerfOS_System"]
        assert (perf.verdict, perf.grant) == ("empty", "group Performance Monitor Users")
        pending = by_source[
            "HKLM\\SOFTWARE\\Microsoft\\Windows\\CurrentVersion\\Component Based Servicing\\RebootPending"
        ]
        assert pending.verdict in ("readable", "absent")
        assert pending.missing == ()


async def test_the_rung_sums_it_up_and_the_collector_says_the_same(lab_in: Callable[..., Any]) -> None:
    async with lab_in([PLAN]) as app:
        steps = await climbed(app)
    assert (steps["rights"].verdict, steps["rights"].code) == ("warning", "access.denied")
    assert "Win32_Service" in steps["rights"].fix
    assert steps["services"].verdict == "failed"
    assert steps["volumes"].verdict == "ok"


async def test_the_command(lab_in: Callable[..., Any]) -> None:
    async with lab_in([PLAN]) as app:
        name = app.settings.endpoints[0].id

        async def rmm(*words: str) -> tuple[int, str]:
            command = [
                sys.executable,
                "-m",
                "rmm",
                "doctor",
                name,
                "--rights",
                "--config",
                str(app.data.parent),
                *words,
            ]
            done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=60)
            return done.returncode, done.stdout

        code, table = await rmm()
        assert code == 3
        assert "lab\\rmm on " in table
        assert "3 of " not in table.splitlines()[0]
        line = next(line for line in table.splitlines() if "Win32_BIOS" in line)
        assert line.startswith("denied")
        assert "HRESULT 0x80041003" in line
        code, text = await rmm("--output", "json")
        rows = json.loads(text)
        assert {row["verdict"] for row in rows} >= {"readable", "denied", "empty"}
        code, text = await rmm("--output", "csv")
        assert text.splitlines()[0] == "verdict,kind,source,needed_by,missing,grant,error"


PWSH = os.environ.get("RMM_PWSH") or shutil.which("pwsh") or ""


@pytest.mark.skipif(not PWSH, reason="no PowerShell here (RMM_PWSH)")
def test_the_probe_script_runs_in_powershell(tmp_path: Path) -> None:
    """On Linux neither WMI nor a registry is there: each place gets its line with an identifier all the same."""
    script = tmp_path / "probe.ps1"
    script.write_text(rights_script().text, encoding="utf-8")
    text = f"& '{script}' -Places \"{SERVICE.line}`n{KEY.line}\""
    done = subprocess.run(
        [PWSH, "-NoProfile", "-NonInteractive", "-Command", text], capture_output=True, text=True, timeout=60
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["place"] for line in lines] == [SERVICE.line, KEY.line]
    assert lines[0]["id"].startswith("CommandNotFoundException")
    assert lines[1]["id"]
    assert all(line["instances"] == 0 for line in lines)
