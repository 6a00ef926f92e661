"""WSMan on one lab machine: which request does what. State that outlives a connection (shells) is the lab's."""

from __future__ import annotations

import asyncio
import base64
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from typing import Any, Protocol

import msgspec
from lxml import etree

from rmm.lab.machine import Engine, Execution, Fleet, Machine
from rmm.lab.wire import disconnect, psrp, remoting_config, soap
from rmm.lab.wire.accounts import Accounts
from rmm.lab.wire.enumeration import Enumerations, command_list, shell_list, shell_xml
from rmm.lab.wire.http import HANDLED, Reply, Request
from rmm.lab.wire.logon import Logon, Ways
from rmm.lab.wire.remoting_config import MOST_SHELLS
from rmm.lab.wire.shells import CommandShell, PowerShellShell, Shell, ShellHost
from rmm.lab.wire.soap import RSP, Call, WsmanFault
from rmm.lab.wire.stats import Stats

IDLE_S = 7200.0
STEPS = {"Connect": "attach"}  # what plans call an action, where that is not its name: `connect` is that of TCP
LISTS = (RSP, f"{RSP}/Command")  # shells, and the commands of one
CONFIGURATIONS = "http://schemas.microsoft.com/powershell/"
WINRS = "winrs"
USUAL = ("microsoft.powershell", WINRS)  # what every machine has; others come by a plan (kind: session)

_IDENTIFY = (
    '<s:Envelope xml:lang="en-US" xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Header/><s:Body>'
    '<wsmid:IdentifyResponse xmlns:wsmid="http://schemas.dmtf.org/wbem/wsman/identity/1/wsmanidentity.xsd">'
    "<wsmid:ProtocolVersion>http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd</wsmid:ProtocolVersion>"
    "<wsmid:ProductVendor>Microsoft Corporation</wsmid:ProductVendor>"
    "<wsmid:ProductVersion>OS: {version} SP: 0.0 Stack: 3.0</wsmid:ProductVersion>"
    "</wsmid:IdentifyResponse></s:Body></s:Envelope>"
)


class Lab:
    """All that the machines of one lab share."""

    def __init__(self, fleet: Fleet, engine: Engine | ShellHost, accounts: Accounts) -> None:
        self.fleet = fleet
        self.engine = engine
        self.now: Callable[[], datetime] = lambda: datetime.now(UTC)
        self.accounts = accounts
        self.templates = psrp.Templates()
        self.shells: dict[tuple[str, str], Shell] = {}
        self.idle_rate = 1.0
        self.ways = Ways()
        self._per_machine: dict[str, int] = {}
        self._operations: Counter[str] = Counter()  # machine -> commands in its shells
        self.counts = Stats()

    def stats(self) -> Stats:
        """The counters now."""
        return msgspec.structs.replace(
            self.counts,
            shells_open=len(self.shells),
            logons_accepted=self.accounts.accepted,
            logons_rejected=self.accounts.rejected,
            proofs=self.accounts.proofs,
            accounts=self.accounts.stats(),
        )

    def add(self, shell: Shell) -> None:
        """Keep a new shell; refuses the one too many."""
        address = shell.machine.address
        if self._per_machine.get(address, 0) >= MOST_SHELLS:
            raise WsmanFault(
                2150859173,
                "w:QuotaLimit",
                f"This user is allowed a maximum number of {MOST_SHELLS} concurrent shells, which has been exceeded.",
            )
        self._per_machine[address] = self._per_machine.get(address, 0) + 1
        self.shells[(address, shell.id)] = shell
        self.counts.shells_opened += 1

    def remove(self, shell: Shell) -> None:
        """Forget a shell; those who wait for it hear of it."""
        if self.shells.pop((shell.machine.address, shell.id), None) is None:
            return
        left = self._per_machine[shell.machine.address] - 1
        if left:
            self._per_machine[shell.machine.address] = left
        else:
            del self._per_machine[shell.machine.address]
        self._operations[shell.machine.address] -= len(shell.commands)
        for command in (shell.own, *shell.commands.values()):
            command.changed.set()
        shell.end()

    def begun(self, shell: Shell) -> None:
        """A command was begun. It counts against the quota of operations until it is terminated, ended or not."""
        self._operations[shell.machine.address] += 1
        self.counts.most_operations = max(self.counts.most_operations, self._operations[shell.machine.address])
        self.counts.most_shell_operations = max(self.counts.most_shell_operations, len(shell.commands))

    def terminated(self, shell: Shell, name: str) -> None:
        """A command was terminated."""
        if shell.commands.pop(name, None) is not None:
            self._operations[shell.machine.address] -= 1

    def reap(self) -> None:
        """End shells that were idle for longer than they asked for."""
        for shell in [shell for shell in self.shells.values() if self.inactive_s(shell) > shell.idle_s]:
            self.remove(shell)

    def execute(self, machine: Machine, text: str, arguments: list[tuple[str | None, Any]], language: str) -> Execution:
        """Run a script, or a command, on a machine."""
        self.count_pipeline()
        if isinstance(self.engine, ShellHost):
            raise TypeError("an engine that makes shells runs no scripts for others")
        return self.engine.execute(machine, text, arguments, self.now(), language)

    def count_pipeline(self) -> None:
        """Another script runs, or command."""
        self.counts.pipelines += 1

    def inactive_s(self, shell: Shell) -> float:
        """How long a shell has been idle, by the lab's clock of idleness."""
        return (asyncio.get_running_loop().time() - shell.last_used) * self.idle_rate


