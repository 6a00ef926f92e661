"""A hub on real databases, over the memory bus, with time that the test moves."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from rmm.channels.memory import MemoryChannel

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "bus"))

from hubside import Keys, Time


@pytest.fixture
def clock() -> Time:
    return Time()


@pytest.fixture
def channel() -> MemoryChannel:
    return MemoryChannel("memory")


@pytest.fixture
def keys() -> Keys:
    return Keys(("berlin", "c1"), ("berlin", "c2"), ("lyon", "c1"))
