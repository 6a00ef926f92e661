"""The rungs below every protocol: name, route, TCP."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from rmm.errors import ConnectError, RmmError, TransportError
from rmm.model.endpoint import Target
from rmm.ports import Look
from rmm.transports.winrm.http import connect
from rmm.transports.winrm.names import addresses
from rmm.transports.winrm.network import connect_error

ROUTES = Path("/proc/net/route")  # Linux: the IPv4 routes of this network namespace, as `ip route` reads them
OTHER_PORT_S = 2.0
OTHERS = {5985: "http", 5986: "https"}


async def name(target: Target, neighbours: Mapping[str, Sequence[str]], deadline: float) -> tuple[Look, list[str]]:
    """Resolve as a poll does; (what was seen, the addresses)."""
    found = await addresses(target, deadline)
    try:
        ipaddress.ip_address(target.host)
        seen = f"{target.host}, given as an address: no name is looked up"
    except ValueError:
        asked = f"the site's name servers ({', '.join(target.dns)})" if target.dns else "this system's resolver"
        more = f", also {', '.join(found[1:5])}; the first is used" if len(found) > 1 else ""
        seen = f"{target.host} is {found[0]}{more}; asked: {asked}"
    facts = {"addresses": found}
    same = [other for other in neighbours.get(found[0], ()) if other]
    if same:
        fix = "Two entries for one machine, or an address that was given to another one: correct the endpoint list."
        shown = ", ".join(same[:5])
        return Look(f"{seen}; {shown} has the same address", "warning", fix, "name.shared", facts), found
    return Look(seen, facts=facts), found


def route(address: str, port: int) -> Look:
    """Which way packets to this address leave; nothing is sent."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((address, port))
            local = str(probe.getsockname()[0])
        except OSError as error:
            raise ConnectError(
                f"there is no route to {address}: {error.strerror or error}",
                code="tcp.no_route",
                hint="Look at the routes and the VPN of this site collector, and whether it has IPv6 where the "
                "address is one.",
            ) from error
    interface, gateway = way(address)
    facts = {"local_address": local, "ipv6": family == socket.AF_INET6, "interface": interface, "gateway": gateway}
    through = f" on {interface}" if interface else ""
    over = f", gateway {gateway}" if gateway else ", in the same network" if interface and interface != "lo" else ""
    return Look(f"from {local}{through}{over}{', IPv6' if ':' in address else ''}", facts=facts)


def way(address: str, routes: Path = ROUTES) -> tuple[str, str]:
    """(interface, gateway) of the most specific IPv4 route; empty where the system does not say."""
    wanted = ipaddress.ip_address(address)
    if wanted.is_loopback:
        return "lo", ""
    if wanted.version == 6 or not routes.exists():
        return "", ""
    best: tuple[int, str, str] = (-1, "", "")
    for line in routes.read_text(encoding="ascii", errors="replace").splitlines()[1:]:
        cells = line.split()
        if len(cells) < 8:
            continue
        network, gateway, mask = (int(struct.pack("=L", int(cells[n], 16)).hex(), 16) for n in (1, 2, 7))
        if int(wanted) & mask == network and mask > best[0]:
            best = (mask, cells[0], str(ipaddress.IPv4Address(gateway)) if gateway else "")
    return best[1], best[2]


async def tcp(target: Target, address: str, deadline: float) -> Look:
    """Connect; where that fails, say which other port of WinRM answers."""
    limit = min(deadline, asyncio.get_running_loop().time() + target.connect_timeout)
    try:
        connection = await connect(address, target.port, deadline=limit)
    except (OSError, TimeoutError) as error:
        failure = connect_error(error, target)
        raise await _with_others(failure, target, address) from error
    connection.abort()
    return Look(f"port {target.port} accepts connections", facts={"port": target.port})


async def _with_others(failure: TransportError, target: Target, address: str) -> TransportError:
    ports = [port for port in OTHERS if port != target.port]
    answers = await asyncio.gather(*(_open(address, port) for port in ports))
    found = [port for port, is_open in zip(ports, answers, strict=True) if is_open]
    if found:
        told = " and ".join(f"{port} is open (scheme: {OTHERS[port]})" for port in found)
        failure.hint = f"{failure.hint} Port {told}: set port and scheme of the endpoint or its site?"
    return failure


async def _open(address: str, port: int) -> bool:
    try:
        connection = await connect(address, port, deadline=asyncio.get_running_loop().time() + OTHER_PORT_S)
    except (OSError, TimeoutError, RmmError):
        return False
    connection.abort()
    return True


def with_detail(look: Look, more: str) -> Look:
    """The same, with more said."""
    return msgspec.structs.replace(look, detail=f"{look.detail}; {more}" if more else look.detail)
