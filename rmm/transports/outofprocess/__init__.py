"""PSRP over a byte stream: the line protocol that PowerShell speaks as a child process and as an SSH subsystem."""

from __future__ import annotations

from rmm.core.outofprocess import SESSION, Event, Exchange
from rmm.transports.outofprocess.runspace import Runspace, Stream

__all__ = ["SESSION", "Event", "Exchange", "Runspace", "Stream"]
