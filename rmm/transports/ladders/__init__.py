"""Ladders: what each transport does to get a session, step by step, for `rmm doctor`; and the recording of a climb."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from rmm.errors import ConfigError
from rmm.model.endpoint import Target
from rmm.ports import Ladder, Transport

__all__ = ["ladder_of", "recorded"]

NATIVE = ("winrm", "wql")  # whose sessions our own client opens
Neighbours = Mapping[str, Sequence[str]]


def ladder_of(target: Target, neighbours: Neighbours, transport: Transport) -> Ladder:
    """The ladder of an endpoint.

    Args:
        target: the endpoint.
        neighbours: address -> names of the other endpoints in the list that have it.
        transport: the endpoint's; its sessions go through the logon gate.
    """
    if target.transport == "ssh":
        from rmm.transports.ladders.ssh import SshLadder

        return SshLadder(target, neighbours, transport)
    from rmm.transports.ladders.winrm import WinrmLadder

    return WinrmLadder(target, neighbours, transport, native=target.transport in NATIVE)


@contextlib.contextmanager
def recorded(target: Target, file: Path, *, names: bool, now: Callable[[], datetime]) -> Iterator[None]:
    """Record what is said to `target` while this lasts; written to `file`, scrubbed, also when it ends in an error.

    `names`: names, addresses, SIDs, serial numbers and UUIDs are replaced too, not the account alone.
    """
    from rmm.core.scrub import Scrubber, scrubbed
    from rmm.durable import replace_file
    from rmm.model.recording import encode_recording
    from rmm.transports.winrm.recorder import Recorder
    from rmm.transports.winrm.wsman import RECORDER

    if target.transport not in NATIVE:
        hint = f"Record it over one of {', '.join(NATIVE)}: `transport` of the endpoint or its site."
        raise ConfigError(f"{target.name} is reached by {target.transport}, which is not recorded", hint=hint)
    if not file.absolute().parent.is_dir():
        raise ConfigError(f"{file}: there is no such folder", hint="Name a file in a folder that exists.")
    recorder = Recorder()
    token = RECORDER.set(recorder)
    try:
        yield
    finally:
        RECORDER.reset(token)
        said = recorder.names
        scrubber = Scrubber(target.credential.username, target.credential.secret.reveal(), names=names)
        scrubber.learn_machine(
            [said.get("dns", ""), said.get("netbios", ""), target.name, target.host], said.get("domain", "")
        )
        recording = recorder.recording(target.name, now(), names=names)
        replace_file(file, encode_recording(scrubbed(recording, scrubber)), private=True)
