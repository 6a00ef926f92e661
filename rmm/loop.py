"""This machine's clock, and the fastest event loop that is installed."""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
import threading
import time
from datetime import UTC, datetime
from typing import Any

from rmm.errors import RmmError


class SystemClock:
    """`ports.Clock` of this machine."""

    def now(self) -> datetime:
        """UTC now, in whole milliseconds: history need not keep what no clock of a fleet agrees on."""
        at = datetime.now(UTC)
        return at.replace(microsecond=at.microsecond // 1000 * 1000)

    def monotonic(self) -> float:
        """Seconds of a clock that nobody sets."""
        return time.monotonic()


def awake() -> float:
    """Seconds of a clock that nobody sets, and which goes on while the machine sleeps.

    Linux: CLOCK_BOOTTIME, as CLOCK_MONOTONIC stands still meanwhile. macOS: CLOCK_MONOTONIC goes on, and is not what
    `time.monotonic` reads. Windows: `time.monotonic` (GetTickCount64, since 3.13 QueryPerformanceCounter) counts sleep.
    """
    if sys.platform == "win32":
        return time.monotonic()
    else:  # so that the types of either platform are checked
        return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


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
            return runner.run(_until_terminated(main))
    except KeyboardInterrupt as error:
        raise RmmError("stopped", code="stopped", hint="") from error


async def _until_terminated(main: Any) -> Any:
    """As `main`, which SIGTERM cancels like Ctrl-C does: what was read is kept, sessions are closed."""
    # Windows ends a process without a word to it, and the main thread alone hears of signals.
    if sys.platform == "win32" or threading.current_thread() is not threading.main_thread():
        result = await main
    else:
        result = await _heeding_sigterm(main)
    return result


async def _heeding_sigterm(main: Any) -> Any:
    running = asyncio.current_task()
    assert running is not None
    told = False

    def terminate() -> None:
        nonlocal told
        told = True
        running.cancel()

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, terminate)
    try:
        return await main
    except asyncio.CancelledError as error:
        if not told:
            raise
        raise RmmError("stopped by SIGTERM; what was read until then is kept", code="terminated", hint="") from error
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
