"""The ladder to an SSH endpoint: name, route, TCP, host key, logon, shell."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

import asyncssh

from rmm.errors import DeadlineError, ProtocolError, TlsError
from rmm.model.endpoint import Target
from rmm.ports import Look, Rung, Transport
from rmm.transports.ladders import ground
from rmm.transports.ladders.session import SessionRungs

KEY_S = 10.0


class SshLadder:
    """`ports.Ladder`."""

    def __init__(self, target: Target, neighbours: Mapping[str, Sequence[str]], transport: Transport) -> None:
        self._target = target
        self._neighbours = neighbours
        self._inside = SessionRungs(transport, target, "sh", "host_key")
        self._addresses: list[str] = []
        self.rungs: Sequence[Rung] = (
            Rung("name", self._name),
            Rung("route", self._route, ("name",)),
            Rung("tcp", self._tcp, ("route",)),
            Rung("host_key", self._host_key, ("tcp",)),
            *self._inside.rungs,
        )

    async def _name(self, deadline: float) -> Look:
        look, self._addresses = await ground.name(self._target, self._neighbours, deadline)
        return look

    async def _route(self, deadline: float) -> Look:
        return ground.route(self._addresses[0], self._target.port)

    async def _tcp(self, deadline: float) -> Look:
        return await ground.tcp(self._target, self._addresses[0], deadline)

    async def _host_key(self, deadline: float) -> Look:
        """The key that the server shows, and whether it is the known one; no logon is begun."""
        target = self._target
        place = f"{target.host}:{target.port}"
        limit = min(deadline, asyncio.get_running_loop().time() + KEY_S)
        try:
            async with asyncio.timeout_at(limit):
                key = await asyncssh.get_server_host_key(target.host, target.port, config=None)
        except TimeoutError as error:
            raise DeadlineError(f"{place} did not finish the key exchange", code="ssh.timeout") from error
        except (OSError, asyncssh.Error) as error:
            hint = "Something other than an SSH server may listen on this port."
            raise ProtocolError(f"{place}: {error}", code="ssh.protocol", hint=hint) from error
        if key is None:
            raise ProtocolError(f"{place} showed no host key", code="ssh.protocol")
        file = Path(target.known_hosts) if target.known_hosts else Path.home() / ".ssh" / "known_hosts"
        return _compared(key, file, target)

    async def aclose(self) -> None:
        """End the session."""
        await self._inside.aclose()


def _compared(key: asyncssh.SSHKey, file: Path, target: Target) -> Look:
    shown = f"{key.get_algorithm()} {key.get_fingerprint()}"
    facts = {"key": shown, "known_hosts": str(file)}
    add = f"If it is the right machine, compare and add it: ssh-keyscan -p {target.port} {target.host} >> {file}"
    try:
        trusted = asyncssh.read_known_hosts(str(file)).match(target.host, target.host, target.port)
    except (OSError, ValueError) as error:
        return Look(f"{shown}; {file} cannot be read: {error}", "failed", add, "ssh.known_hosts", facts)
    keys, revoked = trusted[0], trusted[2]
    if key in revoked:
        raise TlsError(f"the host key {shown} is revoked in {file}", code="ssh.host_key", hint="Nothing was sent.")
    if key in keys:
        return Look(f"{shown}, as in {file}", facts=facts)
    if trusted[1]:  # a certificate authority is named for this host: only the logon itself can judge by it
        return Look(f"{shown}; {file} names an authority for this host", facts=facts)
    same = [one for one in keys if one.get_algorithm() == key.get_algorithm()]
    if keys and not same:
        known = ", ".join(one.get_algorithm() for one in keys)
        return Look(f"{shown}; {file} has {known} for this host, which the logon asks for", facts=facts)
    what = "another key of this kind" if same else "no key"
    return Look(f"{shown}; {file} has {what} for {target.host}", "failed", add, "ssh.host_key", facts)
