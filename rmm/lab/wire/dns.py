"""The lab's name server: A records of its machines over UDP on 127.0.0.1, with faults."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

from rmm.lab.faults.plan import Plan
from rmm.lab.machine import Fleet

TTL = 60


class NameServer(asyncio.DatagramProtocol):
    """Answers for `<dns name>` and `<computer name>` of every machine, NXDOMAIN for the rest.

    A fault's `resolved` gives one of: `nxdomain`, `servfail`, `drop`, an address to answer instead, or a number of
    seconds by which the answer is late.
    """

    def __init__(self, fleet: Fleet, plan: Plan) -> None:
        self._machines = {name.lower(): machine for machine in fleet for name in (machine.dns_name, machine.name)}
        self._plan = plan
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        try:
            query = dns.message.from_wire(data)
            question = query.question[0]
        except Exception:  # whatever arrives: a name server drops what is no query
            return
        answer = dns.message.make_response(query)
        name = question.name.to_text(omit_final_dot=True).lower()
        machine = self._machines.get(name)
        address, delay = (machine.address if machine else ""), 0.0
        faults = self._plan.of(machine) if machine is not None else None
        for fault in faults.strike("resolved") if faults is not None else ():
            told = fault.resolved(name, address)
            if told == "drop":
                return
            if told in ("nxdomain", "servfail"):
                address = f"!{told}"
            elif isinstance(told, int | float):
                delay = float(told)
            elif told:
                address = str(told)
        if address in ("", "!nxdomain"):
            answer.set_rcode(dns.rcode.NXDOMAIN)
        elif address == "!servfail":
            answer.set_rcode(dns.rcode.SERVFAIL)
        elif question.rdtype == dns.rdatatype.A:
            answer.answer.append(dns.rrset.from_text(question.name, TTL, "IN", "A", address))
        asyncio.get_running_loop().call_later(delay, self._send, answer.to_wire(), addr)

    def _send(self, data: bytes, addr: Any) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.sendto(data, addr)


async def serve_names(fleet: Fleet, plan: Plan) -> tuple[asyncio.DatagramTransport, int]:
    """Start one; returns it with its port."""
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: NameServer(fleet, plan), local_addr=("127.0.0.1", 0)
    )
    return transport, int(transport.get_extra_info("sockname")[1])
