"""What a refusal by HTTP means: a 401 after the proof, whose causes Windows hardly tells apart, and other statuses."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence

from rmm.errors import AuthError, ProtocolError, TransportError
from rmm.model.endpoint import Target
from rmm.transports.winrm.http import Response
from rmm.transports.winrm.kdc import TicketError

UNKNOWN = (
    "Wrong, locked, expired, disabled or not allowed to log on over the network: NTLM does not say which. Or NTLM is "
    "refused (Protected Users, a policy: Kerberos required), or RootSDDL does not admit the account. Check it with "
    "`rmm credentials test`; no other endpoint tries it until the secret is changed, the hold has passed, or "
    "`rmm credentials release`. Is it this machine? Release it, then `rmm credentials test NAME --endpoint OTHER`."
)
_LOCAL = " For a local account also: LocalAccountTokenFilterPolicy is 0, which refuses it over the network."
_TLS = " Over https also: EPA/CBT is strict (CbtHardeningLevel) and something between re-signs TLS."
_CHALLENGE = b"NTLMSSP\x00\x02\x00\x00\x00"


UNMAPPED = (
    "Is this certificate mapped to a local account there (winrm enumerate winrm/config/service/certmapping), is its "
    "issuer trusted, is Certificate turned on (winrm get winrm/config/service/auth), and is the account's password "
    "still that of the mapping? Domain accounts cannot be mapped."
)


def rejection(offers: Sequence[str], hint: str = "") -> TransportError:
    """The error for a 401 to a message that was made with the secret.

    Args:
        offers: its WWW-Authenticate headers.
        hint: what is most likely here; UNKNOWN without.
    """
    if any(_CHALLENGE in _bytes(offer.partition(" ")[2]) for offer in offers):
        return endless()
    schemes = {offer.partition(" ")[0].lower() for offer in offers}
    if "kerberos" in schemes and not schemes & {"negotiate", "ntlm"}:
        return AuthError(
            "the endpoint accepts no NTLM",
            code="auth.ntlm_refused",
            status="CONFIG",
            hint="Kerberos required: set auth: kerberos for this site. NTLM is refused there by policy.",
        )
    return AuthError("the endpoint rejected the logon", hint=hint or UNKNOWN)


def endless() -> ProtocolError:
    """The error for a logon that an endpoint does not let come to an end."""
    return ProtocolError(
        "the endpoint answers a logon with another challenge",
        code="auth.loop",
        retry="RH",
        hint="It never comes to an end: a defective or hostile endpoint. It counts as a bad logon; none follows.",
    )


def ntlm_hint(target: Target) -> str:
    """What may be behind a rejection of this target's logon."""
    authority = target.credential.username.rpartition("\\")[0]
    local = "@" not in target.credential.username and authority.lower() in ("", ".", target.name.lower())
    return UNKNOWN + (_LOCAL if local else "") + (_TLS if target.scheme == "https" else "")


def ticket_refused(offers: Sequence[str], known: TicketError | None, target: Target) -> AuthError:
    """The error for a 401 to a ticket. The KDC took the secret, so this is the endpoint's affair and no bad logon.

    Args:
        offers: its WWW-Authenticate headers.
        known: what the token that came with it says.
        target: what was logged on to.
    """
    if known is not None:
        return known
    names = [offer.partition(" ")[0].lower() for offer in offers]
    wanted = "negotiate" if target.auth == "negotiate" else "kerberos"
    if wanted not in names:
        hint = f"{wanted.title()} is turned off there (winrm get winrm/config/service/auth), or this is not WinRM."
        offered = ", ".join(name[:20] for name in names) or "nothing"
        text = f"the endpoint offers {offered}, not {wanted.title()}"
        return AuthError(text, code="auth.scheme", status="CONFIG", retry="R0", hint=hint)
    hint = "The account may not use WinRM there: add it to Remote Management Users."
    if target.scheme == "https":
        hint += " Or the channel binding differs (CbtHardeningLevel): does something between inspect TLS?"
    return AuthError("the endpoint refused the ticket", hint=hint)


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text.strip(), validate=True)
    except binascii.Error:
        return b""


def status_error(response: Response) -> TransportError:
    """What an HTTP status means that WinRM does not send in the normal course of things."""
    status = response.status
    if status in (503, 429, 425):
        hint = "WinRM is starting or overloaded; it is tried again later."
        error = ProtocolError(f"HTTP {status}", code="http.unavailable", retry="RB", status="UNREACHABLE", hint=hint)
        after = response.headers.get("retry-after", "")
        error.retry_after_s = float(after) if after.isascii() and after.isdigit() and len(after) < 6 else 0.0
        return error
    if status == 404:
        hint = "No WinRM at /wsman: another web server listens on this port."
        return ProtocolError("HTTP 404", code="http.not_winrm", retry="R0", hint=hint)
    if status == 403:
        return ProtocolError(
            "HTTP 403", code="http.forbidden", retry="R0", status="CONFIG", hint="Check port and scheme."
        )
    if status == 401:
        hint = "The endpoint ended the authenticated state of the connection."
        return ProtocolError("HTTP 401 after the logon", code="http.unauthenticated", retry="R1", hint=hint)
    if status in (407, 502, 504):
        hint = "A proxy stands in between: rmm uses none, whatever the environment names. Let WinRM's port pass it by."
        return ProtocolError(f"HTTP {status} of a proxy", code="http.proxy", retry="R0", hint=hint)
    if 300 <= status < 400:
        hint = "A proxy or another web server answers; redirects are never followed."
        return ProtocolError(f"HTTP {status} redirects", code="http.redirect", retry="R0", hint=hint)
    hint = (
        "It refuses a request of ours: MaxEnvelopeSizekb may be too small; if not, please report it with `rmm doctor`."
    )
    return ProtocolError(f"HTTP {status}", code="http.status", retry="R0", hint=hint)
