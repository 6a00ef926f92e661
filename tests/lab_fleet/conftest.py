from __future__ import annotations

from datetime import UTC, datetime

import pytest

from rmm.lab.fleet import LabFleet

STARTED = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)


@pytest.fixture(scope="session")
def fleet() -> LabFleet:
    return LabFleet(400, seed=7, started=STARTED)


@pytest.fixture(scope="session")
def started() -> datetime:
    return STARTED
