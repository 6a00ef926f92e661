"""What many samples come to: `Rollup`."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple


class Rollup(NamedTuple):
    """The samples of one metric in one hour or day, of UTC; there is none where there was no sample."""

    at: datetime  # when the hour or day begins, UTC
    samples: int  # how many, at least 1
    min: float
    mean: float
    max: float
    last: float
