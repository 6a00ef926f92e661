"""Microsoft's own engine parses every script, runs the runner, and runs each collector on its samples' raw data.

It is PowerShell 7 without CIM and registry: the commands that read those are stand-ins here, fed from the samples.
That a script is fit for Windows PowerShell 5.1 is shown by `test_check.py`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from rmm.catalog.bundle import powershell_bundle
from rmm.core.parts import Part, read_part
from rmm.model.collector import Collector, Field, Manifest, Source

Run = Callable[[str], list[str]]


def quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def test_the_engine_parses_every_script_and_the_bundle(pwsh: Run, catalog: dict[str, Collector]) -> None:
    texts = {name: c.windows for name, c in catalog.items() if c.windows}
    texts["bundle"] = powershell_bundle([c for c in catalog.values() if c.windows]).text
    texts["broken"] = "if ("
    parse = "[System.Management.Automation.Language.Parser]::ParseInput($text, [ref]$null, [ref]$errors)"
    lines = [
        f"$text = {quoted(text)}; $errors = $null; $null = {parse}; '{name} ' + $errors.Count"
        for name, text in texts.items()
    ]
    counts = dict(line.split() for line in pwsh("\n".join(lines)))
    assert int(counts.pop("broken")) > 0
    assert set(counts) == set(texts) - {"broken"}
    assert set(counts.values()) == {"0"}


def collector(name: str, script: str) -> Collector:
    manifest = Manifest(
        name=name, title=name, schema=1, interval=60, timeout=5, cost="C1", owner="t", fields={"f": Field(type="int")}
    )
    return Collector(manifest=manifest, folder="", windows=script)


SCRIPTS = {
    "good": "ConvertTo-Json -InputObject @{ a = @(@{ b = 1.5 }) } -Compress -Depth 4",
    "thrower": "throw 'boom \"x\" \\'",
    "missing": "Get-Nothing -Foo 1",
    "stops": "Get-Item -LiteralPath /nowhere\n'{}'",
    "silent": "$null = 1",
    "stray": "break",
    "leaving": "return",
    "noisy": "# a comment\n'noise'\n    '{\"a\":[]}'",
    "culture": "'{\"a\":[{\"b\":' + 1.5 + '}]}'",
    "meddling": "$Script = 1; $Name = 'x'; $started = $null; function Invoke-RmmCollector { 'mine' }\n'{}'",
    "chatty": "Write-Host 'a'; Write-Warning 'b'; Write-Information 'c' -InformationAction Continue; '{}'",
    "flood": "'{\"a\":[{\"b\":\"' + ('x' * 5000000) + '\"}]}'",
    "wordy": "throw ('y' * 9000000)",
    "stream": "foreach ($n in 1..200000) { $n }; '{}'",
    "last": "'{}'",
}


@pytest.mark.parametrize("mode", ["FullLanguage", "ConstrainedLanguage"])
def test_each_collector_of_a_bundle_is_isolated(pwsh: Run, mode: str) -> None:
    text = powershell_bundle([collector(name, script) for name, script in SCRIPTS.items()]).text
    head = (
        "[System.Threading.Thread]::CurrentThread.CurrentCulture = 'de-DE'\n$env:COMPUTERNAME = 'SRV\"Ö1'\n"
        f"$ExecutionContext.SessionState.LanguageMode = '{mode}'\n"
    )
    parts = [read_part(line) for line in pwsh(head + text)]
    assert [part.collector for part in parts] == list(SCRIPTS)
    assert {part.host for part in parts} == {'SRV"Ö1'}
    by_name: dict[str, Part] = {part.collector: part for part in parts}
    assert by_name["good"].document == {"a": [{"b": 1.5}]}
    assert by_name["culture"].document == {"a": [{"b": 1.5}]}
    assert by_name["noisy"].document == {"a": []}
    for name in ("meddling", "chatty", "stream", "last"):
        assert by_name[name].error is None, name
    ids = {name: part.error.id for name, part in by_name.items() if part.error}
    wordy = ids.pop("wordy")
    assert set(wordy) == {"y"}
    assert len(wordy) == 2000
    assert ids == {
        "thrower": 'boom "x" \\',
        "missing": "CommandNotFoundException",
        "stops": "PathNotFound,Microsoft.PowerShell.Commands.GetItemCommand",
        "silent": "NoDocument",
        "stray": "NoDocument",
        "leaving": "NoDocument",
        "flood": "DocumentTooLarge",
    }
    assert all(0 <= part.ms < 60_000 for part in parts)
    assert by_name["stream"].ms > 0
    missing = by_name["missing"].error
    assert missing is not None
    assert (missing.category, missing.hresult) == ("ObjectNotFound", -2146233087)


# Shows that the mode is in force: it would end the script otherwise.
CONFINED = {
    "FullLanguage": "",
    "ConstrainedLanguage": "try { [System.Console]::Clear(); exit 7 } "
    "catch { if ($_.FullyQualifiedErrorId -notlike '*ConstrainedLanguage') { exit 8 } }",
}


STAND_INS = """
$answers = ConvertFrom-Json -InputObject $cases -AsHashtable
function Find-Answer { param($Key) $found = $script:answers[$script:case][($Key -replace '\\s+', ' ').Trim()]
  foreach ($item in $found) {
    $object = [ordered]@{}
    foreach ($entry in $item.GetEnumerator()) { $object[$entry.Key] = $entry.Value }
    [pscustomobject]$object } }
