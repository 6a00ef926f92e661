"""The scripts of config/missing-updates: what the task writes is what the collector reads, and never half of it.

The Windows Update Agent is a stand-in here: a function in place of New-Object that gives objects with its properties.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from rmm.catalog.functions import functions_of
from rmm.catalog.golden import result_of
from rmm.model.collector import Collector

Run = Callable[[str], list[str]]
FOLDER = Path(__file__).resolve().parents[2] / "config" / "missing-updates"
SECURITY, DRIVER = "0FA1201D-4330-4FA8-8AE9-B877473B6441", "ebfc1fc5-71a4-4f7b-9aca-3b9a503104a0"

AGENT = """
function New-Update {{ param($Title, $Article, $Severity, $Category, $Published, $Loaded)
  $articles = [System.Collections.ArrayList]::new(); if ($Article) {{ $null = $articles.Add($Article) }}
  [pscustomobject]@{{ Title = $Title; KBArticleIDs = $articles; MsrcSeverity = $Severity; IsDownloaded = $Loaded
    Identity = [pscustomobject]@{{ UpdateID = 'a' }}; LastDeploymentChangeTime = [datetime]$Published
    Categories = @([pscustomobject]@{{ Type = 'ProductFamily'; CategoryID = 'x' }}
      [pscustomobject]@{{ Type = 'UpdateClassification'; CategoryID = $Category }}) }} }}
function New-Object {{ [CmdletBinding()] param([string]$ComObject, [string]$TypeName, $ArgumentList)
  if (-not $ComObject) {{ return [System.Text.UTF8Encoding]::new($false) }}
  if ($ComObject -ne 'Microsoft.Update.Session') {{ throw "no class $ComObject" }}
  $session = [pscustomobject]@{{ ClientApplicationID = '' }}
  $session | Add-Member -MemberType ScriptMethod -Name CreateUpdateSearcher -Value {{
    $searcher = [pscustomobject]@{{ ServerSelection = 0 }}
    $searcher | Add-Member -MemberType ScriptMethod -Name Search -PassThru -Value {{ param($Criteria)
      if ($Criteria -ne 'IsInstalled=0 and IsHidden=0') {{ throw "criteria $Criteria" }}
      {answer} }} }}
  $session }}
[System.Threading.Thread]::CurrentThread.CurrentCulture = '{culture}'
"""
TWO = f"""[pscustomobject]@{{ ResultCode = 2; Updates = @(
  New-Update '2026-10 Kumulatives Update für Büro-PCs' '5066835' 'Important' '{SECURITY}' '2026-10-14T17:00:00' $true
  New-Update 'Treiber' '' '' '{DRIVER}' '2019-01-01T00:00:00' $false) }}"""


def whole(catalog: dict[str, Collector]) -> str:
    """The script with the functions that it calls."""
    script = catalog["missing_updates"].windows
    return "\n".join([*functions_of(script), script])


@pytest.fixture
def search(pwsh: Run, tmp_path: Path) -> Callable[..., Any]:
    """Runs the task's script with the answer of a stand-in agent, then the collector; gives its document."""
    file = tmp_path / "rmm" / "missing-updates.json"
    file.parent.mkdir()

    def run(catalog: dict[str, Collector], answer: str, culture: str = "de-DE") -> Any:
        task = (FOLDER / "Search-MissingUpdates.ps1").read_text(encoding="utf-8")
        head = AGENT.format(answer=answer, culture=culture)
        lines = pwsh(
            f"$env:ProgramData = '{tmp_path}'\n& {{ {head}\n& {{\n{task}\n}} -Path '{file}' }}\n" + whole(catalog)
        )
        assert [path.name for path in file.parent.iterdir()] == [file.name]
        return json.loads(lines[-1])

    return run


@pytest.mark.parametrize("culture", ["", "de-DE", "th-TH"])
def test_the_collector_reads_what_the_task_writes(
    search: Callable[..., Any], catalog: dict[str, Collector], culture: str
) -> None:
    document = search(catalog, TWO, culture)
    assert document["file"] == [{"Status": "ok"}]
    now = datetime.now(UTC).isoformat()
    result = result_of(catalog["missing_updates"].manifest, {"document": document, "observed_at": now})
    (row,) = result.readings
    assert {name: row[name] for name in ("missing", "important", "security_updates", "drivers", "downloaded")} == {
        "missing": 2, "important": 1, "security_updates": 1, "drivers": 1, "downloaded": 1,
    }  # fmt: skip
    assert row["oldest"] == row["oldest_security"] == "2026-10-14T17:00:00Z"
    assert (row["articles"], row["scan_failed"], row["error"]) == ("KB5066835", False, None)
    assert row["scan_age_h"] < 0.1
    assert (result.outcome, result.notes) == ("ok", {})


