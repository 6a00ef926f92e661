"""Puts this folder's own modules on the path; fleets that reports are made of."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import sampled

from rmm.app import open_app
from rmm.model.report import Document
from rmm.report_run import asked_for, compose
from rmm.settings.reports import report_names


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


@pytest.fixture(scope="session")
def documents(hostile: Path) -> Mapping[str, Document]:
    """Every report of the hostile fleet."""
    now = datetime.now(UTC)
    app = open_app(hostile, lambda: "")
    asked = asked_for(now, now - timedelta(days=5), now, "", "")
    return {name: compose(app, name, asked) for name in report_names()}
