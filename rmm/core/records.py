"""What an error record of PowerShell means, by the parts of it that no language changes.

One table: HRESULT, then FullyQualifiedErrorId, then ErrorCategory; the text is for people and is never read. Sources:
[MS-WMI] 2.2.11 (WBEM_E_*), the identifiers of the PowerShell engine, and `ErrorCategory` of [MS-PSRP] 2.2.3.9.
"""

from __future__ import annotations

import re

import msgspec

from rmm.model.observation import (
    ACCESS_DENIED,
    CONFIG,
    PARTIAL,
    PROTOCOL_ERROR,
    QUOTA,
    UNREACHABLE,
    UNSUPPORTED,
    CollectorResult,
    Fault,
)


class Verdict(msgspec.Struct, frozen=True):
    """A fault's code, retry word and hint; `status` is what a poll is for which it was the only answer."""

    code: str
    retry: str
    hint: str
    status: str = PARTIAL

    @property
    def unsupported(self) -> bool:
        """Whether this endpoint lacks what was asked of it: nothing is wrong, and asking again soon is in vain."""
        return self.status == UNSUPPORTED


_DENIED = "This account may not read that: see docs/preparing-endpoints.md, or use a JEA profile (docs/jea.md)."
_WMI_ILL = "WMI on the endpoint is ill: `winmgmt /verifyrepository`, and the event log of WMI-Activity."
_ABSENT = "This Windows has no such class; it is asked again after a day, or with `rmm poll --all`."

HRESULTS: dict[int, Verdict] = {
    0x80041001: Verdict("wmi.failed", "RB", _WMI_ILL),
    0x80041002: Verdict("wmi.not_found", "R0", _ABSENT, UNSUPPORTED),
    0x80041003: Verdict("access.wmi", "RH", _DENIED, ACCESS_DENIED),
    0x80041004: Verdict("wmi.provider", "RB", _WMI_ILL),
    0x80041006: Verdict("quota.wmi", "RB", "WMI on the endpoint is out of memory.", QUOTA),
    0x8004100E: Verdict("wmi.namespace", "R0", "This Windows has no such WMI namespace.", UNSUPPORTED),
    0x80041010: Verdict("wmi.class", "R0", _ABSENT, UNSUPPORTED),
    0x80041011: Verdict("wmi.provider", "RB", _WMI_ILL),
    0x80041013: Verdict("wmi.provider", "RB", _WMI_ILL),
    0x80041017: Verdict("wmi.query", "R0", "The collector's query is wrong: `rmm collector check`.", PROTOCOL_ERROR),
    0x80041033: Verdict("wmi.stopping", "RB", "WMI shuts down: the endpoint is about to restart."),
    0x8004106C: Verdict("quota.wmi", "RB", "A quota of WMI is used up (__ProviderHostQuotaConfiguration).", QUOTA),
    0x800706BA: Verdict("wmi.rpc", "RB", "The WMI service does not answer (RPC): is it started?", UNREACHABLE),
    0x80070005: Verdict("script.denied", "RH", _DENIED, ACCESS_DENIED),
    0x8007000E: Verdict("quota.memory", "RB", "The shell is out of memory (MaxMemoryPerShellMB).", QUOTA),
}

_CONSTRAINED = Verdict(
    "language.constrained",
    "R0",
    "Constrained Language (AppLocker, WDAC) blocks this collector; use a JEA profile: docs/jea.md.",
    UNSUPPORTED,
)
_NO_SCRIPTS = Verdict(
    "language.none",
    "RH",
    "This session configuration takes commands and no scripts: set `source: jea` and see docs/jea.md.",
    CONFIG,
)
_POLICY = Verdict(
    "script.policy",
    "RH",
    "An execution policy keeps PowerShell from loading a module that is needed: `Get-ExecutionPolicy -List`.",
    CONFIG,
)
_BLOCKED = Verdict(
    "script.blocked",
    "RH",
    "The endpoint's virus scanner (AMSI) took the collectors for malware: exempt rmm's scripts, or use a JEA profile.",
    CONFIG,
)
_LARGE = Verdict(
    "output.object_too_large",
    "R0",
    "An object is over MaximumReceivedObjectSizeMB of the session configuration: the collector must page its query.",
)
_ARGUMENT = Verdict(
    "jea.arguments", "RH", "The JEA profile is of another version: make it anew with `rmm collector jea`.", CONFIG
)

