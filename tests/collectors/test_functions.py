"""The functions that scripts may call: the same in file, guide and bundles, and right in both language modes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from rmm.catalog.bundle import powershell_bundle
from rmm.catalog.check import check_script
from rmm.catalog.check.commands import name_of
from rmm.catalog.check.finding import text, walk
from rmm.catalog.check.syntax import parse
from rmm.catalog.functions import functions, functions_of
from rmm.core.parts import read_part
from rmm.model.collector import Collector, Field, Manifest
from tests.collectors.executor import Executor, Job

Run = Callable[[str], list[str]]
FILE = Path(__file__).resolve().parents[2] / "rmm" / "catalog" / "functions.ps1"
GUIDE = Path(__file__).resolve().parents[2] / "docs" / "writing-a-collector.md"
WHOLE = FILE.read_text(encoding="utf-8")


def called(script: str) -> set[str]:
    """Lower-case names of the commands that stand in a script."""
    nodes = [name_of(node) for node in walk(parse(script)) if node.type == "command"]
    return {text(node).casefold() for node in nodes if node is not None}


def test_the_guide_lists_these_functions_with_these_parameters() -> None:
    rows = re.findall(
        r"^\| `([A-Za-z]+-[A-Za-z]+)` \| `([^`]*)` \| \S", GUIDE.read_text(encoding="utf-8"), re.MULTILINE
    )
    listed = [(name, tuple(given.removeprefix("-").split(" -"))) for name, given in rows]
    assert listed == [(one.name, one.parameters) for one in functions().values()]


def test_powershell_sees_the_same_functions_with_the_same_parameters(pwsh: Run) -> None:
    lines = pwsh(
        f"$root = [System.Management.Automation.Language.Parser]::ParseFile('{FILE}', [ref]$null, [ref]$null)\n"
        "foreach ($one in $root.EndBlock.Statements) {\n"
        "    \"$($one.Name) $($one.Body.ParamBlock.Parameters.Name.VariablePath.UserPath -join ' ')\" }\n"
    )
    assert lines == [" ".join([one.name, *one.parameters]) for one in functions().values()]


def test_they_keep_the_rules_of_scripts_and_call_none_that_comes_later() -> None:
    rules = {"document", "shared"}  # they write no document, and they are what no script may define
    assert [str(one) for one in check_script(WHOLE, "functions.ps1") if one.rule not in rules] == []
    names = list(functions())
    for place, one in enumerate(functions().values()):
        assert not called(one.text) & set(names[place:]), one.name


def test_a_bundle_holds_those_that_its_scripts_call(catalog: dict[str, Collector]) -> None:
    texts = {one.text: name for name, one in functions().items()}
    used: Counter[str] = Counter()
    for one in catalog.values():
        if not one.windows:
            continue
        direct = called(one.windows) & set(functions())
        behind = {name for shared in direct for name in called(functions()[shared].text)}
        wanted = direct | behind & set(functions())
        bundle = powershell_bundle([one]).text
        assert {name for text, name in texts.items() if f"\n{text}\n" in bundle} == wanted, one.name
        used.update(direct)
    # What one script alone calls is that script's own.
    assert {name for name, count in used.items() if count > 1} == set(functions())
    all_of_them = powershell_bundle([one for one in catalog.values() if one.windows]).text
    assert [all_of_them.count(f"\n{text}\n") for text in texts] == [1] * len(texts)


def test_no_two_scripts_define_the_same_function(catalog: dict[str, Collector]) -> None:
    defined = Counter(
        name.casefold()
        for one in catalog.values()
        for name in re.findall(r"^\s*(?:function|filter) (\S+)", one.windows, re.MULTILINE)
    )
    assert defined
    assert [name for name, count in defined.items() if count > 1] == []


def test_what_is_not_named_is_not_sent() -> None:
    assert functions_of("Get-Date") == []
    assert functions_of("get-REASON $_") == [functions()["get-reason"].text]
    assert functions_of("Read-Key $a b c d") == [functions()[name].text for name in ("get-reason", "read-key")]


DENIED, LACKS, OTHER = "access_denied", "unsupported", "unknown"
CIM = "Microsoft.Management.Infrastructure.CimCmdlets.GetCimInstanceCommand"
REASONS = [
    ("@{ CategoryInfo = @{ Category = 'PermissionDenied' } }", DENIED),
    ("@{ CategoryInfo = @{ Category = 'SecurityError' } }", DENIED),
    (f"@{{ FullyQualifiedErrorId = 'HRESULT 0x80041003,{CIM}' }}", DENIED),
    ("@{ Exception = @{ HResult = -2147024891 } }", DENIED),
    ("@{ Exception = @{ InnerException = @{ HResult = 2; InnerException = @{ HResult = -2147024891 } } } }", DENIED),
    ("@{ Exception = @{ HResult = 1; InnerException = @{ HResult = -2146232060; Number = 18456 } } }", DENIED),
    ("@{ Exception = @{ HResult = -2146232060; Number = 4060 } }", DENIED),
    ("@{ Exception = @{ HResult = -2146232060; Number = -2 } }", OTHER),
    *((f"@{{ FullyQualifiedErrorId = 'HRESULT 0x800410{code},{CIM}' }}", LACKS) for code in ("02", "0c", "0E", "10")),
    ("@{ FullyQualifiedErrorId = 'NoMatchingLogsFound,Microsoft.PowerShell.Commands.GetWinEventCommand' }", LACKS),
    ("@{ FullyQualifiedErrorId = 'CouldNotAutoloadMatchingModule' }", LACKS),
    (
        "@{ FullyQualifiedErrorId = 'CannotCreateTypeConstrainedLanguage,x'; "
        "CategoryInfo = @{ Category = 'PermissionDenied' } }",
        LACKS,
    ),
    ("@{ FullyQualifiedErrorId = 'ConversionSupportedOnlyToCoreTypes,x' }", LACKS),
    (f"@{{ FullyQualifiedErrorId = 'HRESULT 0x80041001,{CIM}' }}", OTHER),
    (f"@{{ FullyQualifiedErrorId = 'HRESULT 0x800106ba,{CIM}' }}", OTHER),
    ("@{ FullyQualifiedErrorId = 'Zugriff verweigert' }", OTHER),
    ("$null", OTHER),
]  # fmt: skip


@pytest.mark.parametrize("mode", ["FullLanguage", "ConstrainedLanguage"])
def test_a_reason_is_told_by_numbers_and_identifiers(executor: Executor, mode: str) -> None:
    script = "\n".join(f"Get-Reason {failure}" for failure, _ in REASONS)
    for culture in ("", "tr-TR"):
        (result,) = executor.run({"format": 1, "computer": "SRV01"}, [Job(script, mode, culture)])
        assert result.error is None
        assert list(zip((one for one, _ in REASONS), result.output, strict=True)) == REASONS


def test_errors_of_the_engine_itself_in_a_bundle(pwsh: Run) -> None:
    script = (
        "$found = @()\n"
        "foreach ($n in 1..4) { try {\n"
        "if ($n -eq 1) { Get-Nothing }\n"
        "if ($n -eq 2) { $null = [System.Text.StringBuilder]::new() }\n"
        "if ($n -eq 3) { $null = [System.Text.StringBuilder]'x' }\n"
        "if ($n -eq 4) { throw 'denied' }\n"
        "$found += 'none' } catch { $found += Get-Reason $_ } }\n"
        "$times = @(foreach ($one in [datetime]'2026-01-02T03:04:05Z', 'text', $null) { ConvertTo-Utc $one })\n"
        "ConvertTo-Json -InputObject @{ found = @(@{ reasons = $found; times = $times }) } -Compress -Depth 4"
    )
    manifest = Manifest(
        name="x", title="x", schema=1, interval=60, timeout=5, cost="C1", owner="t", fields={"f": Field(type="int")}
    )
    bundle = powershell_bundle([Collector(manifest=manifest, folder="", windows=script)]).text
    for mode, forbidden in (("FullLanguage", "none"), ("ConstrainedLanguage", LACKS)):
        (line,) = pwsh(f"$ExecutionContext.SessionState.LanguageMode = '{mode}'\n{bundle}")
        document = read_part(line).document
        times = ["2026-01-02T03:04:05.0000000Z", "text", None]
        assert document == {"found": [{"reasons": [LACKS, forbidden, forbidden, OTHER], "times": times}]}
