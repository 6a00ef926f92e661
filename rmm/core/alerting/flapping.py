"""Does an alert come and go too often to be told each time? Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

from rmm.model.alerting import Flapping
from rmm.model.incident import Flap

MOST = 100  # moments that are kept of one alert; what has flapped so often flaps


def turned(known: Flap | None, key: str, at: datetime, limits: Flapping) -> Flap:
    """It fired or was resolved at a moment. It flaps from the transition on that is one too many in the window."""
    since = known.since if known is not None else None
    times = [one for one in (known.times if known else ()) if timedelta(0) <= at - one < window(limits)]
    times.append(at)
    if since is None and len(times) >= limits.transitions:
        since = at
    return Flap(key, tuple(times[-MOST:]), since)


def calm(flap: Flap, now: datetime, limits: Flapping) -> bool:
    """Whether it has done neither for long enough; what does not flap is calm when its window has passed."""
    length = timedelta(seconds=limits.calm) if flap.since is not None else window(limits)
    return abs(now - flap.times[-1]) >= length


def window(limits: Flapping) -> timedelta:
    """How far back transitions are counted."""
    return timedelta(seconds=limits.window)
