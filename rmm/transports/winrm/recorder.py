"""Keeps what is said on WSMan connections, in plain and decoded, for `rmm doctor --record`.

It sees envelopes alone: no HTTP header of ours, no token of a logon, nothing that is made of a secret. What it keeps
still names people and machines; `core.scrub` sees to that before anything is written.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from lxml import etree

from rmm import __version__
from rmm.errors import ProtocolError
from rmm.model.recording import IDENTIFY, OFFER, WSMAN, Exchange, Header, Message, Recording
from rmm.transports.winrm import psrp
from rmm.transports.winrm.bounded import parse
from rmm.transports.winrm.envelope import DEPTH_LIMIT, RSP, A, W

LIMIT = 64 << 20
HEADERS = ("content-type", "server", "retry-after", "date")
COMMAND_SHELL = f"{RSP}/cmd"
_CREATION = "{http://schemas.microsoft.com/powershell}creationXml"
CUT = "(decoded)"
_VERSION = re.compile(r"ProductVersion>OS: ([0-9.]{1,40})")


class Recorder:
    """`ports.Recorder`. Exchanges in the order in which they end; nothing more once LIMIT bytes are kept."""

    def __init__(self) -> None:
        self.exchanges: list[Exchange] = []
        self.truncated = False
        self.names: dict[str, str] = {}
        self._size = 0
        self._shells: dict[str, int] = {}
        self._commands: dict[str, tuple[int, int]] = {}
        self._streams: dict[tuple[int, str], psrp.Defragmenter] = {}

    def exchanged(
        self, request: bytes, status: int, headers: Mapping[str, str], answer: bytes | None, ms: float
    ) -> None:
        """One WSMan request and its answer in plain; None where it could not be decrypted or was no envelope."""
        if not self._has_room(len(request) + len(answer or b"")):
            return
        asked = parse(request, depth=DEPTH_LIMIT)
        said = _parsed(answer)
        shell, command = self._place(asked, said)
        resource = (asked.findtext(f".//{{{W}}}ResourceURI") or "").strip()
        sent = self._cut(asked, resource, shell, "in")
        received = self._cut(said, resource, shell, "out") if said is not None else ()
        self.exchanges.append(
            Exchange(
                kind=WSMAN,
                action=(asked.findtext(f".//{{{A}}}Action") or "").strip(),
                resource=resource,
                shell=shell,
                command=command,
                request=etree.tostring(asked, encoding="unicode"),
                sent=sent,
                status=status,
                headers=_kept(headers),
                answer=etree.tostring(said, encoding="unicode") if said is not None else _text(answer),
                received=received,
                ms=round(ms, 3),
            )
        )

    def introduced(self, names: Mapping[str, str]) -> None:
        """What the endpoint called itself: netbios, dns, domain."""
        self.names.update(names)

    def identified(self, status: int, headers: Mapping[str, str], answer: bytes) -> None:
        """What WS-Identify was answered."""
        if self._has_room(len(answer)):
            one = Exchange(kind=IDENTIFY, status=status, headers=_kept(headers), answer=_text(answer))
            self.exchanges.append(one)

    def offered(self, status: int, headers: Mapping[str, str], schemes: list[str]) -> None:
        """The names of the schemes that a request without a token was offered."""
        if self._has_room(100):
            one = Exchange(kind=OFFER, status=status, headers=_kept(headers) | {"schemes": ", ".join(schemes)})
            self.exchanges.append(one)

    def recording(self, name: str, now: datetime, *, names: bool) -> Recording:
        """All of it; `name` is the endpoint's, where it did not introduce itself."""
        versions = [found[1] for one in self.exchanges if (found := _VERSION.search(one.answer))]
        header = Header(
            made=now.isoformat(timespec="seconds"),
            rmm=__version__,
            name=self.names.get("netbios") or name,
            dns=self.names.get("dns", ""),
            domain=self.names.get("domain", ""),
            os_version=versions[0] if versions else "",
            replaced=("account", "names") if names else ("account",),
            truncated=self.truncated,
        )
        return Recording(header, tuple(self.exchanges))

    def _has_room(self, size: int) -> bool:
        self._size += size
        self.truncated = self.truncated or self._size > LIMIT
        return not self.truncated

    def _place(self, asked: Any, said: Any) -> tuple[int, int]:
        """(number of the shell, number of the command in it); 0 for none."""
        identity = next((e.text or "" for e in asked.iter(f"{{{W}}}Selector") if e.get("Name") == "ShellId"), "")
        if not identity and said is not None and (asked.findtext(f".//{{{A}}}Action") or "").endswith("/Create"):
            identity = next((e.text or "" for e in said.iter(f"{{{W}}}Selector") if e.get("Name") == "ShellId"), "")
        if not identity:
            return 0, 0
        shell = self._shells.setdefault(identity.strip().upper(), len(self._shells) + 1)
        name = next((e.get("CommandId", "") for e in asked.iter() if e.get("CommandId")), "").upper()
        if not name:
            return shell, 0
        known = sum(place[0] == shell for place in self._commands.values())
        return self._commands.setdefault(name, (shell, known + 1))

    def _cut(self, root: Any, resource: str, shell: int, way: str) -> tuple[Message, ...]:
        """Take the payloads out of an envelope and decode them."""
        found: list[Message] = []
        for element in root.iter(_CREATION, f"{{{RSP}}}Arguments", f"{{{RSP}}}Stream"):
            if resource.startswith(RSP) and not element.tag.endswith("}Stream"):
                continue  # the command shell's arguments are plain text
            try:
                data = base64.b64decode(element.text or "", validate=True)
                if resource.startswith(RSP):
                    text = data.decode("utf-8", "replace")
                    found.append(Message(data=text, stream=element.get("Name", "")))
                else:
                    found += self._messages(data, shell, way)
            except (binascii.Error, ProtocolError) as error:
                found.append(Message(data=f"(not decodable: {type(error).__name__})"))
            element.text = CUT
        return tuple(found)

    def _messages(self, data: bytes, shell: int, way: str) -> list[Message]:
        stream = self._streams.setdefault((shell, way), psrp.Defragmenter())
        return [Message(type=one.kind, data=one.data.decode("utf-8", "replace")) for one in stream.feed(data)]


def recording_of(pairs: Iterable[tuple[bytes, bytes]], name: str, now: datetime) -> Recording:
    """A recording out of (request, answer) envelopes that somebody else's client kept, such as pypsrp's test data.

    Pairs whose request is no envelope are passed over. Nothing is scrubbed.
    """
    recorder = Recorder()
    for request, answer in pairs:
        if _parsed(request) is not None:
            status = 500 if b"Fault>" in answer else 200
            recorder.exchanged(request, status, {}, answer, 0.0)
    return recorder.recording(name, now, names=False)


def _parsed(answer: bytes | None) -> Any:
    try:
        return parse(answer, depth=DEPTH_LIMIT) if answer else None
    except ProtocolError:
        return None


def _text(answer: bytes | None) -> str:
    return (answer or b"").decode("utf-8", "replace")


def _kept(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: headers[name][:200] for name in HEADERS if name in headers}
