"""Microsoft's own engine parses every script, runs the runner, and runs each collector on its samples' raw data.

It is PowerShell 7 outside Windows: CIM, registry and the like are the stand-ins of `rmm/lab/windows`, which read the
state of a machine that is made from each sample. That a script is fit for Windows PowerShell 5.1 is shown by
`test_check.py`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from rmm.catalog.bundle import powershell_bundle
from rmm.catalog.load import load_catalog
from rmm.core.parts import Part, read_part
from rmm.lab.windows.state import state_of_sample
from rmm.model.collector import Collector, Field, Manifest
from rmm.resources import shipped
from tests.collectors.conftest import Sample, read_samples
from tests.collectors.executor import CULTURES, Executor, Job

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


def jobs_of(one: Collector, arguments: Mapping[str, Any]) -> list[Job]:
    """Both language modes, unless the manifest says that one is too little, under every culture."""
    modes = ("FullLanguage", "ConstrainedLanguage") if one.manifest.constrained else ("FullLanguage",)
    return [Job(one.windows, mode, culture, arguments) for mode in modes for culture in CULTURES]


NAMES = sorted(name for name, c in load_catalog([shipped("collectors")]).items() if c.windows)


@pytest.mark.parametrize("name", NAMES)
def test_each_script_writes_the_document_of_its_samples(
    executor: Executor, catalog: dict[str, Collector], name: str
) -> None:
    chosen = catalog[name]
    executed = 0
    for sample in read_samples({name: chosen}):
        if sample.case.startswith("linux"):
            continue
        state = state_of_sample(chosen, sample.content, sample.case)
        jobs = jobs_of(chosen, sample.content.get("arguments", {}))
        for job, result in zip(jobs, executor.run(state, jobs), strict=True):
            where = f"{chosen.folder}/collect.ps1, sample {sample.case}, {job.mode}, {job.culture or 'invariant'}"
            assert result.error is None, f"{where}: line {result.error['line']}: {result.error}"
            assert not result.refusals, f"{where}: {result.refusals}"
            assert json.loads(result.output[-1]) == expected(sample), where
        executed += 1
    assert executed >= 3


def expected(sample: Sample) -> dict[str, Any]:
    """The sample's document, without rows that no key of the registry gives: of another place, or without a name."""
    document: dict[str, Any] = dict(sample.content["document"])
    for name, source in sample.collector.manifest.sources.items():
        if source.registry_keys:
            possible = [row for row in document[name] if row["Root"] is not None and row["KeyName"]]
            document[name] = sorted(possible, key=lambda row: int(row["Root"]))
    return document
