"""A lab of one machine that answers from a recording: see `rmm.lab.playback` and docs/recordings.md."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from rmm.errors import ConfigError
from rmm.lab.fleet import address_of
from rmm.lab.machine import INVALID_CLASS, CimFault, CimInstances
from rmm.lab.playback import Opened, Playback, Said
from rmm.lab.wire.http import Reply, Request
from rmm.lab.wire.service import LISTS, Service, creation
from rmm.lab.wire.shells import Command, PowerShellShell, Shell
from rmm.lab.wire.soap import Call, WsmanFault
from rmm.model.recording import decode_recording

_NOT_RECORDED = "This exchange is not in the recording."


class RecordedMachine:
    """Implements `rmm.lab.machine.Machine` with what the recording's header says; it answers by `RecordedService`."""

    index = 0
    profile = "recorded"
    uuid = ""
    tags = ("lab", "recorded")

    def __init__(self, playback: Playback) -> None:
        header = playback.header
        self.playback = playback
        self.name = header.name[:15].upper()
        self.dns_name = header.dns or header.name.lower()
        self.domain = header.domain or "WORKGROUP"
        self.address = address_of(0)
        self.os_version = header.os_version or "10.0.0"
        self.description = f"Recorded {header.made[:10]}, Windows {self.os_version}"

    def query(self, namespace: str, wql: str, now: datetime) -> CimInstances:
        """Queries are answered by the service, from the recording."""
        raise CimFault(INVALID_CLASS, _NOT_RECORDED)


class RecordedFleet:
    """Implements `rmm.lab.machine.Fleet`: one machine."""

    def __init__(self, file: Path) -> None:
        try:
            data = file.read_bytes()
        except OSError as error:
            raise ConfigError(
                f"{file}: {error.strerror}", hint="Name a file that `rmm doctor --record` wrote."
            ) from error
        self._machine = RecordedMachine(Playback(decode_recording(data, str(file)), str(file)))

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[RecordedMachine]:
        return iter((self._machine,))

    def __getitem__(self, index: int) -> RecordedMachine:
        return (self._machine,)[index]

    def machine_at(self, address: str) -> RecordedMachine | None:
        """The machine that listens on this address."""
        return self._machine if address == self._machine.address else None


class RecordedService(Service):
    """Answers what was recorded; ids, logons and encryption are of this lab."""

    def __init__(self, lab: Any, machine: RecordedMachine, **rest: Any) -> None:
        super().__init__(lab, machine, **rest)
        self._playback = machine.playback
        self._actions |= {name: self._recorded for name in ("Pull", "Get", "Put", "Invoke")}

    def handle(self, request: Request) -> Any:
        """As any service, with the recorded answer to WS-Identify."""
        if self._playback.identify and "wsmanidentify" in request.headers:
            self._lab.counts.requests += 1
            return Reply(200, ["Content-Type: application/soap+xml;charset=UTF-8"], self._playback.identify.encode())
        return super().handle(request)

    def _new_shell(self, call: Call, identity: str, idle_s: float) -> Shell:
        said = self._playback.create(call.resource)
        if isinstance(said, Said):
            raise WsmanFault(0, "", "", raw=said.body)
        if said is None:
            raise WsmanFault(2150858811, "w:InvalidResourceURI", _NOT_RECORDED)
        return RecordedShell(
            said, self._machine, self._lab.execute, identity, idle_s, opening=creation(call),
            templates=self._lab.templates, faults=self._faults,
        )  # fmt: skip

    def _enumerate(self, call: Call) -> str:
        if call.resource in LISTS:
            return super()._enumerate(call)  # the shells of this lab, and their commands
        self._lab.counts.queries += 1
        return self._recorded(call)

    def _recorded(self, call: Call) -> str:
        said = self._playback.answer(call.action.rpartition("/")[2], call.resource, call.body)
        if said is None:
            raise WsmanFault(2150858811, "w:InvalidResourceURI", _NOT_RECORDED)
        if said.fault:
            raise WsmanFault(0, "", "", raw=said.body)
        return said.body


class RecordedShell(PowerShellShell):
    """A runspace whose pipelines say what they said."""

    def __init__(self, opened: Opened, machine: Any, *rest: Any, **options: Any) -> None:
        self._playback: Playback = machine.playback
        self._said = {one.type: one.data.encode() for one in opened.messages}
        super().__init__(machine, *rest, **options)

    def _opening(self) -> list[tuple[int, bytes]]:
        return [(kind, self._said.get(kind, data)) for kind, data in super()._opening()]

    def _run(self, command: Command, data: bytes) -> None:
        run = self._playback.pipeline(data.decode("utf-8", "replace").removeprefix("\ufeff"))
        if run is None:
            raise WsmanFault(0, "w:InternalError", _NOT_RECORDED, sender=False)
        messages = [(one.type, one.data.encode()) for one in run.messages]
        for fault in self._faults.strike("said", "command") if self._faults else ():
            messages = fault.said(messages)
        for kind, content in messages:
            self._say(command, kind, content)
        if run.fault is not None and not messages:
            raise WsmanFault(0, "", "", raw=run.fault.body)
        if run.fault is not None:
            command.fault = run.fault.body
        command.end()
