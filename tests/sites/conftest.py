"""A hub's authority, real brokers from the configuration that it writes, and the broker tests' own helpers."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent.parent / "bus"))

from sites_world import Clock, World, brokers

from rmm.hub.authority import Authority


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.create(tmp_path / "hub-config", datetime.now(UTC))


@pytest.fixture
def world(authority: Authority, clock: Clock, tmp_path: Path) -> Iterator[World]:
    """One broker with mutual TLS, and a hub that can be opened on it."""
    with brokers(authority, 1, tmp_path / "brokers") as servers:
        yield World(authority, clock, servers, tmp_path)
