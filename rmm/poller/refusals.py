"""What people are told of a logon that was not tried, or that one endpoint alone rejects."""

from __future__ import annotations

from rmm.core.authguard import Answer
from rmm.errors import AuthError, AuthHeld

_SPENT = (
    "It ends with the window, or with `rmm credentials release NAME --unlocked` once an administrator has seen that "
    "the account is not locked and has no bad logons; `lockout.forgives` spares that with Active Directory."
)
_NONE_LEFT = (
    "Another collector of this site has what may be spent, and gives it back when it can be reached and needs it no "
    "more; `rmm hub revoke SITE --collector ID` once it will never come back."
)
_WHY = {
    "host": "this endpoint rejected {account}, which others accept",
    "rejected": "{account} was rejected",
    "suspect": "this endpoint rejected {account}, and no other has shown yet that it is good",
    "budget": "{account} has spent the bad logons that it may",
    "allowance": "this collector may not spend a bad logon of {account} now",
    "broken": "logons as {account} were broken off by several endpoints in a row",
}


def held_error(answer: Answer, account: str) -> AuthHeld:
    """Not tried, and why."""
    until = f"{answer.until:%Y-%m-%d %H:%M} UTC" if answer.until else "later"
    code = "auth.host" if answer.reason == "host" else "auth.held"
    hint = {"budget": _SPENT, "allowance": _NONE_LEFT}.get(answer.reason)
    text = f"{_WHY[answer.reason].format(account=account)}; not tried before {until}"
    return AuthHeld(text, code=code, hint=hint)


def host_error(account: str, host: str) -> AuthError:
    """The account is good elsewhere."""
    hint = (
        "The account is good elsewhere, so it is this machine: its trust in the domain is broken "
        "(Test-ComputerSecureChannel), EPA/CBT is strict and something re-signs TLS, it refuses NTLM (Kerberos "
        "required), its clock is wrong, or RootSDDL does not admit the account. It alone is held back."
    )
    return AuthError(f"{host} rejected {account}, which other endpoints accept", code="auth.host", hint=hint)
