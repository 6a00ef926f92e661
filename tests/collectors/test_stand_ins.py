"""The stand-ins for Windows' commands give what Windows gives and refuse what it refuses, with its own identifiers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rmm.catalog.check import facts
from tests.collectors.executor import CULTURES, Executor, Job, Result

STATE: dict[str, Any] = {
    "format": 1,
    "computer": "SRV01",
    "build": 20348,
    "now": "2026-11-20T10:00:00Z",
    "classes": {"root/SecurityCenter2": {"AntiVirusProduct": {"displayName": "string", "productState": "uint32"}}},
    "cim": {
        "root/cimv2": {
            "Win32_Service": [
                {
                    "Name": "Spooler",
                    "State": "Running",
                    "ProcessId": 4_294_967_295,
                    "InstallDate": "2026-11-20T10:00:00Z",
                },
                {"Name": "BITS", "State": "Stopped", "ProcessId": 0},
            ],
            "Win32_OperatingSystem": [
                {"TotalVisibleMemorySize": 18_446_744_073_709_551_615, "MUILanguages": ["de-DE"]}
            ],
            "Win32_GroupUser": [
                {
                    "GroupComponent": 'Win32_Group.Domain="SRV01",Name="Administrators"',
                    "PartComponent": '\\\\SRV01\\root\\cimv2:Win32_UserAccount.Domain="SRV01",Name="a"',
                },
            ],
        },
    },
    "absent": ["root/cimv2:Win32_ServerFeature", "root/Microsoft/Windows/Defender"],
    "denied": ["root/cimv2/security/microsofttpm:Win32_Tpm", "HKLM\\SECURITY", "log:Security", "C:\\secret.txt"],
    "registry": {
        "HKLM\\SOFTWARE\\V\\P": {
            "Text": "a",
            "Big": 4_294_967_295,
            "Many": ["a", "b"],
            "": "d",
            "Raw": {"kind": "binary", "value": "AAEC"},
            "Q": {"kind": "qword", "value": 5},
        },
        "HKLM\\SOFTWARE\\V\\Empty": {},
        "HKLM\\SECURITY\\X": {},
    },
    "events": {
        "System": [
            {
                "record": 11,
                "id": 41,
                "provider": "Microsoft-Windows-Kernel-Power",
                "level": 1,
                "time": "2026-11-20T09:00:00Z",
                "data": {"BugcheckCode": "7"},
                "message": "text",
            },
            {
                "record": 12,
                "id": 6008,
                "provider": "EventLog",
                "level": 2,
                "time": "2026-11-18T09:00:00Z",
                "data": ["a", "b"],
            },
        ]
    },
    "tasks": [
        {
            "path": "\\Backup\\Nightly",
            "state": 3,
            "last_run": "2026-11-20T01:00:00Z",
            "last_result": 2_147_942_402,
            "account": "S-1-5-18",
            "run_level": 1,
        },
        {"path": "\\Secret", "state": 1, "hidden": True, "enabled": False},
    ],
    "files": {"C:\\ProgramData\\rmm\\x.json": '{"a": 1}\n', "C:\\secret.txt": "s"},
}


CONNECTED = "$s = New-Object -ComObject Schedule.Service; $s.Connect()"


def run(executor: Executor, script: str, mode: str = "FullLanguage", state: Any = STATE) -> Result:
    return executor.run(state, [Job(script, mode)])[0]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("(Get-CimInstance -Query \"SELECT Name FROM Win32_Service WHERE State='running'\").Name", "Spooler"),
        (
            "(Get-CimInstance -ClassName win32_service -Filter 'NOT Name LIKE \"S%\"').ProcessId.GetType().Name",
            "UInt32",
        ),
        (
            "(Get-CimInstance Win32_OperatingSystem -Property TotalVisibleMemorySize).TotalVisibleMemorySize",
            "18446744073709551615",
        ),
        ("(Get-CimInstance Win32_OperatingSystem -Property MUILanguages).MUILanguages.GetType().Name", "String[]"),
        ("@(Get-CimInstance Win32_Service -Property InstallDate)[0].InstallDate.Kind", "Local"),
        (
            "@(Get-CimInstance Win32_Service -Property InstallDate)[0].InstallDate.ToUniversalTime().ToString('o')",
            "2026-11-20T10:00:00.0000000Z",
        ),
        ("$null -eq @(Get-CimInstance Win32_Service -Property InstallDate)[1].InstallDate", "True"),
        (
            "@(Get-CimInstance Win32_Service -Property Name)[0].PSObject.TypeNames[0]",
            "Microsoft.Management.Infrastructure.CimInstance#root/cimv2/Win32_Service",
        ),
        ("@(Get-CimInstance Win32_Service -Property Name)[0].CimClass.CimClassName", "Win32_Service"),
        ("(Get-CimInstance Win32_GroupUser).PartComponent.Name", "a"),
        (
            '"$((Get-CimInstance Win32_GroupUser).GroupComponent)"',
            'Win32_Group (Domain = "SRV01", Name = "Administrators")',
        ),
        (
            "@(Get-CimInstance -Namespace root/virtualization/v2 -ClassName Msvm_ComputerSystem -Property Name).Count",
            "0",
        ),
        ("(Get-ItemProperty -LiteralPath HKLM:\\SOFTWARE\\V\\P).Big", "-1"),
        ("(Get-ItemProperty -Path HKLM:\\SOFTWARE\\*\\P -Name Many).Many.Count", "2"),
        ("(Get-ItemProperty -Path HKLM:\\SOFTWARE\\V\\P).'(default)'", "d"),
        ("(Get-ItemProperty -Path HKLM:\\SOFTWARE\\V\\P).Raw.GetType().Name", "Byte[]"),
        ("Get-ItemPropertyValue -Path HKLM:\\SOFTWARE\\V\\P -Name Q", "5"),
        ("$null -eq (Get-ItemProperty -LiteralPath HKLM:\\SOFTWARE\\V\\Empty)", "True"),
        ("(Get-ChildItem -Path Registry::HKEY_LOCAL_MACHINE\\SOFTWARE\\V).PSChildName -join ','", "P,Empty"),
        ("(Get-Item -Path HKLM:\\SOFTWARE\\V\\P).Name", "HKEY_LOCAL_MACHINE\\SOFTWARE\\V\\P"),
        (
            "(Get-Item -Path HKLM:\\SOFTWARE\\V\\P).PSParentPath",
            "Microsoft.PowerShell.Core\\Registry::HKEY_LOCAL_MACHINE\\SOFTWARE\\V",
        ),
        ("(Test-Path HKLM:\\SOFTWARE\\V), (Test-Path HKLM:\\SOFTWARE\\W) -join ','", "True,False"),
        ("(Get-WinEvent -LogName System -FilterXPath '*[System[EventRecordID > 11]]').Id", "6008"),
        ("(Get-WinEvent -LogName System -Oldest).RecordId -join ','", "11,12"),
        (
            "(Get-WinEvent -FilterXPath '*[System[TimeCreated[timediff(@SystemTime) <= 86400000]]]' -LogName S*m).Id",
            "41",
        ),
        ("(Get-WinEvent -FilterHashtable @{LogName='System'; Id=41, 6008} -MaxEvents 1).Properties[1].Value", "b"),
        (
            "(Get-WinEvent -LogName System -FilterXPath \"*[EventData[Data[@Name='BugcheckCode']='7']]\").Message",
            "text",
        ),
        (f"{CONNECTED}; $s.GetFolder('\\').GetTasks(1)[0].Name", "Secret"),
        (f"{CONNECTED}; @($s.GetFolder('\\').GetTasks(0)).Count", "0"),
        (
            f"{CONNECTED}; $s.GetFolder('\\Backup').GetTasks(0)[0].LastTaskResult",
            "-2147024894",
        ),
        ("(New-Object -TypeName System.Collections.ArrayList).Count", "0"),
        ("Get-Content -LiteralPath c:\\programdata\\rmm\\x.json", '{"a": 1}'),
        ("(Get-Service -Name Spooler).Status", "Running"),
        ("(Test-Path /tmp), (Test-Path Cert:\\LocalMachine\\My) -join ','", "True,True"),
    ],
)
def test_what_windows_gives(executor: Executor, expression: str, expected: str) -> None:
    result = run(executor, expression)
    assert (result.error, result.output) == (None, [expected])


CIM = "Microsoft.Management.Infrastructure.CimCmdlets.GetCimInstanceCommand"


@pytest.mark.parametrize(
    ("script", "error_id", "category"),
    [
        ("Get-CimInstance -Query 'SELECT Nmae FROM Win32_Service'", f"HRESULT 0x80041017,{CIM}", "InvalidArgument"),
        ("Get-CimInstance -ClassName Win32_Service -Filter 'Stat = 1'", f"HRESULT 0x80041017,{CIM}", "InvalidArgument"),
        ("Get-CimInstance -Query 'SELECT Name FROM Win32_Servize'", f"HRESULT 0x80041010,{CIM}", "MetadataError"),
        ("Get-CimInstance -Query 'SELECT Id FROM Win32_ServerFeature'", f"HRESULT 0x80041010,{CIM}", "MetadataError"),
        (
            "Get-CimInstance -Namespace root/SecurityCenter2 -ClassName AntiVirusProduct",
            f"HRESULT 0x8004100e,{CIM}",
            "MetadataError",
        ),
        (
            "Get-CimInstance -Namespace root/microsoft/windows/defender -ClassName MSFT_MpComputerStatus",
            f"HRESULT 0x8004100e,{CIM}",
            "MetadataError",
        ),
        (
            "Get-CimInstance -Namespace root\\cimv2\\security\\microsofttpm -ClassName Win32_Tpm",
            f"HRESULT 0x80041003,{CIM}",
            "PermissionDenied",
        ),
        (
            "Get-CimInstance -ClassName Win32_Service -Propertie Name",
            f"NamedParameterNotFound,{CIM}",
            "InvalidArgument",
        ),
        ("Get-WmiObject -Class Win32_Service", "CommandNotFoundException", "ObjectNotFound"),
        ("Get-Item HKLM:\\Nope", "PathNotFound,Microsoft.PowerShell.Commands.GetItemCommand", "ObjectNotFound"),
        (
            "Get-ItemProperty HKU:\\X",
            "DriveNotFound,Microsoft.PowerShell.Commands.GetItemPropertyCommand",
            "ObjectNotFound",
        ),
        (
            "Get-ItemProperty HKLM:\\SOFTWARE\\V\\P -Name Nope",
            "System.Management.Automation.PSArgumentException,Microsoft.PowerShell.Commands.GetItemPropertyCommand",
            "InvalidArgument",
        ),
        (
            "Get-Item HKLM:\\SECURITY\\X",
            "System.Security.SecurityException,Microsoft.PowerShell.Commands.GetItemCommand",
            "PermissionDenied",
        ),
        (
            "Get-WinEvent -LogName System -FilterXPath '*[System[EventRecordID > 99]]'",
            "NoMatchingEventsFound,Microsoft.PowerShell.Commands.GetWinEventCommand",
            "ObjectNotFound",
        ),
        (
            "Get-WinEvent -LogName Nope",
            "NoMatchingLogsFound,Microsoft.PowerShell.Commands.GetWinEventCommand",
            "ObjectNotFound",
        ),
        (
            "Get-WinEvent -LogName Security",
            "LogInfoUnavailable,Microsoft.PowerShell.Commands.GetWinEventCommand",
            "NotSpecified",
        ),
        (
            "Get-WinEvent -LogName System -FilterXPath '*[Sys'",
            "System.Diagnostics.Eventing.Reader.EventLogException,Microsoft.PowerShell.Commands.GetWinEventCommand",
            "NotSpecified",
        ),
        (
            "New-Object -ComObject No.Such",
            "NoCOMClassIdentified,Microsoft.PowerShell.Commands.NewObjectCommand",
            "ResourceUnavailable",
        ),
        (
            "Get-Content -LiteralPath C:\\secret.txt",
            "GetContentReaderUnauthorizedAccessError,Microsoft.PowerShell.Commands.GetContentCommand",
            "PermissionDenied",
        ),
        (
            "Get-Service -Name Nope",
            "NoServiceFoundForGivenName,Microsoft.PowerShell.Commands.GetServiceCommand",
            "ObjectNotFound",
        ),
    ],
)
def test_what_windows_refuses(executor: Executor, script: str, error_id: str, category: str) -> None:
    result = run(executor, f"$null = 1\n{script}")
    assert result.error is not None, result.output
    assert (result.error["id"], result.error["category"], result.error["line"]) == (error_id, category, 2)


@pytest.mark.parametrize("mode", ["FullLanguage", "ConstrainedLanguage"])
@pytest.mark.parametrize(
    ("script", "refusals"),
    [
        ("$s.Nmae", [":2: Win32_Service has no property Nmae"]),
        ("$s[0].State", [":2: the query of Win32_Service does not ask for State"]),
        ("$s | Select-Object -Property Name, Stat", [":2: Win32_Service has no property Stat"]),
        ("foreach ($i in $s) { $i.Name.Length }", []),
        ("$s | Where-Object -Property Nmae -eq 1", [":2: Win32_Service has no property Nmae"]),
        ("$s | Sort-Object -Property Nmae", [":2: Win32_Service has no property Nmae"]),
        ("(Get-WinEvent -LogName System).Titel", [":2: an event has no property Titel"]),
    ],
)
def test_a_misspelt_property_does_not_pass(executor: Executor, script: str, refusals: list[str], mode: str) -> None:
    result = run(executor, f"$s = Get-CimInstance -Query 'SELECT Name FROM Win32_Service'\n$null = {script}", mode)
    assert sorted({refusal[refusal.index(":") :] for refusal in result.refusals}) == refusals


def test_an_error_ends_a_script_only_where_its_preference_says_so(executor: Executor) -> None:
    """Functions of a module do not see the caller's variables by themselves."""
    for command in ("Get-CimInstance -ClassName Nope", "Get-Item -Path HKLM:\\SECURITY\\X", "Get-WinEvent -LogName No"):
        silent = run(executor, f"$ErrorActionPreference = 'SilentlyContinue'\n{command}\n'on'")
        assert (silent.error, silent.output) == (None, ["on"])
        assert run(executor, f"{command} -ErrorAction SilentlyContinue\n'on'").output == ["on"]
        caught = run(executor, f"& {{ $ErrorActionPreference = 'Stop'; try {{ {command} }} catch {{ 'caught' }} }}")
        assert caught.output == ["caught"]


