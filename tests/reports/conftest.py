"""Puts this folder's own modules on the path; fleets that reports are made of."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import sampled


@pytest.fixture(scope="session")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The configuration folder of 12 endpoints with the collectors' samples and ten days of history."""
    made: Path = sampled.build(tmp_path_factory.mktemp("sampled"), 12, days=10)
    return made


@pytest.fixture(scope="session")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, with something hostile in every text that an endpoint wrote."""
    made: Path = sampled.build(tmp_path_factory.mktemp("hostile"), 12, days=6, hostile=True)
    return made
