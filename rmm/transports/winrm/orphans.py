"""Shells that an earlier process of this installation left on an endpoint: listed by WS-Enumeration, deleted by name.

[MS-WSMV] 3.1.4.9; each shell comes with its Name and ResourceUri. A shell of anybody else is never touched, and neither
is one of a live process of this installation: no two of them poll the same endpoint.
"""

from __future__ import annotations

import contextlib
from typing import Any

from rmm.errors import TransportError
from rmm.transports.winrm import envelope
from rmm.transports.winrm.enumeration import instances
from rmm.transports.winrm.envelope import RSP
from rmm.transports.winrm.wsman import Wsman

MOST = 50  # shells that are ended in one poll


async def shells(wsman: Wsman, deadline: float) -> list[dict[str, Any]]:
    """The shells that this account may see: ShellId, Name, ResourceUri, Owner and more, as text."""
    return await instances(wsman, RSP, deadline)


async def reap(wsman: Wsman, name: str, deadline: float) -> int:
    """Delete the shells called `name`; returns how many are gone. What cannot be listed or deleted is left.

    Raises:
        TransportError: only when the connection is lost.
    """
    try:
        found = await shells(wsman, deadline)
    except TransportError:
        if not wsman.usable:
            raise
        return 0  # this account may not list shells: the endpoint ends them after their idle timeout
    count = 0
    for row in [row for row in found if _text(row, "Name") == name][:MOST]:
        identity, resource = _text(row, "ShellId"), _text(row, "ResourceUri")
        with contextlib.suppress(TransportError):
            await wsman.ask(envelope.DELETE, resource, headers=envelope.selector(identity), deadline=deadline)
            count += 1
        if not wsman.usable:
            break
    return count


def _text(row: dict[str, Any], name: str) -> str:
    value = row.get(name)
    return value.strip() if isinstance(value, str) else ""
