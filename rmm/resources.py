"""Finds what ships beside the code: `collectors/` and `config/`, in a checkout or in an installed wheel."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def shipped(name: str) -> Path:
    """The folder `collectors` or `config` that belongs to this installation.

    The checkout's own folder comes first: an editable install may hold a stale copy inside the package.
    """
    checkout = _PACKAGE.parent / name
    if (_PACKAGE.parent / "pyproject.toml").is_file() and checkout.is_dir():
        return checkout
    return _PACKAGE / f"_{name}"
