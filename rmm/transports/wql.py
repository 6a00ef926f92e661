"""The native transport, for endpoints that are read by WQL alone: no PowerShell process ever starts there."""

from __future__ import annotations

from rmm.ports import AuthGate
from rmm.transports.winrm import WinrmTransport


def build(*, gate: AuthGate, **_: object) -> WinrmTransport:
    """The plugin entry. The poller sends no script to a transport of this name."""
    return WinrmTransport(gate, name="wql")
