"""The ladder to a WinRM endpoint: what a poll does to get a session, step by step, and what each step can see.

Names, routes, trust, pins and exceptions are those of a poll, because the same functions are used. Nothing secret
leaves below the rung `authentication`, and that one goes through the logon gate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rmm.model.endpoint import Target
from rmm.ports import Look, Rung, Transport
from rmm.transports.ladders import certificate, ground, spoken
from rmm.transports.ladders.inside import Inside
from rmm.transports.ladders.session import SessionRungs


class WinrmLadder:
    """`ports.Ladder`. `native`: the sessions of `transport` are our own client's, and there is more to see."""

    def __init__(
        self, target: Target, neighbours: Mapping[str, Sequence[str]], transport: Transport, *, native: bool
    ) -> None:
        self._target = target
        self._neighbours = neighbours
        self._inside = Inside(target, transport) if native else SessionRungs(transport, target)
        self._addresses: list[str] = []
        self.rungs: Sequence[Rung] = (
            Rung("name", self._name),
            Rung("route", self._route, ("name",)),
            Rung("tcp", self._tcp, ("route",)),
            Rung("tls", self._tls, ("tcp",)),
            Rung("http", self._http, ("tls",)),
            *self._inside.rungs,
        )

    async def _name(self, deadline: float) -> Look:
        look, self._addresses = await ground.name(self._target, self._neighbours, deadline)
        return look

    async def _route(self, deadline: float) -> Look:
        return ground.route(self._addresses[0], self._target.port)

    async def _tcp(self, deadline: float) -> Look:
        return await ground.tcp(self._target, self._addresses[0], deadline)

    async def _tls(self, deadline: float) -> Look:
        return await certificate.tls(self._target, deadline)

    async def _http(self, deadline: float) -> Look:
        return await spoken.http(self._target, deadline)

    async def aclose(self) -> None:
        await self._inside.aclose()
