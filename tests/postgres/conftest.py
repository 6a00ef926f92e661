"""Puts the coordinator's test folder on the path, for what its tests and these share."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "coordinator"))