ERROR_IDS: dict[str, Verdict] = {
    "CannotCreateTypeConstrainedLanguage": _CONSTRAINED,
    "ConversionSupportedOnlyToCoreTypes": _CONSTRAINED,
    "CannotDefineNewType": _CONSTRAINED,
    "ScriptsNotAllowed": _NO_SCRIPTS,
    "CommandNotFoundException": Verdict(
        "script.unsupported",
        "R0",
        "This Windows has no such command; it is asked again after a day, or with `rmm poll --all`.",
        UNSUPPORTED,
    ),
    "RmmNoCollector": Verdict(
        "jea.collector",
        "R0",
        "The JEA profile on the endpoint does not hold this collector: make it anew with `rmm collector jea`.",
        UNSUPPORTED,
    ),
    "CouldNotAutoloadMatchingModule": _POLICY,
    "CouldNotAutoLoadModule": _POLICY,
    "ScriptContainedMaliciousContent": _BLOCKED,
    "NativeCommandFailed": Verdict(
        "quota.processes",
        "R0",
        "A collector started a program and MaxProcessesPerShell is used up: collectors start none.",
        QUOTA,
    ),
    "ReceivedObjectSizeExceededMaximumClient": _LARGE,
    "ReceivedObjectSizeExceededMaximumServer": _LARGE,
    "ReceivedDataSizeExceededMaximumClient": _LARGE,
    "ReceivedDataSizeExceededMaximumServer": _LARGE,
    "DocumentTooLarge": Verdict(
        "output.too_large", "R0", "This collector wrote more than 4 MiB: it must ask for less. The others were read."
    ),
    "HostCallRefused": Verdict("script.asks", "R0", "The collector waits for input, which a poll never gives."),
    "HostFunctionNotImplemented": Verdict("script.asks", "R0", "The collector asks something of a person."),
    "OutOfMemory": Verdict("quota.memory", "RB", "The shell is out of memory (MaxMemoryPerShellMB).", QUOTA),
    "ParameterBindingFailed": _ARGUMENT,
    "ParameterArgumentValidationError": _ARGUMENT,
    "NamedParameterNotFound": _ARGUMENT,
}

# Categories, where neither number nor identifier says more.
CATEGORIES: dict[str, Verdict] = {
    "PermissionDenied": Verdict("script.denied", "RH", _DENIED, ACCESS_DENIED),
    "SecurityError": Verdict("script.denied", "RH", _DENIED, ACCESS_DENIED),
    "LimitsExceeded": Verdict("script.limit", "RB", "A limit of the endpoint is reached: see the message.", QUOTA),
}
FAILED = Verdict("script.failed", "R0", "The collector's script failed on the endpoint.")

# A command line's answer about arguments says something of a profile only where one was called by command.
_OF_COMMANDS = frozenset({"jea.arguments"})
_HRESULT = re.compile(r"HRESULT 0x([0-9A-Fa-f]{8})\Z")


def judge(
    error_id: str, category: str = "", hresult: int | None = None, exception: str = "", *, command: bool = False
) -> Verdict:
    """What a record means.

    Args:
        error_id: FullyQualifiedErrorId; what follows the first comma names the command and does not count.
        category: name of the ErrorCategory.
        hresult: of the exception, signed or unsigned. CIM's commands write it into `error_id` instead.
        exception: .NET type name, where it is known.
        command: whether the record ended a pipeline of commands, as `source: jea` sends them.
    """
    head = error_id.partition(",")[0].strip()
    known = HRESULTS.get(_number(head, hresult))
    if known is not None:
        return known
    if head.endswith("ConstrainedLanguage"):
        return _CONSTRAINED
    if exception.endswith("PSSecurityException") or (head == "UnauthorizedAccess" and category == "SecurityError"):
        return _POLICY
    known = ERROR_IDS.get(head)
    if known is not None and command:
        return _of_command(known)
    if known is not None and known.code not in _OF_COMMANDS:
        return known
    return CATEGORIES.get(category, FAILED)


def _of_command(known: Verdict) -> Verdict:
    """A command that is not there is a profile that is not there: nothing of a poll can work."""
    if known.code != "script.unsupported":
        return known
    hint = "This session configuration has no Get-RmmData: install the profile of docs/jea.md, or correct its name."
    return Verdict("jea.command", "RH", hint, CONFIG)


def _number(head: str, hresult: int | None) -> int:
    found = _HRESULT.match(head)
    return int(found[1], 16) if found else (hresult or 0) & 0xFFFFFFFF


def result_of(verdict: Verdict, message: str) -> CollectorResult:
    """The result of a collector that ended with such a record; `message` is for people."""
    fault = Fault(verdict.code, verdict.retry, verdict.hint, message)
    return CollectorResult(outcome="unsupported" if verdict.unsupported else "fault", fault=fault)
