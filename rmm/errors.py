"""The whole error taxonomy: one root, classes by who must act, values in attributes.

A foreign exception is translated exactly once, at its adapter, with the cause kept (`raise X from error`).
Nothing here knows how an error is shown; nothing here holds a secret.
"""

from __future__ import annotations

from typing import ClassVar


class RmmError(Exception):
    """Something that this product can name.

    Attributes:
        code: stable machine-readable word, such as `tcp.refused`; printed, stored and documented.
        retry: R0 none this cycle, R1 one retry on a fresh connection, RB exponential back-off across cycles,
            RH hold until configuration or credential changes.
        status: the status word that an observation of such a failure carries.
        hint: what a person should do next.
        sample: the raw beginning of what could not be read; nobody sees it before `rmm.core.sample` has scrubbed it.
    """

    code: str = "internal"
    retry: str = "R0"
    status: str = "COLLECTOR_FAULT"
    sample: str = ""
    hint: str = "This is a defect in rmm: please report it with the output of `rmm doctor`."

    def __init__(
        self,
        message: str = "",
        *,
        code: str | None = None,
        retry: str | None = None,
        hint: str | None = None,
        status: str | None = None,
    ) -> None:
        super().__init__(message or (type(self).__doc__ or "").strip().splitlines()[0])
        self.code = code or type(self).code
        self.retry = retry or type(self).retry
        self.status = status or type(self).status
        self.hint = hint or type(self).hint

    @property
    def told(self) -> str:
        """What is wrong and what to do, where both have one line: in logs, in what a process says of itself."""
        return "; ".join(filter(None, (str(self), self.hint)))


class ConfigError(RmmError):
    """The operator's configuration cannot be used.

    `problems` holds every error found, each naming file, line and key.
    """

    code = "config"
    retry = "RH"
    status = "CONFIG"
    hint = "Correct what is named above; nothing was done."

    def __init__(self, message: str = "", *, problems: tuple[str, ...] = (), hint: str | None = None) -> None:
        super().__init__(message or "\n".join(problems), hint=hint)
        self.problems = problems or ((message,) if message else ())


class CatalogError(ConfigError):
    """A collector's folder is not valid."""

    code = "catalog"
    hint = "Run `rmm collector check` and correct the places it names."


class QueryError(ConfigError):
    """A query cannot be understood or carried out.

    `column` is where, from 1; 0 where no single place is wrong. The message shows the place under the query's text.
    """

    code = "query"
    hint = "docs/query.md explains the language."

    def __init__(self, reason: str, query: str = "", column: int = 0) -> None:
        # One column per character, whatever it is, and nothing that steers a terminal.
        shown = "".join(c if c.isprintable() else " " for c in query)
        begin = max(0, column - 61)
        part = shown[begin : begin + 120]
        place = f"\n  {part}\n  {' ' * (column - 1 - begin)}^" if column else ""
        super().__init__(f"column {column}: {reason}{place}" if column else reason)
        self.reason = reason
        self.column = column


class VaultError(RmmError):
    """The credential vault cannot be opened or lacks what was asked for."""

    code = "vault"
    retry = "RH"
    status = "CONFIG"
    hint = "Run `rmm credentials list` to see what the vault holds."


class TransportError(RmmError):
    """A poll could not be carried out over the network.

    `partial` holds the text outputs that arrived before the failure, in order; `retry_after_s` is how long the
    endpoint asked to be left alone.
    """

    retry_after_s: float = 0.0

    code = "transport"
    retry = "RB"
    status = "PROTOCOL_ERROR"
    hint = "Run `rmm doctor ENDPOINT` to see at which step it fails."
    partial: tuple[str, ...] = ()


class ConnectError(TransportError):
    """No connection: name, route or TCP."""

    code = "tcp.unreachable"
    status = "UNREACHABLE"
    hint = "Is the machine on, and does its firewall admit the WinRM port?"


class TlsError(TransportError):
    """The TLS handshake or the verification of the certificate failed."""

    code = "tls"
    retry = "RH"
    status = "TLS_ERROR"
    hint = "Check the endpoint's certificate, or name its CA with `ca_file` for the site."


class AuthError(TransportError):
    """The endpoint rejected the logon."""

    code = "auth.rejected"
    retry = "RH"
    status = "AUTH_REJECTED"
    hint = "Check user name and password with `rmm credentials test`; no further logon is tried until then."


