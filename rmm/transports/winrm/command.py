"""The command shell of WinRS ([MS-WSMV] 3.1.4): `powershell.exe` as its program, for endpoints without PSRP.

The script comes by standard input, because a command line holds 8,191 characters; output is what it wrote, by lines.
"""

from __future__ import annotations

import asyncio
import base64
import re

from rmm.core.coerce import shown
from rmm.errors import ProtocolError, TransportError, UnsupportedError
from rmm.ports import ErrorRecord, Script, ScriptResult
from rmm.transports.winrm import envelope
from rmm.transports.winrm.clixml import unescape
from rmm.transports.winrm.envelope import RSP, Answer
from rmm.transports.winrm.pipeline import Pace
from rmm.transports.winrm.shell import IDLE_S, Shell
from rmm.transports.winrm.wsman import Wsman

RESOURCE = f"{RSP}/cmd"
UTF8 = "65001"
SEND_BYTES = 100_000
MOST_ERRORS = 64 << 10  # bytes of standard error that are kept

BOOTSTRAP = (
    "$ProgressPreference='SilentlyContinue';[Console]::OutputEncoding=[Text.Encoding]::UTF8;"
    "[Console]::InputEncoding=[Text.Encoding]::UTF8;& ([scriptblock]::Create([Console]::In.ReadToEnd()))"
)
LINE = "powershell -NoProfile -NonInteractive -EncodedCommand " + base64.b64encode(
    BOOTSTRAP.encode("utf-16-le")
).decode("ascii")
_RECORD = re.compile(r'<S S="Error">([^<]*)</S>')
_ERROR_ID = re.compile(r"\+ FullyQualifiedErrorId : ([^\r\n]+)")
_CATEGORY = re.compile(r"\+ CategoryInfo\s+: (\w+):")


def error_records(data: bytes) -> tuple[ErrorRecord, ...]:
    """The error record in standard error, which PowerShell writes as CLIXML strings of its error view."""
    text = data[:MOST_ERRORS].decode("utf-8", "replace")
    if not text.strip():
        return ()
    lines = _RECORD.findall(text) if text.startswith("#< CLIXML") else text.splitlines()
    plain = unescape("".join(lines))
    for entity, character in (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&amp;", "&")):
        plain = plain.replace(entity, character)
    found, category = _ERROR_ID.search(plain), _CATEGORY.search(plain)
    identity = shown(found[1], 500) if found else ""
    message = shown(plain.split("\r\n")[0], 2000)
    return (ErrorRecord(identity, category[1][:100] if category else "", message),)


def output_lines(data: bytes, *, whole: bool) -> tuple[str, ...]:
    """Standard output by lines; the last one is dropped where it may have been cut."""
    lines = [line.rstrip("\r") for line in data.decode("utf-8", "replace").split("\n")]
    if lines and (not lines[-1] or not whole):
        lines.pop()
    return tuple(lines)


class CommandShell(Shell):
    """A command shell in which each script is a PowerShell process of its own."""

    names_itself = False

    def __init__(
        self, wsman: Wsman, configuration: str, *, kept: bool, name: str = "rmm", idle_s: int = IDLE_S
    ) -> None:
        super().__init__(wsman, configuration, kept=kept, name=name, idle_s=idle_s)
        self._resource = RESOURCE

    async def open(self, deadline: float) -> None:
        """Create the shell: one request."""
        content = "<rsp:InputStreams>stdin</rsp:InputStreams><rsp:OutputStreams>stdout stderr</rsp:OutputStreams>"
        await self._create(content, envelope.options(WINRS_NOPROFILE="TRUE", WINRS_CODEPAGE=UTF8), deadline)

    async def run(self, script: Script, deadline: float, max_bytes: int) -> ScriptResult:
        """Run one script in a process of its own, to its end, to the deadline or to the limit of its output."""
        if script.language != "powershell" or script.arguments:
            raise UnsupportedError(
                "the command shell takes scripts without arguments, and no commands", code="unsupported.arguments"
            )
        run = _Process()
        self.pipelines += 1
        try:
            command = await self._begin(script.text.encode(), deadline)
            pace = Pace(script.steps, deadline)
            while not run.state:
                limit = pace.limit(run.lines, asyncio.get_running_loop().time())
                if asyncio.get_running_loop().time() >= limit:
                    run.state, run.overdue = "timed_out", pace.stepped
                elif len(run.out) > max_bytes:
                    run.state = "truncated"
                elif (answer := await self._receive(command, limit, "stdout stderr")) is not None:
                    run.take(answer)
            await self.signal(command)  # also one that ended: only then does Windows let go of it
        except TransportError as error:
            self.broken = True
            error.partial = output_lines(bytes(run.out), whole=False)
            raise
        except BaseException:
            self.broken = True
            raise
        return run.result()

    async def _begin(self, text: bytes, deadline: float) -> str:
        selector = envelope.selector(self.id)
        headers = envelope.options(WINRS_CONSOLEMODE_STDIN="FALSE", WINRS_SKIP_CMD_SHELL="TRUE") + selector
        program, _, rest = LINE.partition(" ")
        body = (
            f"<rsp:CommandLine><rsp:Command>{program}</rsp:Command>"
            f"<rsp:Arguments>{rest}</rsp:Arguments></rsp:CommandLine>"
        )
        answer = await self.wsman.ask(envelope.COMMAND, RESOURCE, headers=headers, body=body, deadline=deadline)
        command = (answer.body.findtext(f"{{{RSP}}}CommandId") or "").strip() if answer.body is not None else ""
        if not re.fullmatch("[0-9A-Za-z-]{1,64}", command):
            raise ProtocolError("the command shell named no command", code="winrs.command")
        for start in range(0, len(text) or 1, SEND_BYTES):
            end = ' End="true"' if start + SEND_BYTES >= len(text) else ""
            data = base64.b64encode(text[start : start + SEND_BYTES]).decode()
            body = f'<rsp:Send><rsp:Stream Name="stdin" CommandId="{command}"{end}>{data}</rsp:Stream></rsp:Send>'
            await self.wsman.ask(envelope.SEND, RESOURCE, headers=selector, body=body, deadline=deadline)
        return command


class _Process:
    """What has arrived of one process."""

    def __init__(self) -> None:
        self.out = bytearray()
        self.err = bytearray()
        self.lines = 0  # of standard output that are whole
        self.state = ""
        self.overdue = False

    def take(self, answer: Answer) -> None:
        if answer.body is None:
            return
        for stream in answer.body.iter(f"{{{RSP}}}Stream"):
            try:
                data = base64.b64decode(stream.text or "", validate=True)
            except ValueError as error:
                raise ProtocolError("a stream that is not base64", code="winrs.stream") from error
            if stream.get("Name") == "stdout":
                self.out += data
                self.lines += data.count(b"\n")
            elif len(self.err) < MOST_ERRORS:
                self.err += data
        state = answer.body.find(f"{{{RSP}}}CommandState")
        if state is not None and str(state.get("State", "")).endswith("/Done"):
            code = (state.findtext(f"{{{RSP}}}ExitCode") or "0").strip()
            self.state = "completed" if code == "0" else "failed"

    def result(self) -> ScriptResult:
        whole = self.state in ("completed", "failed")
        return ScriptResult(
            output=output_lines(bytes(self.out), whole=whole),
            state=self.state,
            errors=error_records(bytes(self.err)),
            bytes=len(self.out),
            overdue=self.overdue,
        )
