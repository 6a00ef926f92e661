"""A hub's configuration folder with two sites, and keys."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from rmm.settings.load import ENVIRONMENT

sys.path.insert(0, str(Path(__file__).parent))

from bundling import Key, write_hub


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def key() -> Key:
    return Key()


@pytest.fixture
def hub(tmp_path: Path) -> Path:
    folder: Path = write_hub(tmp_path / "hub-config")
    return folder


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """The configuration folder of the site hq."""
    folder = tmp_path / "site-config"
    (folder / "site").mkdir(parents=True)
    return folder