class Faults(Protocol):
    """`rmm.lab.faults.MachineFaults`, as the wire needs it."""

    def strike(self, hook: str, step: str = "") -> Iterator[Any]: ...


class Service:
    """One connection's view of one machine."""

    def __init__(self, lab: Lab, machine: Machine, *, secure: bool, faults: Faults | None = None) -> None:
        self._lab = lab
        self._machine = machine
        self._faults = faults
        self.step = ""  # what the last request is part of: see `rmm.lab.faults.plan.STEPS`
        self.arrived: Callable[[], bool] = lambda: False  # a WSMan request is open; True: a fault deals with it
        self.logon = Logon(lab.accounts, machine, secure=secure, ways=lab.ways)
        self._enumerations = Enumerations()
        self._actions: dict[str, Callable[[Call], str]] = {
            "Create": self._create,
            "Command": self._command,
            "Send": self._send,
            "Signal": self._signal,
            "Delete": self._delete,
            "Enumerate": self._enumerate,
            "Pull": self._pull,
            "Get": self._get,
            "Disconnect": lambda call: disconnect.disconnect(self._found(call), call),
            "Reconnect": lambda call: disconnect.reconnect(self._found(call), call),
            "Connect": lambda call: disconnect.connect(self._found(call), call),
        }

    def handle(self, request: Request) -> Reply | Awaitable[Reply | None] | None:
        """Answer one request."""
        self._lab.counts.requests += 1
        self._lab.counts.authorizations += "authorization" in request.headers
        if "wsmanidentify" in request.headers or request.path.endswith("/identify"):
            text = _IDENTIFY.format(version=self._machine.os_version)
            return Reply(200, ["Content-Type: application/soap+xml;charset=UTF-8"], text.encode())
        if request.path.split("?")[0].rstrip("/") != "/wsman" or request.method != "POST":
            return Reply(404)
        refused = self.logon.authenticate(request)
        if refused is not None:
            return refused
        if not request.body:
            return Reply(200, self.logon.last_token())
        envelope = self.logon.unseal(request)
        if envelope is None:
            self._lab.counts.unencrypted += 1
            return Reply(500)
        plain = not request.headers.get("content-type", "").lower().startswith("multipart/")
        return self._dispatch(envelope, plain=plain)

    def step_of(self, request: Request) -> str:
        """The step that a request belongs to by its head; empty for what is known only when it is open."""
        if "wsmanidentify" in request.headers:
            return "identify"
        text = request.headers.get("authorization", "").partition(" ")[2]
        if not text:
            return "" if self.logon.done else "offer"
        try:
            token = base64.b64decode(text)
        except ValueError:
            return "offer"
        # NTLM proves with its third message; Kerberos and Basic with their first.
        return "offer" if b"NTLMSSP\x00\x01" in token else "logon"

    def _answer(self, call: Call, envelope: bytes, status: int, *, plain: bool) -> Reply:
        for fault in self._faults.strike("answered", self.step) if self._faults else ():
            envelope = fault.answered(call, envelope)
        return self.logon.seal(status, envelope, plain=plain)

    def _dispatch(self, envelope: bytes, *, plain: bool) -> Reply | Awaitable[Reply | None]:
        try:
            call = Call(envelope)
        except (etree.XMLSyntaxError, ValueError):
            return Reply(400)
        name = call.action.rpartition("/")[2]
        self.step = STEPS.get(name, name.lower())
        if self.arrived():
            return HANDLED
        try:
            for fault in self._faults.strike("called", self.step) if self._faults else ():
                fault.called(call, self._machine)
            if call.resource.endswith(self.logon.policy.resources or ("\0",)):
                raise WsmanFault(5, "w:AccessDenied", "Access is denied.")
            if name == "Receive":
                return self._receive(call, plain=plain)
            action = self._actions.get(name)
            if action is None:
                raise WsmanFault(2150858764, "w:ActionNotSupported", f"The action {call.action} is not supported.")
            return self._answer(call, call.answer(f"{call.action}Response", action(call)), 200, plain=plain)
        except WsmanFault as fault:
            return self._answer(call, call.fault(fault), 500, plain=plain)

    def _found(self, call: Call) -> Shell:
        shell = self._lab.shells.get((self._machine.address, call.selector("ShellId")))
        if shell is None:
            raise soap.shell_gone()
        return shell

    def _shell(self, call: Call) -> Shell:
        shell = self._found(call)
        disconnect.check(shell)
        shell.last_used = asyncio.get_running_loop().time()
        return shell

    def _create(self, call: Call) -> str:
        if call.body is None:
            raise WsmanFault(2150858770, "w:SchemaValidationError", "A shell is created from a Shell element.")
        named = call.body.get("ShellId") or ""
        identity = (named or str(uuid.uuid4())).upper()
        idle_s = soap.duration_s(call.body.findtext(f"{{{RSP}}}IdleTimeOut"), IDLE_S)
        shell = self._new_shell(call, identity, idle_s)
        shell.client = call.session if named else ""
        shell.buffer_mode = "Drop" if call.body.findtext(f"{{{RSP}}}BufferMode") == "Drop" else "Block"
        shell.name = call.body.findtext(f"{{{RSP}}}Name") or call.body.get("Name") or ""
        shell.uri = call.resource
        shell.owner = self._lab.accounts.username
        self._lab.add(shell)
        resource = soap.escape(call.resource)
        return (
            f"<x:ResourceCreated><a:Address>{soap.A}/role/anonymous</a:Address><a:ReferenceParameters>"
            f"<w:ResourceURI>{resource}</w:ResourceURI><w:SelectorSet>"
            f'<w:Selector Name="ShellId">{identity}</w:Selector>'
            f"</w:SelectorSet></a:ReferenceParameters></x:ResourceCreated>{shell_xml(shell, 0.0)}"
        )

    def _new_shell(self, call: Call, identity: str, idle_s: float) -> Shell:
        """The shell that a Create asks for."""
        shell: Shell
        language = self._hosted(call.resource)
        if language and isinstance(self._lab.engine, ShellHost):
            shell = self._hosted_shell(self._lab.engine, call, identity, idle_s, language)
        elif language and call.resource == CommandShell.resource:
            shell = CommandShell(self._machine, self._lab.execute, identity, idle_s)
        elif language:
            shell = PowerShellShell(
                self._machine, self._lab.execute, identity, idle_s, opening=creation(call),
                templates=self._lab.templates, faults=self._faults,
            )  # fmt: skip
        else:
            raise WsmanFault(
                2150858811, "w:InvalidResourceURI", "The session configuration does not exist on this computer."
            )
        shell.language = language
        return shell

    def _hosted_shell(self, host: ShellHost, call: Call, identity: str, idle_s: float, language: str) -> Shell:
        began = self._lab.count_pipeline
        if call.resource == CommandShell.resource:
            return host.command_shell(
                self._machine, identity, idle_s, codepage=call.codepage, began=began, faults=self._faults
            )
        return host.runspace(
            self._machine, identity, idle_s, opening=creation(call), began=began, faults=self._faults,
            language=language,
        )  # fmt: skip

    def _hosted(self, resource: str) -> str:
        """Language of the session configuration that a resource names; empty where the machine has none such."""
        name = WINRS if resource == CommandShell.resource else resource.removeprefix(CONFIGURATIONS)
        if name == resource:
            return ""
        for fault in self._faults.strike("hosted", "create") if self._faults else ():
            return str(fault.hosted(name.lower()))
        return "full" if name.lower() in USUAL else ""

    def _command(self, call: Call) -> str:
        shell = self._shell(call)
        known = len(shell.commands)
        try:
            name = shell.start(call)
        finally:
            if len(shell.commands) > known:
                self._lab.begun(shell)
        return f"<rsp:CommandResponse><rsp:CommandId>{name}</rsp:CommandId></rsp:CommandResponse>"

    def _send(self, call: Call) -> str:
        shell = self._shell(call)
        for stream in call.body.iter(f"{{{RSP}}}Stream"):
            disconnect.open_stream(shell, (stream.get("CommandId") or "").upper())
        shell.send(call)
        return "<rsp:SendResponse/>"

    def _signal(self, call: Call) -> str:
        shell = self._shell(call)
        name = (call.body.get("CommandId") or "").upper()
        command = shell.command_of(name)
        code = (call.body.findtext(f"{{{RSP}}}Code") or "").rpartition("/")[2].lower()
        shell.stop(command)
        if code == "terminate" and name:
            self._lab.terminated(shell, name)
        return "<rsp:SignalResponse/>"

    def _delete(self, call: Call) -> str:
        self._lab.remove(self._found(call))
        return ""

    def _enumerate(self, call: Call) -> str:
        if call.resource in LISTS:
            self._lab.counts.listings += 1
            mine = [shell for (address, _), shell in self._lab.shells.items() if address == self._machine.address]
            if call.resource != RSP:
                return command_list(call, mine)
            return shell_list([(shell, self._lab.inactive_s(shell)) for shell in mine])
        self._lab.counts.queries += 1
        return self._enumerations.enumerate(call, self._machine, self._lab.now())

    def _get(self, call: Call) -> str:
        if call.resource == RSP:
            shell = self._found(call)
            return shell_xml(shell, self._lab.inactive_s(shell))
        if call.resource != remoting_config.CONFIG:
            raise WsmanFault(2150858811, "w:InvalidResourceURI", "The resource URI is not supported by this service.")
        return remoting_config.config_of(self._machine.profile, call.config)

    def _pull(self, call: Call) -> str:
        return self._enumerations.pull(call)

    def _receive(self, call: Call, *, plain: bool) -> Reply | Awaitable[Reply | None]:
        shell = self._shell(call)
        stream = call.body.find(f"{{{RSP}}}DesiredStream") if call.body is not None else None
        name = ((stream.get("CommandId") if stream is not None else "") or "").upper()
        command = disconnect.open_stream(shell, name)
        if _ready(command):
            return self._received(call, shell, command, plain=plain)
        return self._wait(call, shell, command, plain=plain)

    async def _wait(self, call: Call, shell: Shell, command: Any, *, plain: bool) -> Reply:
        loop = asyncio.get_running_loop()
        until = loop.time() + call.timeout_s
        while not _ready(command):
            wake = min(until, command.ready_at) if command.streams or command.ended or command.lost else until
            command.changed.clear()
            try:
                async with asyncio.timeout_at(max(wake, loop.time())):
                    await command.changed.wait()
            except TimeoutError:
                if loop.time() >= until and not _ready(command):
                    return self._answer(call, call.fault(soap.timed_out()), 500, plain=plain)
            if (shell.machine.address, shell.id) not in self._lab.shells:
                return self._answer(call, call.fault(soap.shell_gone()), 500, plain=plain)
            if not command.connected:
                return self._answer(call, call.fault(disconnect.stream_disconnected()), 500, plain=plain)
        return self._received(call, shell, command, plain=plain)

    def _received(self, call: Call, shell: Shell, command: Any, *, plain: bool) -> Reply:
        if command.lost and not command.streams:
            self._lab.remove(shell)
            return self._answer(call, call.fault(soap.shell_gone()), 500, plain=plain)
        if command.fault and not command.streams:
            return self._answer(call, call.fault(WsmanFault(0, "", "", raw=command.fault)), 500, plain=plain)
        body = command.take(call.size)
        shell.last_used = asyncio.get_running_loop().time()
        return self._answer(call, call.answer(f"{call.action}Response", body), 200, plain=plain)


def creation(call: Call) -> bytes:
    """The PSRP messages in a Create."""
    return base64.b64decode(call.body.findtext("{http://schemas.microsoft.com/powershell}creationXml") or "")


def _ready(command: Any) -> bool:
    return (
        bool(command.streams or command.ended or command.lost) and command.ready_at <= asyncio.get_running_loop().time()
    )
