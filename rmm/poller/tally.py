"""What a round leaves beside its observations."""

from __future__ import annotations

import msgspec

from rmm.model.observation import Fault


class Tally(msgspec.Struct):
    """Counts and faults of one process's part of a round."""

    skipped: int = 0  # held back by back-off, or nothing due
    faults: tuple[Fault, ...] = ()  # of the site collector itself
