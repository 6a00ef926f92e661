"""Checks whole collector folders: manifest, scripts, queries, samples."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from rmm.catalog.check.commands import command_marks
from rmm.catalog.check.finding import Finding, Mark, text, walk
from rmm.catalog.check.members import member_marks
from rmm.catalog.check.own_parser import Script, own_findings
from rmm.catalog.check.queries import query_marks, query_problem
from rmm.catalog.check.syntax import parse, syntax_marks
from rmm.catalog.load import LINUX, MANIFEST, WINDOWS, read_collector
from rmm.document import read_document
from rmm.model.collector import Collector

MAX_LINES = 300
_SHOWN = re.compile(r"(?P<file>.*?):(?P<line>[0-9]+): (?P<message>.*)", re.DOTALL)
_SHELL_WRITES = re.compile(r"(?<![<&0-9])(?:[0-9]?>>?)\s*(?!&|/dev/null|\$|=)(?P<file>[A-Za-z./~\"'][^\s;|]*)")


def check_folders(folders: Sequence[Path], powershell: str = "") -> list[Finding]:
    """Every finding of every collector folder below `folders`, or of a folder that is itself a collector.

    `powershell`: the program whose own parser is asked too.
    """
    found: list[Finding] = []
    scripts: list[Script] = []
    for folder in folders:
        places = [folder] if (folder / MANIFEST).is_file() else sorted(p.parent for p in folder.glob(f"*/{MANIFEST}"))
        if not places:
            found.append(Finding(str(folder), 1, 1, "folder", f"no {MANIFEST} here or one level below"))
        for place in places:
            found += check_folder(place)
            if (place / WINDOWS).is_file():
                scripts.append(Script(str(place / WINDOWS), _text(place / WINDOWS)))
    if not powershell:
        return found
    # What both parsers see at one place is said once, in the order of the files.
    seen = {finding[:4] for finding in found}
    more = [one for each in own_findings(powershell, scripts) for one in each if one[:4] not in seen]
    return [*found, *more] if not more else sorted([*found, *more])


def check_folder(folder: Path) -> list[Finding]:
    """Every finding of one collector, in the order of its files and lines."""
    collector, problems = read_collector(folder)
    found = [_from_manifest(folder, problem) for problem in problems]
    windows, linux = folder / WINDOWS, folder / LINUX
    if windows.is_file():
        found += check_script(_text(windows), str(windows))
    if linux.is_file():
        found += check_shell(_text(linux), str(linux))
    if collector is not None:
        found += _queries(folder, collector)
        found += _samples(folder, collector)
    return sorted(found)


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8-sig", errors="replace")


def check_script(source: str, file: str) -> list[Finding]:
    """Findings in a PowerShell script."""
    root = parse(source)
    marks: list[Mark] = list(syntax_marks(root))
    if not any(mark.rule == "syntax" for mark in marks):
        marks += [*command_marks(root), *member_marks(root), *query_marks(root)]
        marks += _emits(root)
    found = [_placed(mark, file, source) for mark in marks]
    if (count := source.count("\n") + 1) > MAX_LINES:
        found.append(Finding(file, MAX_LINES + 1, 1, "length", f"{count} lines; at most {MAX_LINES}"))
    return sorted(set(found))


def _emits(root: object) -> Iterable[Mark]:
    """The document is written by ConvertTo-Json, compact and deep enough."""
    nodes = [n for n in walk(root) if n.type == "command" and text(n).casefold().startswith("convertto-json")]
    if not nodes:
        yield Mark(root, "document", "the script must write its document with ConvertTo-Json -Compress -Depth N")
    for node in nodes:
        words = text(node).casefold()
        if "-compress" not in words or "-depth" not in words:
            yield Mark(node, "document", "ConvertTo-Json needs -Compress and -Depth")


def check_shell(source: str, file: str) -> list[Finding]:
    """Findings in a POSIX shell script: length, here-documents, files that it would write."""
    found = []
    lines = source.splitlines()
    if len(lines) > MAX_LINES:
        found.append(Finding(file, MAX_LINES + 1, 1, "length", f"{len(lines)} lines; at most {MAX_LINES}"))
    quoted = False
    for number, line in enumerate(lines, start=1):
        if line.lstrip().startswith("#"):
            continue
        if not quoted:
            if "<<" in re.sub(r"\$\(\(.*?\)\)|'[^']*'", "", line):
                found.append(Finding(file, number, line.index("<<") + 1, "one-line", "no here-documents"))
            bare = re.sub(r"'[^']*'|\"(?:[^\"\\]|\\.)*\"", "''", line.split(" '")[0] if line.count("'") % 2 else line)
            if match := _SHELL_WRITES.search(bare):
                column = max(1, line.find(match["file"]) + 1)
                found.append(Finding(file, number, column, "writes", "nothing is written to the endpoint"))
        quoted ^= line.count("'") % 2 == 1
    return found


def _placed(mark: Mark, file: str, source: str) -> Finding:
    row, column = mark.node.start_point
    line = source.encode().split(b"\n")[row] if row < source.count("\n") + 1 else b""
    return Finding(file, row + 1, len(line[:column].decode("utf-8", "replace")) + 1, mark.rule, mark.message)


def _from_manifest(folder: Path, problem: str) -> Finding:
    match = _SHOWN.match(problem)
    if match is None:
        return Finding(str(folder / MANIFEST), 1, 1, "manifest", problem)
    return Finding(match["file"], int(match["line"]), 1, "manifest", match["message"])


def _queries(folder: Path, collector: Collector) -> Iterable[Finding]:
    path = folder / MANIFEST
    document = read_document(path.read_text(encoding="utf-8-sig"))
    for name, source in collector.manifest.sources.items():
        line = document.line(("sources", name, "wql"))
        if not source.wql:
            continue
        if problem := query_problem(source.wql, source.namespace):
            yield Finding(str(path), line, 1, "cim", f"sources.{name}.wql: {problem}")
        if collector.windows and _plain(source.wql) not in _plain(collector.windows):
            message = f"sources.{name}.wql: {WINDOWS} does not ask this very query, so the two forms could differ"
            yield Finding(str(path), line, 1, "same-query", message)


def _plain(wql: str) -> str:
    return " ".join(wql.split()).casefold()


def _samples(folder: Path, collector: Collector) -> Iterable[Finding]:
    names = sorted(path.name for path in (folder / "samples").glob("*.raw.json"))
    if not any("typical" in name for name in names):
        message = "samples/ has no <os>-typical.raw.json"
        yield Finding(str(folder / MANIFEST), 1, 1, "samples", message)
    for name in names:
        if not (folder / "samples" / name.replace(".raw.", ".readings.")).is_file():
            yield Finding(
                str(folder / "samples" / name), 1, 1, "samples", "its readings are missing; run `make golden`"
            )