class AuthHeld(AuthError):
    """Not tried, because this account was rejected before and must not be locked."""

    code = "auth.held"
    status = "AUTH_HELD"
    hint = (
        "It ends with a new secret (`rmm credentials set`), after the hold, or with `rmm credentials release`; "
        "`rmm credentials list` shows it."
    )


class DeadlineError(TransportError):
    """The deadline passed before the endpoint had answered."""

    code = "timeout"
    status = "TIMEOUT"
    hint = "The endpoint is overloaded or hangs; raise `poll.timeout` only if it is merely slow."


class ProtocolError(TransportError):
    """What the endpoint sent is not what the protocol allows."""

    code = "protocol"
    status = "PROTOCOL_ERROR"
    hint = "Something else may listen on this port; see `rmm doctor ENDPOINT`."


class QuotaError(TransportError):
    """The endpoint refused because one of its WinRM quotas is used up."""

    code = "quota"
    status = "QUOTA"
    hint = "Look for other remoting clients and orphaned shells on the endpoint; rmm never raises quotas."


class AccessError(TransportError):
    """The logon succeeded but this account may not do that."""

    code = "access.denied"
    retry = "RH"
    status = "ACCESS_DENIED"
    hint = "Add the account to Remote Management Users or to the session configuration's permissions."


class UnsupportedError(TransportError):
    """The endpoint or the transport has no such capability."""

    code = "unsupported"
    retry = "R0"
    status = "UNSUPPORTED"
    hint = "Choose another transport or session configuration for this endpoint."


class ScriptError(RmmError):
    """A collector's script ended with a terminating error."""

    code = "script.failed"
    status = "PARTIAL"
    hint = "Run `rmm doctor ENDPOINT` to see the error record of this collector."


class OutputError(RmmError):
    """A collector's output is not what its manifest declares."""

    code = "output.invalid"
    status = "PARTIAL"
    hint = "Run `rmm collector check`; if it passes, report the endpoint's OS build and the collector's name."


class TierError(RmmError):
    """A tier could not be read or written."""

    code = "tier"
    hint = "Check free space and permissions of the data folder."


class DamagedFile(RmmError):
    """A file of the archive cannot be read, or is not what it says of itself."""

    code = "archive.damaged"
    hint = "`rmm archive verify` sets it aside; another copy of it may be put in its place."


class ArchiveQueryError(RmmError):
    """A query of the archive failed."""

    code = "archive.query"
    status = "CONFIG"
    hint = "The tables are `samples` and `observations`; `rmm archive query 'DESCRIBE samples'` shows their columns."


class ChannelError(RmmError):
    """A channel did not take a notification.

    `channel.refused` says that it answered and did not want this one; with any other code it takes none now.
    `retry_after_s` is how long it asked to be left alone.
    """

    code = "channel.failed"
    retry = "RB"
    hint = "`rmm notify test CHANNEL` shows what is wrong; what was not taken is tried again for seven days."
    retry_after_s: float = 0.0


class TemplateError(ConfigError):
    """A template of notifications cannot be used."""

    code = "template"
    hint = "docs/notifications.md says what templates may use; the shipped one is used meanwhile."


class BusError(RmmError):
    """The bus did not take or deliver a message."""

    code = "bus"
    hint = "The broker cannot be reached or refused; polling goes on, and what was observed waits in the spool."


class BusFull(BusError):
    """The bus holds as much of this subject as it may, until some of it is acknowledged."""

    code = "bus.full"
    hint = (
        "The hub takes less than comes: does `rmm hub run` run, and what does its log say? It goes on by itself; what "
        "is observed waits at the site."
    )


class KeyTaken(RmmError):
    """Somebody else wrote the key first."""

    code = "key.taken"


class EnvelopeError(RmmError):
    """An envelope, receipt, token or bundle that is not what it should be; `code` says how.

    Codes: envelope.format, envelope.schema, envelope.signature, envelope.site, envelope.size, envelope.old.
    """

    code = "envelope.format"
    hint = "Nothing of it was taken. Who sent it is in the audit log of the hub."


class LeaseLost(RmmError):
    """Another process holds, or took over, the right to this shard."""

    code = "lease.held"
    hint = "Wait for the other poll to end, or poll another shard."

    # Who holds it, as text for people.
    holder: ClassVar[str] = ""
