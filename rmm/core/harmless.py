"""Text that comes from elsewhere, made harmless for a terminal. Pure."""

from __future__ import annotations

import re
from typing import Any

# C0 and C1 controls, and the marks that reorder text: a machine's own texts may not steer a terminal.
_STEERING = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def clean(value: Any) -> str:
    """A value as one line of harmless text."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.1f}" if abs(value) < 1e15 else f"{value:g}"
    if isinstance(value, list | tuple):
        return ", ".join(clean(item) for item in value)
    return _STEERING.sub(" ", str(value))
