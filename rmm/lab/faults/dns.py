"""The name server. Option `answer`: nxdomain, servfail, drop, an address, or seconds by which it is late.

For labs that are reached by name (`by_name: true` of a scenario).
"""

from __future__ import annotations

from rmm.lab.faults.plan import Fault


class Dns(Fault):
    def __init__(self, answer: str | float) -> None:
        self._answer = answer

    def resolved(self, name: str, address: str) -> str | float:
        return self._answer


def build(answer: str | float) -> Dns:
    return Dns(answer)
