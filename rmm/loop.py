"""This machine's clock, and the fastest event loop that is installed."""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from datetime import UTC, datetime
from typing import Any

from rmm.errors import RmmError


class SystemClock:
    """`ports.Clock` of this machine."""

    def now(self) -> datetime:
        """UTC now."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds of a clock that nobody sets."""
        return time.monotonic()


def run(main: Any) -> Any:
    """Run a coroutine on the fastest event loop that is installed."""
    # Readings are many small dictionaries without cycles: looking for cycles after every 700 costs a tenth of a round.
    gc.set_threshold(10_000, 10, 10)
    factory = None
    try:
        if sys.platform == "win32":
            import winloop  # type: ignore[import-not-found, unused-ignore]

            factory = winloop.new_event_loop
        else:
            import uvloop

            factory = uvloop.new_event_loop
    except ImportError:
        factory = None  # the standard loop serves as well, about a tenth slower
    try:
        with asyncio.Runner(loop_factory=factory) as runner:
            return runner.run(main)
    except KeyboardInterrupt as error:
        raise RmmError("stopped", code="stopped", hint="") from error
