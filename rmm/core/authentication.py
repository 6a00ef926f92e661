"""Which ways of logging on go with which transport, scheme and kind of credential, and in which order they are tried.

Nothing is tried that is not named, and nothing after a rejection; the reasons are in docs/decisions/0005. Pure.
"""

from __future__ import annotations

from rmm.model.endpoint import Credential, Target

# What each transport can do. pywinrm's Kerberos needs a library of its own that nobody maintains.
BY_TRANSPORT: dict[str, frozenset[str]] = {
    "winrm": frozenset({"ntlm", "kerberos", "negotiate", "certificate", "basic"}),
    "wql": frozenset({"ntlm", "kerberos", "negotiate", "certificate", "basic"}),
    "pypsrp": frozenset({"ntlm", "kerberos", "negotiate", "certificate", "basic", "credssp"}),
    "pywinrm": frozenset({"ntlm", "certificate", "basic"}),
}
# The kinds of credential that can prove themselves so.
BY_AUTH: dict[str, frozenset[str]] = {
    "ntlm": frozenset({"password"}),
    "kerberos": frozenset({"password", "keytab", "ccache"}),
    "negotiate": frozenset({"password", "keytab", "ccache"}),
    "certificate": frozenset({"certificate"}),
    "basic": frozenset({"password"}),
    "credssp": frozenset({"password"}),
}
_HTTPS_ONLY = {
    "basic": "basic sends the password: only with scheme: https",
    "certificate": "a client certificate needs scheme: https",
}


def unfit(auth: str, transport: str, scheme: str, kind: str = "") -> str:
    """Why these do not go together; empty where they do. `kind` is the credential's, empty where not known yet."""
    able = BY_TRANSPORT.get(transport)
    if able is None or auth not in BY_AUTH:
        return ""  # ssh has its own ways, and what is no way at all is reported elsewhere
    if auth not in able:
        others = ", ".join(name for name, ways in BY_TRANSPORT.items() if auth in ways)
        return f"{auth} needs transport: {others}"
    if auth in _HTTPS_ONLY and scheme != "https":
        return _HTTPS_ONLY[auth]
    if kind and kind not in BY_AUTH[auth]:
        return f"{auth} cannot use a {kind}: set a credential that is a {' or '.join(sorted(BY_AUTH[auth]))}"
    return ""


def schemes_of(target: Target) -> tuple[str, ...]:
    """What is tried for this target, in order; the next one only where the one before was not possible at all.

    NTLM needs a password; Kerberos needs an account that a KDC can know, so a local account has only NTLM.
    """
    if target.auth != "negotiate":
        return (target.auth,)
    possible = {
        "kerberos": target.credential.kind != "password" or not is_local(target.credential),
        "ntlm": target.credential.kind == "password",
    }
    return tuple(name for name in target.negotiate if possible.get(name)) or target.negotiate[:1]


def is_local(credential: Credential) -> bool:
    r"""Whether an account is one of the endpoint itself: a plain name, or .\name."""
    name = credential.username
    return "@" not in name and ("\\" not in name or name.startswith(".\\"))
