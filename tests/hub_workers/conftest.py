"""Hubs with worker processes: the real ones over a real broker, and a worker that only writes down what it gets."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
for folder in (HERE, HERE.parent / "hub", HERE.parent / "bus", HERE.parent / "sites"):
    sys.path.insert(0, str(folder))
