"""Real brokers: this folder's modules are on the path, for other test folders too."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
