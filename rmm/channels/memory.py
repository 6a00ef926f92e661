"""The in-memory twin of a channel, for tests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rmm.errors import RmmError
from rmm.model.rule import Notification


class MemoryChannel:
    """`ports.Channel`; `broken` makes every delivery fail."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.sent: list[Notification] = []
        self.broken = False

    async def send(self, notification: Notification, *, deadline: float) -> str:
        """Keep it."""
        if self.broken:
            raise RmmError("this channel is broken", code="channel.failed")
        self.sent.append(notification)
        return str(len(self.sent))


def build(*, name: str, options: Mapping[str, Any]) -> MemoryChannel:
    """No options."""
    return MemoryChannel(name)
