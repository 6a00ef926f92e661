"""WS-Enumeration of WQL queries (DSP0226 8), with instances as Windows writes them."""

from __future__ import annotations

import uuid
from collections import OrderedDict
from datetime import datetime
from typing import Any

from rmm.lab.machine import CimFault, CimInstances, Machine
from rmm.lab.wire.soap import Call, N, W, WsmanFault, escape

WQL = "http://schemas.microsoft.com/wbem/wsman/1/WQL"
PREFIXES = ("http://schemas.microsoft.com/wbem/wsman/1/wmi/", "http://schemas.dmtf.org/wbem/wscim/1/")
KEPT = 64  # open enumerations of one machine
CIM = "http://schemas.dmtf.org/wbem/wscim/1/common"
XSI = "http://www.w3.org/2001/XMLSchema-instance"


class Enumerations:
    """The open enumerations of one connection."""

    def __init__(self) -> None:
        self._open: OrderedDict[str, list[str]] = OrderedDict()

    def enumerate(self, call: Call, machine: Machine, now: datetime) -> str:
        """The body of an EnumerateResponse."""
        query = next(iter(call.body.iter(f"{{{W}}}Filter")), None)
        if query is None or query.get("Dialect") != WQL:
            raise WsmanFault(
                2150858778, "w:FilteringNotSupported", "Only filters of the WQL dialect are supported here."
            )
        try:
            found = machine.query(_namespace(call.resource), (query.text or "").strip(), now)
        except CimFault as fault:
            raise WsmanFault(fault.code, "w:InternalError", fault.message, sender=False) from fault
        items = _items(found)
        if call.body.find(f"{{{W}}}OptimizeEnumeration") is None:
            return f"<n:EnumerateResponse>{self._context(items)}</n:EnumerateResponse>"
        now_items, rest = self._page(call, items)
        held = f"<w:Items>{''.join(now_items)}</w:Items>"
        end = self._context(rest) if rest else "<n:EnumerationContext/>"
        return f"<n:EnumerateResponse>{end}{held}{'' if rest else '<w:EndOfSequence/>'}</n:EnumerateResponse>"

    def pull(self, call: Call) -> str:
        """The body of a PullResponse."""
        name = (call.body.findtext(f"{{{N}}}EnumerationContext") or "").strip()
        items = self._open.pop(name, None)
        if items is None:
            raise WsmanFault(2150858755, "n:InvalidEnumerationContext", "The enumeration context is not valid.")
        now_items, rest = self._page(call, items)
        held = f"<n:Items>{''.join(now_items)}</n:Items>"
        end = "" if rest else "<n:EndOfSequence/>"
        return f"<n:PullResponse>{self._context(rest) if rest else ''}{held}{end}</n:PullResponse>"

    def _context(self, items: list[str]) -> str:
        name = f"uuid:{uuid.uuid4()}".upper()
        self._open[name] = items
        if len(self._open) > KEPT:
            self._open.popitem(last=False)
        return f"<n:EnumerationContext>{name}</n:EnumerationContext>"

    def _page(self, call: Call, items: list[str]) -> tuple[list[str], list[str]]:
        text = next((element.text for element in call.body.iter(f"{{{W}}}MaxElements", f"{{{N}}}MaxElements")), None)
        most = int(text) if text and text.strip().isdigit() else 1
        room = call.size - 4000
        count = 0
        while count < min(most, len(items)) and (count == 0 or room > len(items[count])):
            room -= len(items[count])
            count += 1
        return items[:count], items[count:]


def shell_xml(shell: Any, idle: float) -> str:
    """A shell, which was idle for so many seconds ([MS-WSMV] 2.2.4.37)."""
    incoming, outgoing = shell.streams
    return (
        f"<rsp:Shell><rsp:ShellId>{shell.id}</rsp:ShellId><rsp:Name>{escape(shell.name)}</rsp:Name>"
        f"<rsp:ResourceUri>{escape(shell.uri)}</rsp:ResourceUri><rsp:Owner>{escape(shell.owner)}</rsp:Owner>"
        f"<rsp:ClientIP>127.0.0.1</rsp:ClientIP><rsp:IdleTimeOut>PT{shell.idle_s:.3f}S</rsp:IdleTimeOut>"
        f"<rsp:InputStreams>{incoming}</rsp:InputStreams><rsp:OutputStreams>{outgoing}</rsp:OutputStreams>"
        f"<rsp:BufferMode>{shell.buffer_mode}</rsp:BufferMode>"
        f"<rsp:State>{'Connected' if shell.connected else 'Disconnected'}</rsp:State>"
        f"<rsp:ShellInactivity>P0DT0H0M{idle:.0f}S</rsp:ShellInactivity></rsp:Shell>"
    )


def shell_list(shells: list[tuple[Any, float]]) -> str:
    """The EnumerateResponse of a machine's shells, with the seconds for which each was idle ([MS-WSMV] 3.1.4.9)."""
    return _listed("".join(shell_xml(shell, idle) for shell, idle in shells))


def command_list(call: Call, shells: list[Any]) -> str:
    """The EnumerateResponse of the commands of one of these shells: the one that the filter selects."""
    wanted = [(element.text or "").strip().upper() for element in call.body.iter(f"{{{W}}}Selector")]
    if len(wanted) != 1:
        raise WsmanFault(2150859200, "w:InternalError", "A filter with the ShellId is expected.")
    commands = [command for shell in shells if shell.id == wanted[0] for command in shell.commands.values()]
    return _listed(
        "".join(
            f"<rsp:Command><rsp:CommandId>{command.id}</rsp:CommandId><rsp:CommandLine></rsp:CommandLine>"
            f"<rsp:CommandState>{'Done' if command.ended else 'Running'}</rsp:CommandState></rsp:Command>"
            for command in commands
        )
    )


def _listed(rows: str) -> str:
    return (
        f"<n:EnumerateResponse><n:EnumerationContext/><w:Items>{rows}</w:Items><w:EndOfSequence/></n:EnumerateResponse>"
    )


def _namespace(resource: str) -> str:
    for prefix in PREFIXES:
        if resource.startswith(prefix):
            return resource.removeprefix(prefix).rpartition("/")[0]
    raise WsmanFault(2150858811, "w:InvalidResourceURI", "The resource URI is not supported by this service.")


def _items(found: CimInstances) -> list[str]:
    uri = f"http://schemas.microsoft.com/wbem/wsman/1/wmi/{found.namespace}/{found.class_name}"
    head = f'<w:XmlFragment xmlns:p="{uri}" xmlns:xsi="{XSI}" xmlns:cim="{CIM}">'
    return [
        f"{head}{''.join(_element(name, value) for name, value in row.items())}</w:XmlFragment>" for row in found.rows
    ]


def _element(name: str, value: Any) -> str:
    if value is None:
        return f'<p:{name} xsi:nil="true"/>'
    if isinstance(value, list):
        return "".join(_element(name, item) for item in value)
    if isinstance(value, bool):
        return f"<p:{name}>{'true' if value else 'false'}</p:{name}>"
    if isinstance(value, datetime):
        return f"<p:{name}><cim:Datetime>{value.isoformat().replace('+00:00', 'Z')}</cim:Datetime></p:{name}>"
    return f"<p:{name}>{escape(_clean(str(value)))}</p:{name}>"


def _clean(text: str) -> str:
    return "".join(character for character in text if character >= " " or character in "\t\n\r")
