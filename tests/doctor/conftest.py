import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from climbing import engine, lab_in

__all__ = ["engine", "lab_in"]