def test_what_a_role_brings_is_there_where_the_state_names_it(executor: Executor) -> None:
    state = {**STATE, "cim": {"root/SecurityCenter2": {"AntiVirusProduct": [{"displayName": "x", "productState": 7}]}}}
    query = "SELECT productState FROM AntiVirusProduct"
    script = f"(Get-CimInstance -Namespace root/SecurityCenter2 -Query '{query}').productState"
    assert run(executor, script, state=state).output == ["7"]


def test_the_mode_of_the_script_is_kept(executor: Executor) -> None:
    com = run(executor, "New-Object -ComObject Schedule.Service", "ConstrainedLanguage")
    assert com.error is not None and com.error["id"].startswith("CannotCreateComTypeConstrainedLanguage,")
    net = run(executor, "[System.Console]::Clear()", "ConstrainedLanguage")
    assert net.error is not None and "ConstrainedLanguage" in net.error["id"]


def test_first_use_in_constrained_language(pwsh: Any, tmp_path: Any) -> None:
    """In a process of its own: nothing has been asked in full language before."""
    script = (
        "Import-Module RmmLab.Windows\nImport-RmmLabState -Json $json\n"
        "$ExecutionContext.SessionState.LanguageMode = 'ConstrainedLanguage'\n"
        "(Get-ItemProperty -Path 'HKLM:\\SOFTWARE\\V\\*').Text\n(Get-WinEvent -LogName System -MaxEvents 1).Id\n"
        "Get-Content -LiteralPath C:\\ProgramData\\rmm\\x.json\n(Get-ChildItem -Path Cert:\\).Count\n"
        '"$(Get-CimInstance -Query "SELECT Name FROM Win32_Service WHERE Name = \'BITS\'")"\n'
    )
    quoted = json.dumps(STATE).replace("'", "''")
    assert pwsh(f"$json = '{quoted}'\n{script}") == ["a", "6008", '{"a": 1}', "2", "Win32_Service"]


