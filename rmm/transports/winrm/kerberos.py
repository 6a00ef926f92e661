"""The calls into Kerberos' libraries: libkrb5 and GSSAPI through pyspnego on Linux, SSPI on Windows.

Most wait for the KDC inside C code, so `logons` runs them in threads. Which KDC is asked is the operator's krb5.conf
(KRB5_CONFIG). The half for Windows was never executed by this project's tests.
"""

from __future__ import annotations

import math
import sys
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

from rmm.errors import ProtocolError
from rmm.model.endpoint import Credential, Target
from rmm.transports.winrm.kdc import KDC, TicketError, ticket_error

RENEW_AT = 0.8  # of a ticket's life
REREAD_S = 60.0  # a cache that others keep is looked at again


class Ticket(NamedTuple):
    """A GSSAPI credential that holds a ticket-granting ticket, and what keeps its memory. Times are monotonic."""

    gssapi: Any
    cache: str  # its name, as libkrb5 writes it; empty for the default one
    own: bool  # in memory, and ours to destroy
    renew_at: float
    until: float


class Password:
    """Gives the password when libkrb5 asks for it, unless nobody waits for the answer any more; knows if it did."""

    def __init__(self, secret: str) -> None:
        self._secret = secret
        self._lock = threading.Lock()
        self._closed = False
        self.used = False

    def give(self) -> bytes:
        with self._lock:
            if self._closed:
                raise TimeoutError("this logon was given up")
            self.used = True
            return self._secret.encode("utf-8", "replace")

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._secret = ""


def windows() -> bool:
    """Whether SSPI does it."""
    return sys.platform == "win32"


def realm_of(credential: Credential) -> str:
    r"""The realm of an account as Kerberos writes it: of user@realm and REALM\user; empty for krb5.conf's default."""
    user, at, realm = credential.username.rpartition("@")
    if at and user:
        return realm.upper()
    domain, separator, _ = credential.username.partition("\\")
    return domain.upper() if separator and domain != "." else ""


def principal_of(credential: Credential) -> str:
    """The account's principal."""
    name = credential.username
    user = name.rpartition("@")[0] or name.rpartition("\\")[2]
    realm = realm_of(credential)
    return f"{user}@{realm}" if realm else user


def check_installed() -> None:
    try:
        import gssapi  # noqa: F401
        import krb5  # noqa: F401
    except ImportError as error:
        hint = "Install the extra: pip install 'mytech-rmm[kerberos]' (it needs libkrb5-dev and a C compiler)."
        raise TicketError("Kerberos is not installed", code="auth.missing", status="UNSUPPORTED", hint=hint) from error


def log_on(credential: Credential, password: Password) -> Ticket:
    """One AS exchange, in a thread; into a cache in memory."""
    got = _exchange(credential, password)
    if isinstance(got, int):
        raise ticket_error(got, credential.username)
    cache, life = got
    now = time.monotonic()
    return Ticket(_gssapi_credential(cache, credential), cache, True, now + RENEW_AT * life, now + life)


def _exchange(credential: Credential, password: Password) -> tuple[str, int] | int:
    """(cache, seconds that its ticket lives), or the number of libkrb5's error.

    The steps of `get_init_creds_password` without its extras: that one asks a second KDC after a wrong password, and
    offers to change an expired one. No object of the package krb5 outlives this function, nor gets into a traceback:
    the garbage collector crashes on those that it finds in a cycle (krb5 0.10).
    """
    import krb5

    class Prompt(krb5.Krb5Prompt):  # type: ignore[misc, unused-ignore]
        def prompt(self, msg: bytes, hidden: bool) -> bytes:
            return password.give()

    # libkrb5 knows only the addresses of `prompt` and `keytab`: they must live as long as the logon.
    prompt = Prompt()
    path = _keytab(credential) if credential.kind == "keytab" else b""
    try:
        context = krb5.init_context()
        principal = krb5.parse_name_flags(context, principal_of(credential).encode())
        options = krb5.get_init_creds_opt_alloc(context)
        krb5.get_init_creds_opt_set_canonicalize(options, True)
        logon = krb5.init_creds_init(context, principal, options, prompter=prompt)
        if path:
            keytab = krb5.kt_resolve(context, path)
            krb5.init_creds_set_keytab(context, logon, keytab)
        krb5.init_creds_get(context, logon)
        got = krb5.init_creds_get_creds(context, logon)
        cache = krb5.cc_new_unique(context, b"MEMORY")
        krb5.cc_initialize(context, cache, got.client)
        krb5.cc_store_cred(context, cache, got)
    except krb5.Krb5Error as error:
        return int(error.err_code)
    times = got.times
    return f"MEMORY:{(cache.name or b'').decode()}", times.endtime - (times.starttime or times.authtime)