function Get-CimInstance { param([string]$Query) Find-Answer $Query }
function Get-ItemProperty { [CmdletBinding()] param([string]$LiteralPath, [string]$Path)
  Find-Answer "$LiteralPath$Path" }
function Get-Item { [CmdletBinding()] param([string]$Path)
  if ($script:case -in $denied) {
    $PSCmdlet.ThrowTerminatingError([System.Management.Automation.ErrorRecord]::new(
      [System.UnauthorizedAccessException]::new('no'), 'x', 'PermissionDenied', $Path)) }
  Find-Answer $Path }
function Test-Path { param([string]$LiteralPath) $script:answers[$script:case].Contains($LiteralPath) }
function Invoke-Case { param($Name, [scriptblock]$Script) $script:case = $Name; $out = & $Script; $Name; $out }
"""


@pytest.mark.parametrize("mode", ["FullLanguage", "ConstrainedLanguage"])
def test_each_script_writes_the_document_of_its_samples(pwsh: Run, samples: list[Any], mode: str) -> None:
    chosen = [s for s in samples if s.collector.windows and not s.case.startswith("linux")]
    cases = {f"{s.collector.name}/{s.case}": answers(s) for s in chosen}
    denied = [f"{s.collector.name}/{s.case}" for s in chosen if s.content["document"].get("notes")]
    calls = [f"Invoke-Case '{s.collector.name}/{s.case}' {{\n{s.collector.windows}\n}}" for s in chosen]
    text = json.dumps(cases)
    head = f"$cases = {quoted(text)}\n$denied = @({', '.join(map(quoted, denied))})\n{STAND_INS}\n"
    # The stand-ins keep the language in which they were made, as Windows' own commands do.
    head += f"$ExecutionContext.SessionState.LanguageMode = '{mode}'\n{CONFINED[mode]}\n"
    script = head + "\n".join(calls)
    lines = pwsh(script)
    assert len(lines) == 2 * len(chosen) >= 88
    for sample, name, line in zip(chosen, lines[::2], lines[1::2], strict=True):
        assert name == f"{sample.collector.name}/{sample.case}"
        assert json.loads(line) == expected(sample), name


def answers(sample: Any) -> dict[str, Any]:
    """What the stand-ins must know: query or path -> instances."""
    found: dict[str, Any] = {}
    document = sample.content["document"]
    for name, source in sample.collector.manifest.sources.items():
        if source.wql:
            found[" ".join(source.wql.split())] = document[name]
        elif source.registry_keys:
            _programs(found, source, document[name])
        elif document[name]:
            for key in source.registry:
                found[key.replace("\\", ":\\", 1)] = [_key(key, row) for row in document[name]]
    return found


def _key(path: str, row: dict[str, Any]) -> dict[str, Any]:
    """An item of the provider: its Name is the whole path."""
    full = path.replace("HKLM", "HKEY_LOCAL_MACHINE", 1).replace("*", str(row.get("KeyName", "")))
    return {**row, "Name": full}


def _programs(found: dict[str, Any], source: Source, instances: list[dict[str, Any]]) -> None:
    for root, key in enumerate(source.registry_keys):
        path = "Registry::" + key.replace("HKLM", "HKEY_LOCAL_MACHINE").replace("HKU", "HKEY_USERS") + "\\*"
        found[path] = [
            {**row, "PSChildName": row["KeyName"], "PSPath": "x"} for row in instances if row["Root"] == root
        ]


def expected(sample: Any) -> dict[str, Any]:
    document: dict[str, Any] = dict(sample.content["document"])
    if sample.collector.name == "software":
        document["uninstall"] = [row for row in document["uninstall"] if row["Root"] is not None]
        document["uninstall"].sort(key=lambda row: row["Root"])
    return document