def test_no_command_has_a_parameter_that_windows_lacks(executor: Executor) -> None:
    script = (
        "ConvertTo-Json -InputObject @(foreach ($c in Get-Command -Module RmmLab.Windows) {"
        " @{ name = $c.Name; parameters = @($c.Parameters.Keys) } }) -Depth 4 -Compress"
    )
    checked = 0
    for command in json.loads(run(executor, script).output[0]):
        name = command["name"].casefold()
        if "." in name or "rmmlab" in name:
            continue
        allowed = facts.commands()[name] | COMMON
        given = {parameter.casefold() for parameter in command["parameters"]}
        assert given <= allowed, (name, given - allowed)
        checked += 1
    assert checked >= 8


COMMON = frozenset(
    {"verbose", "debug", "erroraction", "warningaction", "informationaction", "errorvariable", "warningvariable",
     "informationvariable", "outvariable", "outbuffer", "pipelinevariable", "progressaction"}
)  # fmt: skip


def test_every_culture_reads_the_same(executor: Executor) -> None:
    script = (
        '$o = Get-CimInstance -Query "SELECT Name, InstallDate FROM Win32_Service'
        " WHERE Name LIKE 'SPO%' OR ProcessId < 1.5\"\n"
        "($o.Name -join ',') + $o[0].InstallDate.ToUniversalTime().ToString('o')"
        " + (Get-Item HKLM:\\software\\v\\P).ValueCount\n"
    )
    results = executor.run(STATE, [Job(script, culture=culture) for culture in CULTURES])
    assert {tuple(result.output) for result in results} == {("Spooler,BITS2026-11-20T10:00:00.0000000Z6",)}
