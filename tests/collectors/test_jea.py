"""The JEA profile: its files are what is checked in, and Microsoft's engine takes them and confines what calls them.

Not tried here, because it takes Windows: `Register-PSSessionConfiguration`, the virtual account, and the functions that
a session of type RestrictedRemoteServer puts in the place of some commands; the last are played by a stand-in.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from rmm.catalog.bundle import command_bundle
from rmm.catalog.jea import profile, write_profile
from rmm.core.parts import read_part
from rmm.errors import CatalogError
from rmm.model.collector import Collector, Field, Manifest
from rmm.resources import shipped

Run = Callable[[str], list[str]]


def made(name: str, script: str) -> Collector:
    manifest = Manifest(
        name=name, title=name, schema=1, interval=60, timeout=5, cost="C1", owner="t", fields={"f": Field(type="int")}
    )
    return Collector(manifest=manifest, folder="", windows=script)


def test_what_is_checked_in_is_what_is_made(catalog: dict[str, Collector]) -> None:
    for name, text in profile(catalog.values()).items():
        found = (shipped("config") / "jea" / name).read_text(encoding="ascii")
        assert found.replace("\r\n", "\n") == text, f"{name}: run `make jea`"


def test_only_commands_of_windows_powershell_5_1_are_used() -> None:
    from rmm.catalog.check import facts

    for name in ("set-alias", "export-modulemember", "convertto-json"):
        assert name in facts.commands()


def test_a_group_is_a_literal_whatever_it_is_called() -> None:
    texts = profile([], group="CORP\\it's \u2019); Remove-Item C:\\ #")
    assert "'CORP\\it''s \u2019\u2019); Remove-Item C:\\ #' = @{" in texts["Rmm.pssc"]


def test_what_windows_powershell_would_misread_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="not ASCII"):
        write_profile(tmp_path, profile([made("x", "'\u00e4'")]))


def test_the_command_names_its_collectors_as_a_typed_argument() -> None:
    script = command_bundle([made("cpu", "x"), made("os", "x")])
    assert (script.language, script.text) == ("command", "Get-RmmData")
    assert script.arguments == (("Collector", ["cpu", "os"]),)
    assert script.steps == (5.0, 5.0)


COLLECTORS = [
    made("good", "ConvertTo-Json -InputObject @{ a = @(@{ b = 1 } | Select-Object -Property b) } -Compress -Depth 4"),
    made("thrower", "throw 'boom'"),
    made(
        "absent",
        "try { Get-Nothing } catch { ConvertTo-Json @{ notes = @(@{ a = Get-Reason $_ }) } -Compress -Depth 4 }",
    ),
    made("full", "@{ a = @(@{ b = [System.Math]::Abs(-2) }) } | ConvertTo-Json -Compress -Depth 4"),
]

# As Windows opens it, but for three things that this platform lacks: the type of the session, whose restricted
# functions stand in below, the execution policy, and the virtual account, which the engine leaves to WinRM.
OPEN = """
$env:PSModulePath = '{folder}' + [System.IO.Path]::PathSeparator + $env:PSModulePath
$env:COMPUTERNAME = 'SRV1'
$roles = @()
$verify = [Func[string, bool]]{{ param($role) $script:roles += $role; $true }}
$state = [initialsessionstate]::CreateFromSessionConfigurationFile('{file}', $verify)
foreach ($name in 'Select-Object', 'Measure-Object') {{
  $kind = [System.Management.Automation.Runspaces.SessionStateFunctionEntry]
  $state.Commands.Add($kind::new($name, "throw 'restricted'"))
}}
"$($state.LanguageMode) $($roles -join ',')"
$runspace = [runspacefactory]::CreateRunspace($state)
$runspace.Open()
function Ask([scriptblock]$Build) {{
  $shell = [powershell]::Create(); $shell.Runspace = $runspace; $null = & $Build $shell
  try {{ $shell.Invoke() }} catch {{ $_.Exception.InnerException.ErrorRecord.FullyQualifiedErrorId }}
}}
"""


def test_the_engine_confines_a_session_to_the_one_command(pwsh: Run, tmp_path: Path) -> None:
    texts = profile(COLLECTORS, group="CORP\\pollers")
    session = texts["Rmm.pssc"].replace("'RestrictedRemoteServer'", "'Default'")
    lines = [line for line in session.splitlines() if "ExecutionPolicy =" not in line]
    write_profile(tmp_path, texts | {"Rmm.pssc": "\n".join(lines)})
    script = OPEN.format(folder=tmp_path, file=tmp_path / "Rmm.pssc") + (
        "$all = 'good', 'thrower', 'absent', 'full', 'other'\n"
        "Ask { param($s) $s.AddCommand('Get-RmmData').AddParameter('Collector', $all) }\n"
        "foreach ($text in '1', 'Get-RmmData -Collector good', '$env:PATH', 'Get-RmmData -Collector (Get-Process)') {\n"
        "  Ask { param($s) $s.AddScript($text) } }\n"
        "$hidden = 'Get-Process', 'Invoke-Expression', 'Set-Alias', 'Invoke-RmmCollector', 'Get-Reason', 'bash'\n"
        "foreach ($name in $hidden) {\n"
        "  Ask { param($s) $s.AddCommand($name) } }\n"
        "foreach ($bad in 'a;b', '$(1)', '', ('x' * 65)) {\n"
        "  Ask { param($s) $s.AddCommand('Get-RmmData').AddParameter('Collector', $bad) } }\n"
        "Ask { param($s) $s.AddCommand('Get-RmmData').AddParameter('Script', '1') }\n"
    )
    head, *rest = pwsh(script)
    assert head == "NoLanguage CORP\\pollers"
    parts = [read_part(line) for line in rest[:5]]
    assert [(part.collector, part.host) for part in parts] == [
        (name, "SRV1") for name in ("good", "thrower", "absent", "full", "other")
    ]
    assert parts[0].document == {"a": [{"b": 1}]}  # the module's Select-Object is Windows' own
    assert [part.error.id for part in parts if part.error] == ["boom", "RmmNoCollector"]
    assert parts[2].document == {"notes": [{"a": "unsupported"}]}  # functions for scripts are there
    assert parts[3].document == {"a": [{"b": 2}]}  # the module itself is not confined
    assert rest[5:9] == ["ScriptsNotAllowed"] * 4
    assert rest[9:15] == ["CommandNotFoundException"] * 6
    assert [line.split(",")[0] for line in rest[15:19]] == ["ParameterArgumentValidationError"] * 4
    assert rest[19].startswith("NamedParameterNotFound")


def test_the_engine_reads_every_file(pwsh: Run) -> None:
    folder = shipped("config") / "jea"
    lines = pwsh(
        f"(Import-PowerShellDataFile '{folder}/Rmm.pssc').LanguageMode\n"
        f"(Import-PowerShellDataFile '{folder}/Rmm/RoleCapabilities/Rmm.psrc').VisibleFunctions\n"
        f"(Test-ModuleManifest '{folder}/Rmm/Rmm.psd1').ExportedFunctions.Keys\n"
    )
    assert lines == ["NoLanguage", "Get-RmmData", "Get-RmmData"]
