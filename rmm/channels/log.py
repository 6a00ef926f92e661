"""The log channel: one JSON line per notification, appended to a file."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from rmm.errors import ConfigError, TierError
from rmm.model.rule import Notification


class LogChannel:
    """`ports.Channel`."""

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self._path = path

    async def send(self, notification: Notification, *, deadline: float) -> str:
        """Append, with fsync."""
        await asyncio.to_thread(self._append, msgspec.json.encode(notification) + b"\n")
        return str(self._path)

    def _append(self, line: bytes) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("ab") as file:
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise TierError(f"{self._path}: {error.strerror or error}") from error


def build(*, name: str, options: Mapping[str, Any]) -> LogChannel:
    """Option `file`: where to append."""
    unknown = set(options) - {"file"}
    if unknown or not isinstance(options.get("file"), str):
        raise ConfigError(f"channel {name}: the options of type log are: file (a path)")
    return LogChannel(name, Path(options["file"]))
