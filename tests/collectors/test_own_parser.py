"""PowerShell's own parser refuses the same, at the same places, and what the other parser cannot see."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from rmm.catalog.check import Script, check_folders, check_script, own_findings
from rmm.catalog.powershell import find_powershell
from rmm.catalog.scaffold import new_collector
from rmm.errors import CatalogError

END = "\nConvertTo-Json -InputObject @{} -Compress -Depth 4\n"
SEEN = [
    ("$a = $b ? 1 : 2", (1, 6, "syntax-5.1")),
    ("$a = $b ?? 1", (1, 6, "syntax-5.1")),
    ("$a ??= 1", (1, 1, "syntax-5.1")),
    ("Get-Date && Get-Date", (1, 1, "syntax-5.1")),
    ("${a}?.Name", (1, 1, "syntax-5.1")),
    ("${a}?[0]", (1, 1, "syntax-5.1")),
    ("$null = Get-Date &", (1, 9, "syntax-5.1")),
    ("function Get-Own { process { 1 } clean { 2 } }", (1, 18, "syntax-5.1")),
    ("\n  Get-Process | select Name", (2, 17, "alias")),
    ("Invoke-Expression 'x'", (1, 1, "dynamic")),
    ("& $a", (1, 1, "dynamic")),
    ("Get-WmiObject -Class Win32_Service", (1, 1, "wmi")),
    ("ipconfig /all", (1, 1, "native")),
    ("Set-Content -Path x -Value y", (1, 1, "acts")),
    ("Get-Date > file.txt", (1, 12, "writes")),
    ("[System.IO.File]::WriteAllText('a', 'b')", (1, 19, "writes")),
    ("Get-Uptime", (1, 1, "command-5.1")),
    ("Get-ChildItem -Path x -Recursive", (1, 23, "parameter-5.1")),
    ("$a | ForEach-Object -Parallel { 1 }", (1, 21, "parameter-5.1")),
    ("Get-Date -Form o", (1, 10, "abbreviation")),
    ("  function Get-Reason { 1 }", (1, 3, "shared")),
    ("Get-Reason -Fail $_", (1, 12, "abbreviation")),
    ("Read-SqlRow $c 'x' -Wait", (1, 20, "parameter-5.1")),
    ("[Convert]::ToHexString($b)", (1, 12, "member-5.1")),
    ("$s.Contains('a', 5)", (1, 4, "member-5.1")),
    ("[Foo.Bar]::Baz()", (1, 1, "type-5.1")),
    ("$x = [Foo.Bar[string]]$y", (1, 6, "type-5.1")),
    ("[math]::$a(1)", (1, 9, "dynamic")),
    # Inside a text the other parser sees no code.
    ('$x = "a $(gci) b"', (1, 11, "alias")),
]
GOOD = (
    "[System.Collections.Generic.List[string]]::new().Add('a')\n"
    "function Get-Own { param([string[]]$Name) $Name }\nGet-Own -Name x 2>$null\n"
    "foreach ($i in 1..3) { [math]::Round(1.5, 2) + [int]::MaxValue }\n"
)


@pytest.fixture(scope="module")
def program() -> str:
    found = find_powershell()
    if not found:
        pytest.skip("no PowerShell: set RMM_PWSH to its program")
    return found


def test_every_finding_and_its_place(program: str) -> None:
    scripts = [Script("x.ps1", text + END) for text, _ in SEEN]
    found = own_findings(program, [*scripts, Script("g.ps1", GOOD), Script("b.ps1", "\nif (")])
    assert [[(f.line, f.column, f.rule) for f in each] for each in found[:-2]] == [[place] for _, place in SEEN]
    assert found[-2] == []
    assert [(f.file, f.line, f.rule) for f in found[-1]] == [("b.ps1", 2, "syntax")]


def test_what_both_see_is_said_once(program: str, tmp_path: Path) -> None:
    new_collector(tmp_path, "mine")
    script = tmp_path / "mine" / "collect.ps1"
    script.write_text('$z = "$(gci)"\nGet-WmiObject -Class Win32_Service\n' + script.read_text())
    found = check_folders([tmp_path], program)
    assert [(Path(f.file).name, f.line, f.column, f.rule) for f in found] == [
        ("collect.ps1", 1, 9, "alias"), ("collect.ps1", 2, 1, "wmi"),
    ]  # fmt: skip
    assert len(check_folders([tmp_path])) in (1, 2)


def test_the_two_parsers_agree(program: str) -> None:
    """Where both see a defect, rule and line are the same."""
    for text, (line, _, rule) in SEEN:
        other = [(f.line, f.rule) for f in check_script(text + END, "x.ps1")]
        assert not other or (line, rule) in other or other[0][1] == "syntax", text


def test_a_powershell_that_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RMM_PWSH", str(tmp_path / "pwsh"))
    with pytest.raises(CatalogError, match="there is no such program"):
        find_powershell()
    with pytest.raises(CatalogError):
        own_findings(shutil.which("false") or sys.executable, [Script("x", "y")])
    monkeypatch.delenv("RMM_PWSH")
    monkeypatch.setenv("PATH", os.fspath(tmp_path))
    assert find_powershell() == ""
