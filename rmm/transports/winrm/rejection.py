"""What a 401 after the proof means. Windows answers the same to many causes; told apart is only what can be."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence

from rmm.errors import AuthError, ProtocolError, TransportError
from rmm.model.endpoint import Target

UNKNOWN = (
    "Wrong, locked, expired, disabled or not allowed to log on over the network: NTLM does not say which. Or NTLM is "
    "refused (Protected Users, a policy: Kerberos required), or RootSDDL does not admit the account. Check it with "
    "`rmm credentials test`; no other endpoint tries it until the secret is changed, the hold has passed, or "
    "`rmm credentials release`."
)
_LOCAL = " For a local account also: LocalAccountTokenFilterPolicy is 0, which refuses it over the network."
_TLS = " Over https also: EPA/CBT is strict (CbtHardeningLevel) and something between re-signs TLS."
_CHALLENGE = b"NTLMSSP\x00\x02\x00\x00\x00"


def rejection(offers: Sequence[str], hint: str = "") -> TransportError:
    """The error for a 401 to a message that was made with the secret.

    Args:
        offers: its WWW-Authenticate headers.
        hint: what is most likely here; UNKNOWN without.
    """
    if any(_CHALLENGE in _bytes(offer.partition(" ")[2]) for offer in offers):
        return ProtocolError(
            "the endpoint answers a logon with another challenge",
            code="auth.loop",
            retry="RH",
            hint="It never comes to an end: a defective or hostile endpoint. It counts as a bad logon; none follows.",
        )
    schemes = {offer.partition(" ")[0].lower() for offer in offers}
    if "kerberos" in schemes and not schemes & {"negotiate", "ntlm"}:
        return AuthError(
            "the endpoint accepts no NTLM",
            code="auth.ntlm_refused",
            status="CONFIG",
            hint="Kerberos required: set auth: kerberos for this site. NTLM is refused there by policy.",
        )
    return AuthError("the endpoint rejected the logon", hint=hint or UNKNOWN)


def ntlm_hint(target: Target) -> str:
    """What may be behind a rejection of this target's logon."""
    authority = target.credential.username.rpartition("\\")[0]
    local = "@" not in target.credential.username and authority.lower() in ("", ".", target.name.lower())
    return UNKNOWN + (_LOCAL if local else "") + (_TLS if target.scheme == "https" else "")


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text.strip(), validate=True)
    except binascii.Error:
        return b""
