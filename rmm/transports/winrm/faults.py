"""What a WSMan fault means, by its numbers and never by its text: texts are in the endpoint's language.

Codes: WSManFault@Code, as windows-rs and [MS-WSMV] 2.2.4 name them; sub-codes: DSP0226 14.6.
"""

from __future__ import annotations

import msgspec

from rmm.core.records import HRESULTS
from rmm.errors import (
    AccessError,
    ConnectError,
    DeadlineError,
    ProtocolError,
    QuotaError,
    TransportError,
    UnsupportedError,
)

TIMED_OUT = 2150858793
SHELL_GONE = 2150858843
IDLE_OUT_OF_BOUNDS = 2150859250
NO_CONFIGURATION = 2150858811
COMMAND_TERMINATED = 2150859212
ABORTED = 995

_ENVELOPE = {2150858790, 2150858824, 2150858825, 2150858805}
_PLUGIN = "a quota of the session configuration is used up"
_PLUGIN_HINT = (
    "It is a quota of the session configuration itself: winrm get winrm/config/plugin?Name=..., Quotas. Look for other "
    "clients of it; rmm never raises quotas."
)
# number -> (code, retry word, what it means)
_QUOTA = {
    2150858815: ("quota.user", "RB", "the user's quota of WinRM is used up"),
    2150859173: ("quota.shells", "RB", "too many shells of this user (MaxShellsPerUser)"),
    # Operations belong to our own shell: a fresh one has none.
    2150859174: ("quota.operations", "R1", "too many operations at once (MaxConcurrentOperationsPerUser)"),
    2150859175: ("quota.user", "RB", "the user's quota is used up"),
    2150859176: ("quota.system", "RB", "the system's quota is used up"),
    2150859179: ("quota.users", "RB", "too many users have shells (MaxConcurrentUsers)"),
    2150859237: ("quota.users", "RB", "too many users have shells of this session configuration"),
    **{code: ("quota.plugin", "RB", _PLUGIN) for code in (2150859236, *range(2150859238, 2150859243))},
}
_AUTHZ = 0x80540FA0  # FailureCategory=AuthZ of a plugin that authorises by itself, such as Exchange's
_DENIED = {5, 2150859012, 2150859013, 2150859014, 2147942405, 2147746819, _AUTHZ}
_DISABLED = {2150859180, 2150859229}
_CONFIGURATION = {2150859231, 2150859203, 2150859259, 2150859260, 2150859261, 2150858883, 2150858906}
_HEADER = 2150858767
# Shell, runspace or profile are gone, or the service restarts: another session may have none of that.
_AGAIN = {ABORTED, COMMAND_TERMINATED, 2147943418, 2150859204, 2150859206, 2150859230}
# status of the verdict on an HRESULT of WMI -> the error that carries it
_KINDS: dict[str, type[TransportError]] = {
    "UNSUPPORTED": UnsupportedError,
    "ACCESS_DENIED": AccessError,
    "QUOTA": QuotaError,
    "UNREACHABLE": ConnectError,
}


class Fault(msgspec.Struct, frozen=True):
    """A SOAP fault; any part may be missing (0 or empty)."""

    code: int = 0
    subcode: str = ""  # local name, such as TimedOut
    detail: str = ""  # last part of FaultDetail's URI
    message: str = ""
    provider_code: int = 0  # of a nested fault or WMI error

    @property
    def timed_out(self) -> bool:
        """Nothing to receive yet: send the Receive again."""
        return self.code == TIMED_OUT or (self.code == 0 and self.subcode == "TimedOut")

    @property
    def shell_gone(self) -> bool:
        """The shell or the command is not there (any more)."""
        return self.code == SHELL_GONE or self.detail == "UnexpectedSelectors"


def error_of(fault: Fault) -> TransportError:
    """The error with its code, retry word and hint. The outer of two codes counts, where it is known."""
    number = fault.code or fault.provider_code
    text = f"{fault.message[:300]} [{number or fault.subcode}]".strip()
    if fault.timed_out:
        return DeadlineError("the endpoint did not finish the operation in time", code="timeout.operation")
    if fault.shell_gone:
        hint = "The shell was ended on the endpoint (idle, memory quota or restart of WinRM)."
        return ConnectError(text, code="shell.gone", retry="R1", status="PROTOCOL_ERROR", hint=hint)
    for code in (fault.code, fault.provider_code):
        known = _by_number(code, text) or _of_wmi(code)
        if known is not None:
            return known
    return _by_subcode(fault.subcode, text) or ProtocolError(
        text, code=f"wsman.{number or (fault.subcode or 'fault').lower()}"
    )


def _by_number(code: int, text: str) -> TransportError | None:
    if code in _QUOTA:
        name, retry, meaning = _QUOTA[code]
        hint = _PLUGIN_HINT if name == "quota.plugin" else None
        return QuotaError(f"{meaning} [{code}]", code=name, retry=retry, hint=hint)
    if code in _DENIED:
        return AccessError(text)
    if code in _AGAIN:
        hint = "WinRM or the shell was restarted on the endpoint while it worked for us."
        return ConnectError(text, code="shell.aborted", retry="R1", status="PROTOCOL_ERROR", hint=hint)
    return _of_setup(code, text)


def _of_setup(code: int, text: str) -> TransportError | None:
    """What only a change of configuration mends, there or here."""
    if code in _DISABLED:
        hint = "Remote shells are turned off by policy (AllowRemoteShellAccess)."
        return AccessError(text, code="access.disabled", status="CONFIG", hint=hint)
    if code == NO_CONFIGURATION:
        hint = "The session configuration does not exist there: Enable-PSRemoting, or check `configuration`."
        return UnsupportedError(text, code="unsupported.configuration", hint=hint)
    if code in _CONFIGURATION:
        hint = "The session configuration is broken on the endpoint: see its PowerShell and WinRM event logs."
        return UnsupportedError(text, code="configuration.broken", status="CONFIG", retry="RH", hint=hint)
    if code == IDLE_OUT_OF_BOUNDS:
        hint = "MaxIdleTimeoutms of the endpoint is shorter than what was asked for."
        return ProtocolError(text, code="shell.idle_timeout", retry="R1", status="CONFIG", hint=hint)
    if code in _ENVELOPE:
        hint = "MaxEnvelopeSizekb of the endpoint is too small."
        return ProtocolError(text, code="wsman.envelope", retry="R0", status="CONFIG", hint=hint)
    if code == _HEADER:
        hint = "The endpoint refuses a header of ours: please report it with the output of `rmm doctor`."
        return ProtocolError(text, code="wsman.header", retry="R0", hint=hint)
    return None


def _of_wmi(code: int) -> TransportError | None:
    """By the one table of HRESULTs, which error records have as well."""
    verdict = HRESULTS.get(code)
    if verdict is None:
        return None
    kind = _KINDS.get(verdict.status, ProtocolError)
    return kind(f"WMI refused [{code:#010x}]", code=verdict.code, retry=verdict.retry, hint=verdict.hint)


def _by_subcode(subcode: str, text: str) -> TransportError | None:
    """For faults without a number: DSP0226 14.6."""
    if subcode in ("AccessDenied", "NotAuthorized"):
        return AccessError(text)
    if subcode in ("InvalidResourceURI", "DestinationUnreachable"):
        return UnsupportedError(text, code="unsupported.resource")
    if subcode == "QuotaLimit":
        return QuotaError(text, code="quota.unnamed")
    if subcode == "InternalError":
        hint = "Windows gives this without a number when a shell has run too many commands; a new shell is used."
        return ProtocolError(text, code="wsman.internal", retry="R1", hint=hint)
    return None
