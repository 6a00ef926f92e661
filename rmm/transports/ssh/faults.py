"""What SSH's own errors mean: each with code, retry word and remedy. By classes and numbers, never by text."""

from __future__ import annotations

import asyncssh

from rmm.errors import (
    AuthError,
    ConnectError,
    DeadlineError,
    ProtocolError,
    QuotaError,
    TlsError,
    TransportError,
    UnsupportedError,
)
from rmm.model.endpoint import Target
from rmm.transports.winrm.network import connect_error

TOO_MANY_CONNECTIONS = 12  # RFC 4253 11.1
PROHIBITED, NO_RESOURCES, REFUSED = 1, 4, 0xFFFFFFFF  # RFC 4254 5.1; the last is asyncssh's for a refused request


def tcp_error(error: Exception, target: Target) -> TransportError:
    """A failed TCP connect."""
    found = connect_error(error, target)
    if found.code == "tcp.refused":
        found.hint = "The machine is on, but no SSH server listens on this port."
    return found


def handshake_error(error: Exception, target: Target, *, spoke: bool, fingerprint: str, known: bool) -> TransportError:
    """A failure between TCP and the logon.

    Args:
        error: what asyncssh raised.
        target: which endpoint.
        spoke: whether the server had said its version, so that it is an SSH server.
        fingerprint: of the host key that was refused.
        known: whether known_hosts has anything of this host.
    """
    place = f"{target.host}:{target.port}"
    if isinstance(error, asyncssh.HostKeyNotVerifiable):
        return _host_key(place, target, fingerprint, known=known)
    if isinstance(error, TimeoutError):
        hint = "It accepts connections but does not answer SSH: is it overloaded, or does something else listen there?"
        return DeadlineError(f"{place} did not finish the SSH handshake", code="ssh.timeout", hint=hint)
    if isinstance(error, asyncssh.KeyExchangeFailed):
        hint = "Update its SSH server, or turn current algorithms on there; rmm offers what asyncssh holds safe."
        return TlsError(f"{place} and rmm have no algorithm in common", code="ssh.algorithms", hint=hint)
    if isinstance(error, asyncssh.DisconnectError) and error.code == TOO_MANY_CONNECTIONS:
        return QuotaError(f"{place} has too many connections", code="ssh.busy", hint=_STARTUPS)
    if not spoke and isinstance(error, asyncssh.ConnectionLost | ConnectionError):
        return ConnectError(f"{place} hung up before it said anything", code="ssh.closed", retry="R1", hint=_STARTUPS)
    if isinstance(error, asyncssh.ConnectionLost | OSError):
        return ConnectError(f"{place} hung up during the handshake", code="tcp.reset", retry="R1")
    if not spoke or isinstance(error, asyncssh.ProtocolNotSupported):
        hint = "Something other than an SSH server of version 2 listens on this port."
        return ProtocolError(f"{place} does not speak SSH", code="ssh.not_ssh", retry="R0", hint=hint)
    return ProtocolError(f"{place}: {type(error).__name__}: {error}"[:500], code="ssh.protocol", retry="R1")


_STARTUPS = (
    "The server has no room for more logons (MaxStartups), or it refuses this address: see its log. "
    "It is tried again in a later round."
)


def _host_key(place: str, target: Target, fingerprint: str, *, known: bool) -> TlsError:
    shown = fingerprint or "revoked, or signed by nobody who is trusted"
    port = f"-p {target.port} " if target.port != 22 else ""
    scan = f"ssh-keyscan {port}{target.host}"
    if known:
        hint = (
            "Was the machine set up anew? Compare the fingerprint on its console (ssh-keygen -lf), then replace the "
            f"line: {scan} gives it. If not, somebody else answers: nothing secret was sent."
        )
        return TlsError(f"the host key of {place} is not the one that is known; it is {shown}", code="ssh.host_key",
                        hint=hint)  # fmt: skip
    hint = f"Compare the fingerprint on its console, then add it: {scan} >> known_hosts. Nothing secret was sent."
    return TlsError(f"the host key of {place} is not in known_hosts; it is {shown}", code="ssh.host_unknown", hint=hint)


def rejected() -> AuthError:
    """The server said no to the one attempt that was made."""
    return AuthError(
        "the endpoint rejected the logon",
        hint="Wrong, locked or expired, the key is not authorised, or the account may not log on by SSH (AllowUsers, "
        "DenyUsers): the server does not say which. Check it with `rmm credentials test`.",
    )


def not_offered(what: str) -> AuthError:
    """The server does not take what the credential is; nothing secret was sent."""
    return AuthError(
        f"the endpoint takes no logon by {what}",
        code="auth.scheme",
        status="CONFIG",
        retry="R0",
        hint="See its sshd_config: PasswordAuthentication, KbdInteractiveAuthentication, PubkeyAuthentication.",
    )


def lost(during: str) -> ConnectError:
    """The connection broke after the logon."""
    return ConnectError(f"the connection was lost {during}", code="tcp.reset", retry="R1")


def silent(what: str) -> DeadlineError:
    """No answer to the request for a channel."""
    return DeadlineError(f"the endpoint did not start {what} in time", code="ssh.timeout")


def channel_error(error: Exception, what: str) -> TransportError:
    """A channel or a request in it was refused."""
    if not isinstance(error, asyncssh.ChannelOpenError):
        return lost(f"when {what} was asked for")
    if error.code == REFUSED:
        return UnsupportedError(f"the endpoint refuses {what}", code="ssh.refused")
    if error.code == NO_RESOURCES:
        return QuotaError(f"the endpoint has no room for {what}", code="ssh.sessions", hint="See MaxSessions there.")
    hint = "Its sshd_config forbids sessions for this account: see MaxSessions, ForceCommand and Match blocks."
    return ProtocolError(f"the endpoint does not allow {what}", code="ssh.prohibited", retry="RH", hint=hint)