def _keytab(credential: Credential) -> bytes:
    path = Path(credential.key_file)
    if not path.is_file():
        raise ticket_error(KDC + 181, f"{credential.username}, {path}")
    return f"FILE:{path}".encode()


def from_cache(credential: Credential) -> Ticket:
    """A ticket that somebody else keeps fresh: FILE:/path, KCM:, KEYRING: ..., or the default cache where unnamed."""
    import gssapi

    made = _gssapi_credential(credential.key_file, credential)
    try:
        life = float(made.lifetime or 0)
    except gssapi.raw.GSSError as error:
        raise _error_of(error, credential.username) from error
    if life <= 0:
        raise ticket_error(KDC + 141, credential.username)
    now = time.monotonic()
    return Ticket(made, credential.key_file, False, now + min(REREAD_S, RENEW_AT * life), now + life)


def _gssapi_credential(cache: str, credential: Credential) -> Any:
    import gssapi

    kerberos = gssapi.MechType.kerberos
    try:
        name = None
        if not cache.startswith("MEMORY:") and credential.username:
            name = gssapi.Name(principal_of(credential), name_type=gssapi.NameType.user)
        return gssapi.Credentials(
            name=name, usage="initiate", mechs=[kerberos], store={"ccache": cache} if cache else None
        )
    except gssapi.raw.GSSError as error:
        raise _error_of(error, f"{credential.username}, {cache or 'the default cache'}") from error


def gssapi_context(ticket: Ticket, service: str, host: str, binding: bytes) -> tuple[Any, bytes]:
    """In a thread: the service ticket may have to be asked for."""
    import gssapi
    import spnego
    from spnego._gss import GSSAPIProxy
    from spnego.channel_bindings import GssChannelBindings

    context = GSSAPIProxy(
        hostname=host,
        service=service,
        context_req=flags(),
        channel_bindings=GssChannelBindings(application_data=binding) if binding else None,
        _gssapi_credential=ticket.gssapi,
    )
    try:
        return context, context.step() or b""
    except (spnego.exceptions.SpnegoError, gssapi.raw.GSSError) as error:
        raise _error_of(error, f"{service}/{host}") from error


def sspi_context(target: Target, host: str, binding: bytes, about: str) -> tuple[Any, bytes]:
    import spnego
    from spnego.channel_bindings import GssChannelBindings

    try:
        context = spnego.client(
            target.credential.username,
            target.credential.secret.reveal(),
            hostname=host,
            service=target.spn,
            protocol="kerberos",
            context_req=flags(),
            channel_bindings=GssChannelBindings(application_data=binding) if binding else None,
            options=spnego.NegotiateOptions.use_sspi,
        )
        return context, context.step() or b""
    except spnego.exceptions.SpnegoError as error:
        raise _error_of(error, about) from error


def flags() -> Any:
    """What every context is asked for: the endpoint proves itself too, and messages are sealed in order."""
    import spnego

    wanted = spnego.ContextReq
    return (
        wanted.mutual_auth | wanted.replay_detect | wanted.sequence_detect | wanted.confidentiality | wanted.integrity
    )


