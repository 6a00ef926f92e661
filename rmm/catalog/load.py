"""Finds and loads collector folders; every problem of every folder is reported at once, with file, line and key."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from rmm.catalog.manifest import build_manifest
from rmm.catalog.rules_of_manifests import manifest_problems
from rmm.document import Document, Problem, dotted, read_document
from rmm.errors import CatalogError
from rmm.model.collector import Collector, Manifest

log = logging.getLogger(__name__)

MANIFEST, WINDOWS, LINUX = "collector.yaml", "collect.ps1", "collect.sh"
MAX_FILE = 512 << 10


def load_catalog(folders: Sequence[Path], *, lenient: Sequence[Path] = ()) -> dict[str, Collector]:
    """All collectors of `folders`, by name, in the order of the folders and then of the names.

    In manifests of `lenient` folders, which are more of them, keys that are not known are ignored.

    Raises:
        CatalogError: with every problem; then no collector can be used.
    """
    collectors: dict[str, Collector] = {}
    problems: list[str] = []
    for folder in (*folders, *lenient):
        if not folder.is_dir():
            problems.append(f"{folder}: no such folder")
            continue
        for place in sorted(path for path in folder.iterdir() if (path / MANIFEST).is_file()):
            collector, found = read_collector(place, lenient=folder in lenient)
            problems += found
            if collector is None:
                continue
            if collector.name in collectors:
                problems.append(f"{place}: the name {collector.name} is taken by {collectors[collector.name].folder}")
            else:
                collectors[collector.name] = collector
    problems += _twice(collectors)
    if problems:
        raise CatalogError(problems=tuple(problems))
    return collectors


def read_collector(folder: Path, *, lenient: bool = False) -> tuple[Collector | None, list[str]]:
    """One folder: the collector (None where nothing can be made of it) and its problems as `file:line: key: text`."""
    path = folder / MANIFEST
    try:
        text = _text(path)
        scripts = {name: _text(folder / name) if (folder / name).is_file() else "" for name in (WINDOWS, LINUX)}
    except (OSError, ValueError) as error:
        return None, [f"{path}: cannot be read: {error}"]
    document = read_document(text, lenient=lenient)
    manifest, problems = build_manifest(document)
    if manifest is not None:
        found = manifest_problems(manifest, folder.name, has_windows=bool(scripts[WINDOWS]), linux=bool(scripts[LINUX]))
        problems += [Problem(document.line(place), dotted(place), message) for place, message in found]
    lines = [_shown(path, problem) for problem in sorted(set(problems))]
    for problem in document.ignored or ():
        log.warning("%s", _shown(path, problem))
    if manifest is None or lines:
        return None, lines
    return Collector(manifest=manifest, folder=str(folder), windows=scripts[WINDOWS], linux=scripts[LINUX]), []


def _shown(path: Path, problem: Problem) -> str:
    return f"{path}:{problem.line}: {problem.key + ': ' if problem.key else ''}{problem.message}"


def _text(path: Path) -> str:
    if path.stat().st_size > MAX_FILE:
        raise ValueError(f"{path.name} is larger than {MAX_FILE} bytes")
    return path.read_text(encoding="utf-8-sig")


def _twice(collectors: dict[str, Collector]) -> list[str]:
    """Rules have one name space over all collectors."""
    owners: dict[str, str] = {}
    problems = []
    for collector in collectors.values():
        for rule in collector.manifest.rules:
            if rule.id in owners:
                problems.append(f"{collector.folder}: rule {rule.id} is also in {owners[rule.id]}")
            owners.setdefault(rule.id, collector.folder)
    return problems


__all__ = ["LINUX", "MANIFEST", "WINDOWS", "Document", "Manifest", "load_catalog", "read_collector"]
