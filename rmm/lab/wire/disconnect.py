"""Shells whose client goes away and comes back, or another comes ([MS-WSMV] 3.1.4.15 to 17).

The answers are those of a recorded Server 2016: Disconnect and Reconnect have an empty body. Codes of the faults are
those of the Windows SDK; their wording was not recorded, it is the lab's own.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections import deque
from typing import TYPE_CHECKING

from rmm.lab.wire.connect import is_ours
from rmm.lab.wire.soap import PSRP, RSP, Call, WsmanFault, duration_s, shell_gone

if TYPE_CHECKING:
    from rmm.lab.wire.shells import Command, Shell

MODES = ("Block", "Drop")  # what becomes of output when the buffers are full: the script waits, or the oldest is lost


def shell_disconnected() -> WsmanFault:
    """An operation on a shell whose client has disconnected."""
    return _internal(2150859204, "The shell is disconnected.")


def stream_disconnected() -> WsmanFault:
    """A Receive or Send on a stream that is suspended, be it that its shell is, or only its command."""
    return _internal(
        2150859230, "The WS-Management service cannot process the request because the stream is currently disconnected."
    )


def check(shell: Shell) -> None:
    """Raises WsmanFault when nobody is connected to the shell."""
    if not shell.connected:
        raise shell_disconnected()


def open_stream(shell: Shell, name: str) -> Command:
    """The command with this id (empty: the shell itself), whose streams are connected. Raises WsmanFault."""
    command = shell.command_of(name)
    if not command.connected:
        raise stream_disconnected()
    return command


def disconnect(shell: Shell, call: Call) -> str:
    """Suspend the streams of a shell; from now on its idle time runs. Raises WsmanFault."""
    if shell.facts is None or not shell.client:
        # A client that wants to come back names the shell itself when it creates it, and says which session it is.
        raise _internal(2150859205, "The shell does not support disconnect.")
    _same_session(shell, call)
    if not shell.connected:
        raise _internal(2150859215, "The shell is disconnected already.")
    if call.body is not None:
        shell.idle_s = duration_s(call.body.findtext(f"{{{RSP}}}IdleTimeOut"), shell.idle_s)
    _choose_mode(shell, call)
    _touch(shell)
    shell.suspend()
    return ""


def reconnect(shell: Shell, call: Call) -> str:
    """The client that has disconnected is back; of the shell, or of one command, which the shell's does not include."""
    _same_session(shell, call)
    command = _command(shell, call)
    if command is None:
        shell.connected = shell.own.connected = True
    else:
        check(shell)
        command.connected = True
    _choose_mode(shell, call)
    _touch(shell)
    return ""


def connect(shell: Shell, call: Call) -> str:
    """A client that knows nothing of the shell connects to it, or to one of its commands. Raises WsmanFault."""
    command = _command(shell, call)
    if command is not None:
        check(shell)
        _same_session(shell, call)
        if command.connected:
            raise _other_client()
        command.connected = True
        _touch(shell)
        return "<rsp:ConnectResponse/>"
    if shell.connected:
        raise _other_client()
    answer = base64.b64encode(_introduced(shell, call)).decode()
    shell.client = call.session
    shell.connected = shell.own.connected = True
    _choose_mode(shell, call)
    _touch(shell)
    incoming, outgoing = shell.streams
    return (
        f"<rsp:ConnectResponse><rsp:InputStreams>{incoming}</rsp:InputStreams>"
        f"<rsp:OutputStreams>{outgoing}</rsp:OutputStreams>"
        f'<connectResponseXml xmlns="{PSRP}">{answer}</connectResponseXml></rsp:ConnectResponse>'
    )


def _introduced(shell: Shell, call: Call) -> bytes:
    """What the pool answers to a new client; the rest of it is what the pool says next."""
    assert shell.facts is not None
    if call.options.get("protocolversion", "").partition(".")[0].strip() != "2":
        raise _invalid("a protocol version 2.x is expected")
    try:
        asked = base64.b64decode(call.body.findtext(f"{{{PSRP}}}connectXml") or "", validate=True)
        answer, said = shell.facts.connect(asked)
    except (ValueError, binascii.Error) as error:
        raise _invalid(str(error)) from error
    waiting = [(name, data) for name, data in shell.own.streams if not is_ours(data)]  # not for a client before this
    shell.own.streams = deque(waiting)
    for fragment in said:
        shell.own.put("stdout", fragment)
    shell.own.ready_at = 0.0
    return answer


def _command(shell: Shell, call: Call) -> Command | None:
    """The command that a request names; None where it is about the shell. Raises WsmanFault for an unknown one."""
    if call.body is None:
        return None
    name = (call.body.get("CommandId") or call.body.findtext(f"{{{RSP}}}CommandId") or "").strip().upper()
    if name and name not in shell.commands:
        raise shell_gone()
    return shell.commands[name] if name else None


def _same_session(shell: Shell, call: Call) -> None:
    if shell.client == call.session:
        return
    if shell.connected:
        raise _other_client()
    raise _internal(2150859206, "The shell was disconnected by another session of the client.")


def _choose_mode(shell: Shell, call: Call) -> None:
    mode = (call.body.findtext(f"{{{RSP}}}BufferMode") or "") if call.body is not None else ""
    if mode and mode not in MODES:
        raise _invalid(f"BufferMode is {' or '.join(MODES)}")
    shell.buffer_mode = mode or shell.buffer_mode


def _touch(shell: Shell) -> None:
    shell.last_used = asyncio.get_running_loop().time()


def _other_client() -> WsmanFault:
    return _internal(2150859213, "The shell is connected to a different client.")


def _invalid(message: str) -> WsmanFault:
    return _internal(2150858770, f"The request is not valid: {message}.")


def _internal(code: int, message: str) -> WsmanFault:
    return WsmanFault(code, "w:InternalError", message)
