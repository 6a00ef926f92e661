"""Connections are accepted and never answered."""

from __future__ import annotations

from rmm.lab.faults.connection import build as _build
from rmm.lab.faults.plan import Fault


def build() -> Fault:
    return _build("silence", "connect")
