"""Stage 7, retry: when a channel that failed is tried again, and when no longer. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

FIRST_S, MOST_S = 1.0, 300.0  # seconds between tries
KEEP = timedelta(days=7)  # how long a message is offered to a channel that does not take it
MOST_OPEN = 10_000  # messages that wait for one channel
REMEMBER = timedelta(days=90)  # how long the log says what was sent


def next_try(failures: int, now: datetime, jitter: float, asked_s: float = 0.0) -> datetime:
    """After so many failures in a row (1 or more): later and later, up to five minutes.

    Args:
        failures: in a row, this one counted.
        now: when it failed.
        jitter: 0 to 1, so that many collectors do not come back at one moment: half of the time is fixed.
        asked_s: how long the channel asked to be left alone (Retry-After); honoured up to an hour.
    """
    wait = min(MOST_S, FIRST_S * 2.0 ** min(failures - 1, 20))
    return now + timedelta(seconds=max(wait * (0.5 + jitter / 2), min(asked_s, 3600.0)))
