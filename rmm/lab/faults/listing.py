"""The endpoint list leads elsewhere: `port: closed | dropped`, or `swap: INDEX` (the address of another machine).

closed: nothing listens, so the system refuses at once. dropped: a listener whose queue is full, so that the system
drops what would connect, as a firewall does. `columns` overrides any column of endpoints.csv.
"""

from __future__ import annotations

import socket

from rmm.lab.faults.plan import Fault
from rmm.lab.fleet import address_of
from rmm.lab.machine import Machine

FILLERS = 3


class Listing(Fault):
    def __init__(self, port: str, swap: int | None, columns: dict[str, str]) -> None:
        self._port = port
        self._swap = swap
        self._columns = columns
        self._kept: list[socket.socket] = []  # for as long as the lab lives

    def configured(self, machine: Machine, columns: dict[str, str]) -> bool:
        if self._swap is not None:
            columns["IPAddress"] = address_of(self._swap)
        if self._port:
            columns["IPAddress"] = machine.address
            columns["Port"] = str(
                self._closed(machine.address) if self._port == "closed" else self._full(machine.address)
            )
        columns.update(self._columns)
        return True

    def _closed(self, address: str) -> int:
        """A port that is taken, so nobody else listens on it, and not listened on."""
        held = socket.socket()
        held.bind((address, 0))
        self._kept.append(held)
        return int(held.getsockname()[1])

    def _full(self, address: str) -> int:
        listener = socket.socket()
        listener.bind((address, 0))
        listener.listen(0)
        self._kept.append(listener)
        for _ in range(FILLERS):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
            self._kept.append(filler)
        return int(listener.getsockname()[1])

    def __del__(self) -> None:
        for one in self._kept:
            one.close()


def build(port: str = "", swap: int | None = None, columns: dict[str, str] | None = None) -> Listing:
    if port not in ("", "closed", "dropped"):
        raise ValueError("`port` is closed or dropped")
    return Listing(port, swap, {name: str(value) for name, value in (columns or {}).items()})
