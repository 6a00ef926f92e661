"""A hub under load, small: what sites publish to a real broker is taken, and the broker keeps nothing of it."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hubside import rows

from bench import hub_broker
from bench.envelopes import STEP_S, configured, make

SITES, ENDPOINTS, ROUNDS = 4, 64, 6


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.skipif(sys.platform != "linux", reason="looks at processes in /proc")
async def test_the_broker_holds_nothing_that_is_committed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_broker, "ENDS_S", 15.0)
    configured(tmp_path, SITES, ENDPOINTS)
    began = datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=STEP_S * ROUNDS)
    for number in range(ROUNDS):
        for site in range(SITES):
            make(str(tmp_path), site, range(site, ENDPOINTS, SITES), number, began, whole=False)
    found = await hub_broker.measure(tmp_path, SITES, ENDPOINTS, ROUNDS, workers=1, history=False)
    assert rows(tmp_path / "data", "SELECT count(*) FROM endpoint") == [(ENDPOINTS,)]
    assert found.most > 0  # it was seen while there was something
    assert (found.left, found.observations) == (0, ENDPOINTS * ROUNDS)
