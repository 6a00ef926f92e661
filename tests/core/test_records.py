"""What error records mean: by number, identifier and category, in any language."""

from __future__ import annotations

import pytest

from rmm.core.records import HRESULTS, judge

CIM = "Microsoft.Management.Infrastructure.CimCmdlets.GetCimInstanceCommand"


@pytest.mark.parametrize(
    ("error_id", "category", "hresult", "code"),
    [
        (f"HRESULT 0x80041010,{CIM}", "MetadataError", -2146233088, "wmi.class"),
        (f"HRESULT 0x80041003,{CIM}", "PermissionDenied", -2146233088, "access.wmi"),
        (f"HRESULT 0x8004106c,{CIM}", "NotSpecified", None, "quota.wmi"),
        (f"HRESULT 0x80041017,{CIM}", "InvalidArgument", None, "wmi.query"),
        (f"HRESULT 0x800706ba,{CIM}", "NotSpecified", None, "wmi.rpc"),
        ("x", "", 0x80041010 - (1 << 32), "wmi.class"),
        ("MethodInvocationNotSupportedInConstrainedLanguage", "InvalidOperation", None, "language.constrained"),
        ("PropertySetterNotSupportedInConstrainedLanguage", "InvalidOperation", None, "language.constrained"),
        (
            "CannotCreateTypeConstrainedLanguage,Microsoft.PowerShell.Commands.NewObjectCommand",
            "PermissionDenied", None, "language.constrained",
        ),
        ("ScriptsNotAllowed", "ParserError", None, "language.none"),
        ("CommandNotFoundException", "ObjectNotFound", -2146233087, "script.unsupported"),
        ("UnauthorizedAccess,Microsoft.PowerShell.Commands.ImportModule", "SecurityError", None, "script.policy"),
        ("ScriptContainedMaliciousContent", "ParserError", None, "script.blocked"),
        ("NativeCommandFailed", "ResourceUnavailable", None, "quota.processes"),
        ("ReceivedObjectSizeExceededMaximumClient", "OperationStopped", None, "output.object_too_large"),
        ("HostCallRefused", "NotImplemented", None, "script.asks"),
        ("System.UnauthorizedAccessException,X", "PermissionDenied", None, "script.denied"),
        ("ParameterArgumentValidationError,X", "InvalidData", None, "script.failed"),
        ("RuntimeException", "OperationStopped", None, "script.failed"),
        ("", "", None, "script.failed"),
    ],
)  # fmt: skip
def test_a_record_has_its_code(error_id: str, category: str, hresult: int | None, code: str) -> None:
    assert judge(error_id, category, hresult).code == code


def test_what_an_endpoint_lacks_is_unsupported_and_what_it_denies_is_a_fault() -> None:
    assert judge("CommandNotFoundException").unsupported
    assert HRESULTS[0x80041010].unsupported
    assert not HRESULTS[0x80041003].unsupported


def test_an_execution_policy_is_told_by_its_exception_too() -> None:
    assert judge("x", "SecurityError", exception="System.Management.Automation.PSSecurityException").code == (
        "script.policy"
    )


@pytest.mark.parametrize(
    ("error_id", "code"),
    [
        ("CommandNotFoundException", "jea.command"),
        ("ParameterArgumentValidationError,Get-RmmData", "jea.arguments"),
        ("ScriptsNotAllowed", "language.none"),
        ("RuntimeException", "script.failed"),
    ],
)
def test_for_a_command_the_profile_is_what_is_wrong(error_id: str, code: str) -> None:
    assert judge(error_id, command=True).code == code


def test_every_verdict_has_a_retry_word_and_a_hint() -> None:
    from rmm.core.records import CATEGORIES, ERROR_IDS

    for verdict in (*HRESULTS.values(), *ERROR_IDS.values(), *CATEGORIES.values()):
        assert verdict.retry in ("R0", "R1", "RB", "RH")
        assert verdict.hint[-1] in ".?)`"
