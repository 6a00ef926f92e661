"""Shells that an earlier process of this installation left on an endpoint: listed by WS-Enumeration, deleted by name.

[MS-WSMV] 3.1.4.9; each shell comes with its Name and ResourceUri. A shell of anybody else is never touched, and neither
is one of a live process of this installation: no two of them poll the same endpoint.
"""

from __future__ import annotations

import contextlib
from typing import Any

from rmm.errors import TransportError
from rmm.transports.winrm import envelope
from rmm.transports.winrm.envelope import RSP, N
from rmm.transports.winrm.wsman import Wsman

PAGE = 500
MOST = 50  # shells that are ended in one poll
_LIST = f'<n:Enumerate xmlns:n="{N}"><w:OptimizeEnumeration/><w:MaxElements>{PAGE}</w:MaxElements></n:Enumerate>'


async def shells(wsman: Wsman, deadline: float) -> list[dict[str, Any]]:
    """The shells that this account may see: ShellId, Name, ResourceUri, Owner and more, as text.

    One page: an endpoint that holds more than PAGE shells is not ours to tidy up.
    """
    answer = await wsman.ask(envelope.ENUMERATE, RSP, body=_LIST, deadline=deadline)
    found, _ = envelope.items(answer)
    return found


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
    for row in [row for row in found if row.get("Name") == name][:MOST]:
        identity, resource = row.get("ShellId"), row.get("ResourceUri")
        if not isinstance(identity, str) or not isinstance(resource, str):
            continue
        with contextlib.suppress(TransportError):
            await wsman.ask(envelope.DELETE, resource, headers=envelope.selector(identity), deadline=deadline)
            count += 1
        if not wsman.usable:
            break
    return count
