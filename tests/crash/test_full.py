"""Some of the full disks of `make crash`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash import full


def test_full_and_read_only_disks_lose_nothing(tmp_path: Path) -> None:
    if reason := full.why_not():
        pytest.skip(reason)
    result = full.run(tmp_path, (0, 32, 64, 128), every=4)
    assert not result.findings, result.findings
    assert set(result.outcomes) == {"disk.full", "disk.read_only", "ended"}
