"""The project's root on the path: the harness is a package of its own, `tests.crash`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
