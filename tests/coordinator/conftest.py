"""A coordinator on a real database, with time that the test moves."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from rmm.channels.memory import MemoryChannel
from rmm.coordinator import Coordinator
from rmm.ports import Channel
from rmm.settings.rules import shipped_rules

sys.path.insert(0, str(Path(__file__).parent))

from folding import AT_ONCE, CPU, DISK, KEYS, Opener, Time


@pytest.fixture
def clock() -> Time:
    return Time()


@pytest.fixture
def channel() -> MemoryChannel:
    return MemoryChannel("memory")


@pytest.fixture
def opened(tmp_path: Path, clock: Time, channel: MemoryChannel) -> Opener:
    def make(folder: str = "data", channels: list[Channel] | None = None, rules: Any = None) -> Any:
        return Coordinator.open(
            tmp_path / folder,
            rules=[*shipped_rules(), CPU, DISK] if rules is None else rules,
            keys=KEYS,
            channels=[channel] if channels is None else channels,
            clock=clock,
            settings=AT_ONCE,
        )

    return make
