"""WS-Enumeration (DSP0226 8): the instances of a resource, optimised, so usually one request."""

from __future__ import annotations

from typing import Any
from xml.sax.saxutils import escape

from rmm.errors import ProtocolError
from rmm.transports.winrm import envelope
from rmm.transports.winrm.envelope import N
from rmm.transports.winrm.wsman import Wsman

MOST_INSTANCES = 5000
PAGE = 500


async def instances(wsman: Wsman, resource: str, deadline: float, *, wanted: str = "") -> list[dict[str, Any]]:
    """The instances, at most MOST_INSTANCES; `wanted` is a w:Filter element. Values are those of `envelope.items`."""
    options = f"<w:OptimizeEnumeration/><w:MaxElements>{PAGE}</w:MaxElements>{wanted}"
    body = f'<n:Enumerate xmlns:n="{N}">{options}</n:Enumerate>'
    answer = await wsman.ask(envelope.ENUMERATE, resource, body=body, deadline=deadline)
    found, context = envelope.items(answer)
    while context and len(found) < MOST_INSTANCES:
        body = (
            f'<n:Pull xmlns:n="{N}"><n:EnumerationContext>{escape(context)}</n:EnumerationContext>'
            f"<n:MaxElements>{PAGE}</n:MaxElements></n:Pull>"
        )
        answer = await wsman.ask(envelope.PULL, resource, body=body, deadline=deadline)
        more, context = envelope.items(answer)
        if not more and context:
            raise ProtocolError("an enumeration that goes on without instances", code="wsman.enumeration")
        found += more
    return found