@pytest.mark.parametrize(
    ("answer", "error", "missing"),
    [
        ("throw [System.Runtime.InteropServices.COMException]::new('no server', -2145107924)", "0x8024402C", None),
        ("[pscustomobject]@{ ResultCode = 4; Updates = @() }", None, 0),
        ("[pscustomobject]@{ ResultCode = 2; Updates = @() }", None, 0),
    ],
)
def test_a_search_that_failed_is_told(
    search: Callable[..., Any], catalog: dict[str, Collector], answer: str, error: str | None, missing: int | None
) -> None:
    document = search(catalog, answer)
    now = datetime.now(UTC).isoformat()
    (row,) = result_of(catalog["missing_updates"].manifest, {"document": document, "observed_at": now}).readings
    assert row["scan_failed"] is ("ResultCode = 2" not in answer)
    assert (row["error"], row["missing"]) == (error, missing)


HOSTILE = {
    "not json": "{", "empty": "", "a list": "[1]", "no format": '{"scanned_at":"2026-11-20T10:00:00Z","updates":[]}',
    "no time": '{"format":1,"scanned_at":"soon","updates":[]}', "deep": '{"format":' + "[" * 5000 + "]" * 5000 + "}",
    "large": '{"format":1,"scanned_at":"2026-11-20T10:00:00Z","pad":"' + "x" * 1_048_576 + '"}',
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_a_file_of_another_kind_costs_no_more_than_its_fields(
    pwsh: Run, tmp_path: Path, catalog: dict[str, Collector], case: str
) -> None:
    (tmp_path / "rmm").mkdir()
    (tmp_path / "rmm" / "missing-updates.json").write_text(HOSTILE[case], encoding="utf-8")
    script = f"$env:ProgramData = '{tmp_path}'\n$ErrorActionPreference = 'Stop'\n{whole(catalog)}"
    document = json.loads(pwsh(script)[-1])
    assert document["file"] == [{"Status": "too large" if case == "large" else "invalid"}]
    assert document["scan"] == []
    assert document["notes"] == [{"Source": "scan", "Reason": "unknown"}]


def test_hostile_values_become_no_numbers(pwsh: Run, tmp_path: Path, catalog: dict[str, Collector]) -> None:
    updates: list[Any] = [
        {"severity": "Missing", "category": "Articles", "article": "1; Remove-Item", "published": {"a": 1}},
        {"severity": ["Critical"], "category": SECURITY.lower(), "article": "77", "published": "9999-99-99"},
        "text", 7, None,  # nothing is no update
    ]  # fmt: skip
    content = {"format": 1, "scanned_at": "2026-11-20T10:00:00Z", "error": "x", "seconds": [], "updates": updates}
    (tmp_path / "rmm").mkdir()
    (tmp_path / "rmm" / "missing-updates.json").write_text(json.dumps(content), encoding="utf-8")
    script = f"$env:ProgramData = '{tmp_path}'\n$ErrorActionPreference = 'Stop'\n{whole(catalog)}"
    (scan,) = json.loads(pwsh(script)[-1])["scan"]
    assert (scan["Missing"], scan["Other"], scan["Security"], scan["Articles"]) == (4, 3, 1, ["KB77"])
    assert (scan["Oldest"], scan["Error"]) == (None, None)


@pytest.mark.parametrize("name", ["Search-MissingUpdates.ps1", "Register-MissingUpdates.ps1"])
def test_the_scripts_have_only_what_5_1_has(pwsh: Run, name: str) -> None:
    """Commands and parameters; that they act is their purpose."""
    from rmm.catalog.check import check_script

    allowed = {"acts", "writes", "document", "com", "member-5.1"}
    found = [
        str(one) for one in check_script((FOLDER / name).read_text(encoding="utf-8"), name) if one.rule not in allowed
    ]
    assert found == []
