"""What a recorded machine answers: found by what is asked, in the order in which it was recorded.

Shells are found by their resource, pipelines by their CREATE_PIPELINE, queries by resource and filter; where the same
was asked more than once, each further time gets the next answer, and the last one for good. A bundle of collectors
that was not recorded as such is put together from the parts of those that were.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any
from xml.sax.saxutils import unescape

from lxml import etree

from rmm.errors import ConfigError
from rmm.lab.wire.soap import N, S, W
from rmm.model.recording import IDENTIFY, WSMAN, Exchange, Message, Recording

CREATE_PIPELINE = 0x00021006
OUTPUT, STATE = 0x00041004, 0x00041006
COMPLETED = '<Obj RefId="0"><MS><I32 N="PipelineState">4</I32></MS></Obj>'
_PARSER: dict[str, Any] = {"resolve_entities": False, "no_network": True, "load_dtd": False, "huge_tree": True}
_COMMAND = re.compile(r'<S N="Cmd">([^<]*)</S>')
_VALUE = re.compile(r'<S N="V">([^<]*)</S>')
_ESCAPED = re.compile("_x([0-9A-Fa-f]{4})_")
_PART = re.compile(r"^#rmm:begin (\S+)\n(.*?)^#rmm:end \1\s*?$", re.MULTILINE | re.DOTALL)
_WHOSE = re.compile(r'<S>\{"collector":"(\w+)"')
_IDS = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")


class Said:
    """What a request was answered: the content of s:Body, or a fault's, or a bare HTTP status."""

    def __init__(self, exchange: Exchange) -> None:
        self.status = exchange.status
        self.body = ""
        self.fault = False
        body = _body(exchange.answer)
        if body is not None and len(body):
            self.fault = body[0].tag == f"{{{S}}}Fault"
            self.body = "".join(etree.tostring(child, encoding="unicode", with_tail=False) for child in body)


class Opened:
    """A shell that was created, with what its pool said."""

    def __init__(self) -> None:
        self.messages: list[Message] = []


