"""Some of the failing calls of `make crash`, and that the harness sees what it is there to see."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash import failing


@pytest.fixture(autouse=True)
def _possible() -> None:
    if reason := failing.why_not():
        pytest.skip(reason)


def test_calls_that_fail_lose_nothing(tmp_path: Path) -> None:
    result = failing.run(tmp_path, 1, every=700)
    assert not result.findings, result.findings
    assert {"full: disk.full", "I/O error: disk.io"} <= set(result.outcomes)


def test_an_acknowledgement_without_its_sync_is_seen(tmp_path: Path) -> None:
    result = failing.run(tmp_path, 1, steps=("a long round",), calls=(28, 40), careless=True)
    assert any("does not know" in what for _, wrong in result.findings for what in wrong), result