def offer(token: bytes) -> bytes:
    """SPNEGO's NegTokenInit (RFC 4178 4.2.1) that names Kerberos alone, so that nobody can choose anything else."""
    from spnego._context import GSSMech
    from spnego._spnego import NegTokenInit

    return bytes(NegTokenInit([GSSMech.kerberos.value], mech_token=token).pack())


def accepted(reply: bytes) -> bytes:
    """The Kerberos token inside a NegTokenResp (RFC 4178 4.2.2); as it is where it is bare. Hostile input."""
    from spnego._context import GSSMech
    from spnego._spnego import NegTokenResp, unpack_token

    try:
        found = unpack_token(reply)
    except Exception as error:  # the token is the endpoint's: pyspnego's parsers raise whatever they meet
        raise ProtocolError("the endpoint's logon token is not valid", code="auth.token") from error
    if not isinstance(found, NegTokenResp):
        return reply
    if found.supported_mech and found.supported_mech != GSSMech.kerberos.value:
        raise ProtocolError(f"the endpoint chose {found.supported_mech[:40]}, not Kerberos", code="auth.downgrade")
    return found.response_token or b""


def refusal(context: Any, reply: bytes, service: str, host: str) -> TicketError | None:
    """What a token that came with a 401 says (KRB-ERROR); None where there is none, or it says nothing."""
    if not reply:
        return None
    try:
        context.step(reply)
    except Exception as error:  # see `accepted`
        # The package gssapi may keep the error of a failed step for the next one.
        number = number_of(getattr(getattr(context, "_context", None), "_last_err", None) or error)
        if not number:
            return None
        # KRB_AP_ERR_BAD_INTEGRITY of an acceptor: it cannot open the ticket, for its key is another one.
        number = KDC + 41 if (number - KDC) & 0xFFFFFFFF == 31 else number
        found = ticket_error(number, f"{service}/{host}")
        return None if found.refused or found.code == "auth.kerberos" else found
    return None


def conclude(context: Any, reply: bytes) -> None:
    """Take the endpoint's proof. Hostile input."""
    try:
        context.step(reply)
    except Exception as error:  # see `accepted`
        inner = getattr(error, "base_error", None) or error
        if getattr(inner, "maj_code", 0) >> 16 & 0xFF in (11, 12):  # GSS_S_CREDENTIALS_EXPIRED, GSS_S_CONTEXT_EXPIRED
            raise ticket_error(KDC + 32, "the ticket of this connection") from error
        name = type(error).__name__
        raise ProtocolError(f"the endpoint's logon token is not valid: {name}", code="auth.token") from error


def until(context: Any) -> float:
    """Monotonic time at which a context ends with its ticket; infinity where the library does not say."""
    left = getattr(getattr(context, "_context", None), "lifetime", None)
    return time.monotonic() + float(left) if isinstance(left, int) else math.inf


def number_of(error: BaseException) -> int:
    """The number behind an error of pyspnego or GSSAPI: its minor status, or Windows' error; 0 where it has none."""
    seen: BaseException | None = error
    for _ in range(8):
        if seen is None:
            break
        for name in ("min_code", "winerror"):
            number = getattr(seen, name, None)
            if isinstance(number, int) and number:
                return number
        seen = getattr(seen, "base_error", None) or seen.__cause__ or seen.__context__
    return 0


def _error_of(error: BaseException, about: str) -> TicketError:
    # GSS_S_NO_CRED and GSS_S_CREDENTIALS_EXPIRED (RFC 2744 3.9.1): the mechanism's own number says less.
    if getattr(error, "maj_code", 0) >> 16 & 0xFF in (7, 11):
        return ticket_error(KDC + 141, about)
    return ticket_error(number_of(error), about)


def destroy(ticket: Ticket | None) -> None:
    """Forget a ticket that is in memory of ours."""
    if ticket is None or not ticket.own:
        return
    import krb5

    context = krb5.init_context()
    krb5.cc_destroy(context, krb5.cc_resolve(context, ticket.cache.encode()))
