"""The connection is reset as soon as it is accepted; `listing` with `port: closed` is a port that nobody listens on."""

from __future__ import annotations

from rmm.lab.faults.connection import build as _build
from rmm.lab.faults.plan import Fault


def build() -> Fault:
    return _build("reset", "connect")
