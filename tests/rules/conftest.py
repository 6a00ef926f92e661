"""What is tried on a coordinator is made as in its own tests."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "coordinator"))
