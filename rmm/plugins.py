"""Finds transports, channels and reports by their file's name; only what is asked for is imported."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rmm.errors import ConfigError, UnsupportedError


def build(kind: str, plugin: str, /, **options: Any) -> Any:
    """A plugin by name: `rmm/<kind>/<name>.py` with `build()`, or an entry point of the group `rmm.<kind>`."""
    if not plugin.isidentifier():
        raise ConfigError(f"{plugin!r} is not the name of anything in {kind}")
    module = f"rmm.{kind}.{plugin}"
    try:
        return _imported(kind, plugin).build(**options)
    except ModuleNotFoundError as error:
        if error.name != module:
            extra = {"asyncssh": "ssh", "apprise": "apprise"}.get(error.name or "", "")
            fix = f"pip install 'mytech-rmm[{extra}]'" if extra else f"install the package {error.name}"
            raise UnsupportedError(
                f"{kind} {plugin} needs {error.name}, which is not installed",
                code="missing.package",
                hint=f"{fix}.",
                status="CONFIG",
            ) from error
        return _outside(kind, plugin, error, options)


def _imported(kind: str, plugin: str) -> Any:
    """The plugin's module; what a package that it needs raises while it loads is told as what it is."""
    try:
        return importlib.import_module(f"rmm.{kind}.{plugin}")
    except ModuleNotFoundError:
        raise
    except Exception as error:
        said = f"{type(error).__name__}: {error}"[:300]
        raise UnsupportedError(
            f"{kind} {plugin} cannot be loaded: {said}",
            code="missing.package",
            hint="A package that it needs is broken: install it again (pip install --force-reinstall).",
            status="CONFIG",
        ) from error


def _outside(kind: str, name: str, error: ModuleNotFoundError, options: Mapping[str, Any]) -> Any:
    from importlib.metadata import entry_points

    for entry in entry_points(group=f"rmm.{kind}", name=name):
        return entry.load()(**options)
    folder = Path(__file__).parent / kind
    known = sorted(
        path.stem for path in folder.iterdir() if not path.stem.startswith("_") and path.suffix in ("", ".py")
    )
    raise ConfigError(f"there is no {name!r} in {kind}; there are {', '.join(known)}") from error
