"""Leases over the memory bus and over a real broker; the modules of brokers and of rounds are on the path."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "bus"), str(HERE.parent / "poller")]