class Run:
    """A pipeline: what it said, and the fault that ended it where one did."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.fault: Said | None = None


class _InOrder:
    """Answers by key, each further question getting the next."""

    def __init__(self) -> None:
        self._kept: dict[Any, list[Any]] = {}
        self._at: dict[Any, int] = {}

    def add(self, key: Any, value: Any) -> None:
        self._kept.setdefault(key, []).append(value)

    def next(self, key: Any) -> Any:
        """The next answer, or the last; None where there is none."""
        values = self._kept.get(key)
        if not values:
            return None
        at = self._at.get(key, 0)
        self._at[key] = at + 1
        return values[min(at, len(values) - 1)]


class Playback:
    """One recorded machine. Raises ConfigError for a recording with which nothing can be answered."""

    def __init__(self, recording: Recording, place: str) -> None:
        self.header = recording.header
        self.identify = ""
        self._shells, self._pipelines, self._scripts = _InOrder(), _InOrder(), _InOrder()
        self._parts, self._rest = _InOrder(), _InOrder()
        opened: dict[int, Opened] = {}
        runs: dict[tuple[int, int], Run] = {}
        for number, exchange in enumerate(recording.exchanges, start=2):
            try:
                self._take(exchange, opened, runs)
            except etree.XMLSyntaxError as error:
                raise ConfigError(f"{place}:{number}: an envelope that is not XML: {error}") from error
        for run in runs.values():
            self._index(run)
        if not any(exchange.kind == WSMAN for exchange in recording.exchanges):
            raise ConfigError(
                f"{place}: holds no exchange behind a logon", hint="Record an endpoint on which `rmm doctor` logs on."
            )

    def _take(self, exchange: Exchange, opened: dict[int, Opened], runs: dict[tuple[int, int], Run]) -> None:
        if exchange.kind == IDENTIFY:
            self.identify = self.identify or exchange.answer
        if exchange.kind != WSMAN:
            return
        action, resource = exchange.action.rpartition("/")[2], exchange.resource.lower()
        if action == "Create":
            shell = Opened()
            if exchange.shell:
                opened[exchange.shell] = shell
            self._shells.add(resource, shell if exchange.status == 200 else Said(exchange))
        elif exchange.command:
            self._take_command(exchange, runs.setdefault((exchange.shell, exchange.command), Run()))
        elif action == "Receive":
            opened.setdefault(exchange.shell, Opened()).messages += exchange.received
        elif action not in ("Delete", "Signal"):
            self._rest.add(_key(action, resource, exchange.request), Said(exchange))

    def _take_command(self, exchange: Exchange, run: Run) -> None:
        run.messages += [*exchange.sent, *exchange.received]
        if exchange.status != 200 and exchange.action.rpartition("/")[2] in ("Command", "Receive", "Send"):
            said = Said(exchange)
            run.fault = None if "2150858793" in said.body else said  # nothing to receive yet

    def _index(self, run: Run) -> None:
        asked = next((one.data for one in run.messages if one.type == CREATE_PIPELINE), "")
        run.messages = [one for one in run.messages if one.type != CREATE_PIPELINE]
        self._pipelines.add(_without_ids(asked), run)
        self._scripts.add(script_of(asked), run)
        texts = dict(_PART.findall(script_of(asked)))
        for message in run.messages:
            whose = _WHOSE.match(message.data) if message.type == OUTPUT else None
            if whose and whose[1] in texts:
                self._parts.add((whose[1], texts[whose[1]]), message)

    def create(self, resource: str) -> Opened | Said | None:
        """What became of a Create; None where no shell of this resource was recorded."""
        found: Opened | Said | None = self._shells.next(resource.lower())
        return found

    def pipeline(self, asked: str) -> Run | None:
        """What a CREATE_PIPELINE's data was answered; None where nothing like it was recorded."""
        script = script_of(asked)
        # Other clients write the same script in other words; arguments do not count then.
        run: Run | None = self._pipelines.next(_without_ids(asked)) or self._scripts.next(script)
        return run or self._composed(_PART.findall(script))

    def _composed(self, parts: Iterable[tuple[str, str]]) -> Run | None:
        run = Run()
        for name, text in parts:
            run.messages.append(self._parts.next((name, text)) or _not_recorded(name, self.header.name))
        if not run.messages:
            return None
        run.messages.append(Message(type=STATE, data=COMPLETED))
        return run

    def answer(self, action: str, resource: str, request: Any) -> Said | None:
        """What any other request was answered."""
        said: Said | None = self._rest.next(_key(action, resource.lower(), request))
        return said


def script_of(asked: str) -> str:
    """The text of the commands in a CREATE_PIPELINE's data; what Invoke-Expression is given counts as the command."""
    commands = _COMMAND.findall(asked)
    if commands[:1] == ["Invoke-Expression"]:
        commands = _VALUE.findall(asked)[:1]
    return "\n".join(_ESCAPED.sub(lambda unit: chr(int(unit[1], 16)), unescape(found)) for found in commands)


def _without_ids(text: str) -> str:
    return _IDS.sub("", text)


def _key(action: str, resource: str, request: Any) -> tuple[str, str, str]:
    """What makes two requests the same question: action, resource, and the filter or the context."""
    body = _body(request) if isinstance(request, str) else request
    words = [] if body is None else [e.text or "" for e in body.iter(f"{{{W}}}Filter", f"{{{N}}}EnumerationContext")]
    return action, resource, " ".join(" ".join(words).split())


def _body(envelope: str) -> Any:
    if not envelope.lstrip().startswith("<"):
        return None
    return etree.fromstring(envelope.encode(), etree.XMLParser(**_PARSER)).find(f"{{{S}}}Body")


def _not_recorded(name: str, host: str) -> Message:
    error = {"id": "NotRecorded", "category": "ObjectNotFound", "message": "this collector's script was not recorded"}
    part = json.dumps({"collector": name, "host": host, "ms": 0, "error": error}, separators=(",", ":"))
    return Message(type=OUTPUT, data=f"<S>{part}</S>")
