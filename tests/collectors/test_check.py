"""The checker refuses what a real Windows would refuse, at the right place, and passes what it has."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from rmm.catalog.check import check_folder, check_folders, check_script, check_shell
from rmm.catalog.scaffold import new_collector
from rmm.resources import shipped

REBOOT = "-ClassName CCM_ClientUtilities -MethodName DetermineIfRebootPending"
HELD = "$s = Get-CimInstance -Query 'SELECT Name FROM Win32_Service'"
END = "\nConvertTo-Json -InputObject @{} -Compress -Depth 4\n"


def rules(script: str) -> list[tuple[int, int, str]]:
    return [(f.line, f.column, f.rule) for f in check_script(script + END, "x.ps1")]


def test_the_shipped_collectors_pass() -> None:
    assert [str(finding) for finding in check_folders([shipped("collectors")])] == []


def test_a_new_collector_passes(tmp_path: Path) -> None:
    new_collector(tmp_path, "mine")
    assert check_folder(tmp_path / "mine") == []


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("$a = $b ? 1 : 2", (1, 6, "syntax-5.1")),
        ("$a = $b ?? 1", (1, 6, "syntax-5.1")),
        ("$a ??= 1", (1, 4, "syntax-5.1")),
        ("Get-Date && Get-Date", (1, 10, "syntax-5.1")),
        ("$a?.Name", (1, 1, "syntax")),
        ("if (", (1, 1, "syntax")),
        ("\n  Get-Process | select Name", (2, 17, "alias")),
        ("gci", (1, 1, "alias")),
        ("$a | % { $_ }", (1, 6, "alias")),
        ("iex 'x'", (1, 1, "alias")),
        ("Invoke-Expression 'x'", (1, 1, "dynamic")),
        ("& $a", (1, 1, "dynamic")),
        (". ./x.ps1", (1, 1, "dynamic")),
        ("Get-WmiObject -Class Win32_Service", (1, 1, "wmi")),
        ("ipconfig /all", (1, 1, "native")),
        ("wmic.exe os", (1, 1, "native")),
        ("Set-Content -Path x -Value y", (1, 1, "acts")),
        ("Restart-Service -Name x", (1, 1, "acts")),
        ("Get-Date > file.txt", (1, 11, "writes")),
        ("[System.IO.File]::WriteAllText('a', 'b')", (1, 19, "writes")),
        ("$key.SetValue('a', 'b')", (1, 6, "writes")),
        ("Get-Uptime", (1, 1, "command-5.1")),
        ("Get-ChildItem -Path x -Recursive", (1, 23, "parameter-5.1")),
        ("$a | ForEach-Object -Parallel { 1 }", (1, 21, "parameter-5.1")),
        ("Get-Date -Form o", (1, 10, "abbreviation")),
        ("$a = 1\nfunction Get-Reason { 1 }\nGet-Reason $a", (2, 1, "shared")),
        ("  function global:read-key($x) { 1 }", (1, 3, "shared")),
        ("filter Invoke-RmmCollector { 1 }", (1, 1, "shared")),
        ("Invoke-RmmCollector 'a' { 1 }", (1, 1, "command-5.1")),
        ("Get-Reason -Fail $_", (1, 12, "abbreviation")),
        ("Get-Newest -Log x -ErrorAction Stop", (1, 19, "parameter-5.1")),
        ("[Convert]::ToHexString($b)", (1, 12, "member-5.1")),
        ("[math]::Clamp(1, 2, 3)", (1, 9, "member-5.1")),
        ("[datetime]::UnixEpoch", (1, 13, "member-5.1")),
        ("$s.Contains('a', 5)", (1, 4, "member-5.1")),
        ("'abc'.Contains('a', 5)", (1, 7, "member-5.1")),
        ("([string]$x).Split('a', 'b', 'c', 'd', 'e')", (1, 14, "member-5.1")),
        ("[Foo.Bar]::Baz()", (1, 1, "type-5.1")),
        ("New-Object -TypeName Foo.Bar", (1, 1, "type-5.1")),
        ("[math]::$a(1)", (1, 9, "dynamic")),
        ("'{0}' -f 1.5", (1, 7, "culture")),
        ("$h = 'a\nb'", (1, 6, "one-line")),
        ("<# a\nb #>", (1, 1, "one-line")),
        ("class A { }", (1, 1, "static")),
        ("exit 1", (1, 1, "static")),
        ("Get-CimInstance -Query 'SELECT * FROM Win32_Service'", (1, 1, "cim")),
        ("Get-CimInstance -Query 'SELECT Nmae FROM Win32_Service'", (1, 1, "cim")),
        ("Get-CimInstance -Query 'SELECT Name FROM Win32_Service WHERE Stat = 1'", (1, 1, "cim")),
        ("Get-CimInstance -Query 'SELECT Name FROM Win32_Servize'", (1, 1, "cim")),
        ("Get-CimInstance -Query \"SELECT $a FROM Win32_Service\"", (1, 1, "cim")),
        ("Get-CimInstance -Query 'SELECT Name FROM Win32_Product'", (1, 1, "cim")),
        ("Get-CimInstance -ClassName Win32_Service", (1, 1, "cim")),
        ("Get-CimInstance -ClassName Win32_Service -Property Nmae", (1, 1, "cim")),
        ("Get-CimInstance -ClassName Win32_Service -Property Name -Filter 'Stat = 1'", (1, 1, "cim")),
        ("Get-CimInstance -Namespace root/nope -ClassName X -Property Y", (1, 1, "cim")),
        # A counter that only newer systems have.
        (
            "Get-CimInstance -ClassName Win32_PerfRawData_Counters_ProcessorInformation -Property ActualFrequency",
            (1, 1, "cim"),
        ),
        (f"{HELD}\n$s | Select-Object -Property State", (2, 30, "cim")),
        (HELD + "\nforeach ($i in $s) { $i.State }", (2, 25, "cim")),
        ("Invoke-CimMethod -ClassName Win32_Process -MethodName Create", (1, 1, "acts")),
        (f"Invoke-CimMethod -Namespace root/ccm {REBOOT}", (1, 1, "acts")),
        ("Invoke-CimMethod -Namespace root/ccm/clientsdk -ClassName $a -MethodName Determine", (1, 1, "acts")),
        ("$s = New-Object -ComObject WScript.Shell", (1, 6, "com")),
        ("$s = New-Object -ComObject $name", (1, 6, "com")),
        ("$folder.DeleteTask('a', 0)", (1, 9, "writes")),
        ("$folder.RegisterTask('a')", (1, 9, "member-5.1")),
        ("\n" * 300, (301, 1, "length")),
    ],
)  # fmt: skip
def test_a_finding_and_its_place(script: str, expected: tuple[int, int, str]) -> None:
    assert rules(script) == [expected]


@pytest.mark.parametrize(
    "script",
    [
        "Get-ItemProperty -LiteralPath 'HKLM:\\SOFTWARE' -ErrorAction SilentlyContinue 2>$null",
        "$a = @(Get-ChildItem -Path x -Directory | Where-Object -FilterScript { $_.Name -like 'a*' })",
        "$a | Where-Object Name -eq 'x' | ForEach-Object { $_.Name.ToUpperInvariant().Trim() }",
        "$t.ToUniversalTime().ToString('o')",
        "[System.Collections.Generic.List[string]]::new().Add('a')",
        "[math]::Round(1.5, 2) + [int]::MaxValue + [datetime]::UtcNow.Ticks",
        "[pscustomobject]@{ A = 1 }",
        f"Invoke-CimMethod -Namespace 'root\\ccm\\ClientSDK' {REBOOT}",
        "$s = New-Object -ComObject Schedule.Service\n$s.Connect()\n$s.GetFolder('x').GetTasks(1)",
        "function Get-Own {\n    param([string]$Name)\n    $Name\n}\nGet-Own -Name x",
        "try { Read-SqlRow -Connection $c -Text 'x' } catch { @{ Source = 'a'; Reason = Get-Reason -Failure $_ } }",
        "function Get-Reasons { 1 }\nGet-Reasons",
        "Get-CimInstance -Namespace root/StandardCimv2 -ClassName MSFT_NetAdapter -Property Name",
        "Get-CimInstance -ClassName Win32_Service -Property Name, State -Filter \"Name = 'x'\"",
        HELD + "\nforeach ($i in $s) { $i.Name; $i.PSComputerName }",
        "if ($a -and -not $b) { foreach ($i in 1..3) { $i } } else { switch ($a) { 1 { 2 } } }",
        "try { Get-Date } catch [System.UnauthorizedAccessException] { $null = $_ } finally { $a = 1 }",
    ],
)  # fmt: skip
def test_what_5_1_has_passes(script: str) -> None:
    assert rules(script) == []


def test_classes_of_a_role_or_product_are_known_by_name() -> None:
    query = "$a = Get-CimInstance -Namespace root/SecurityCenter2 -Query 'SELECT {} FROM {}'"
    assert rules(query.format("displayName, productState", "AntiVirusProduct")) == []
    assert [rule for _, _, rule in rules(query.format("displayNam", "AntiVirusProduct"))] == ["cim"]
    assert [rule for _, _, rule in rules(query.format("displayName", "AntiVirusProducts"))] == ["cim"]


def test_the_document_must_be_written() -> None:
    assert [f.rule for f in check_script("$a = 1\n", "x.ps1")] == ["document"]
    assert [f.rule for f in check_script("ConvertTo-Json -InputObject 1\n", "x.ps1")] == ["document"]


def test_queries_of_manifest_and_script_are_the_same(tmp_path: Path) -> None:
    new_collector(tmp_path, "mine")
    script = tmp_path / "mine" / "collect.ps1"
    manifest = tmp_path / "mine" / "collector.yaml"
    script.write_text(script.read_text().replace("NumberOfUsers, ", ""))
    assert [(f.file, f.line, f.rule) for f in check_folder(tmp_path / "mine")] == [(str(manifest), 11, "same-query")]
    manifest.write_text(manifest.read_text().replace("Win32_OperatingSystem", "Win32_Nothing"))
    assert "cim" in {f.rule for f in check_folder(tmp_path / "mine")}


def test_samples_are_required(tmp_path: Path) -> None:
    new_collector(tmp_path, "mine")
    readings = tmp_path / "mine" / "samples" / "server2022-typical.readings.json"
    readings.unlink()
    assert [f.rule for f in check_folder(tmp_path / "mine")] == ["samples"]
    (tmp_path / "mine" / "samples" / "server2022-typical.raw.json").unlink()
    assert [f.rule for f in check_folder(tmp_path / "mine")] == ["samples"]


def test_a_folder_without_collectors(tmp_path: Path) -> None:
    assert [f.rule for f in check_folders([tmp_path])] == ["folder"]


@pytest.mark.parametrize(
    ("script", "found"),
    [
        ("echo x > /tmp/file", ["writes"]), ("date >>log", ["writes"]), ("cat <<END\nx\nEND", ["one-line"]),
        ("cmd 2>/dev/null >&2", []), ("awk '{ if ($1 > x) print }' /proc/stat", []), ("# a > b", []),
        ("awk '\n$1 > b\n'\n", []), ("x=$((a << 2))", []), ("\n" * 301, ["length"]),
    ],
)  # fmt: skip
def test_shell_scripts(script: str, found: list[str]) -> None:
    assert [f.rule for f in check_shell(script, "x.sh")] == found


def test_without_the_parser_it_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "tree_sitter_pwsh.py").write_text("raise ImportError('not here')\n")
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from rmm.catalog.check import check_script\nfrom rmm.errors import CatalogError\n"
        "try:\n    check_script('x', 'x')\nexcept CatalogError as error:\n    print(error, '|', error.hint)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout == "checking PowerShell needs the extra `check` | Run: pip install 'mytech-rmm[check]'\n"


SQL = '$x = Get-CimInstance -ClassName "{}" -Property {}\n$x.Pagelifeexpectancy\nConvertTo-Json @() -Compress -Depth 2'
BUFFERS = "Win32_PerfRawData_MSSQL${first}_${second}BufferManager"


@pytest.mark.parametrize(
    ("name", "properties", "expected"),
    [
        (BUFFERS, "Pagelifeexpectancy", None),
        (BUFFERS, "Pagelifeexpectancies", "has no property Pagelifeexpectancies"),
        ("Win32_PerfRawData_NOSQL${first}_BufferManager", "Pagelifeexpectancy", "constant"),
        ("${first}BufferManager", "Pagelifeexpectancy", "constant"),
        ("Win32_PerfRawData_MSSQL$($first)_BufferManager", "Pagelifeexpectancy", "constant"),
    ],
)
def test_a_class_that_bears_an_instance_s_name(name: str, properties: str, expected: str | None) -> None:
    found = [
        finding.message for finding in check_script(SQL.format(name, properties), "x.ps1") if finding.rule == "cim"
    ]
    assert (found[0] if found else None) == expected or (expected is not None and expected in found[0])
