"""`rmm site enroll`: from a token to an identity, with one question over the broker. Renewal asks the same way.

The private keys are made here and stay. The folder appears whole, or not at all.
"""

from __future__ import annotations

import os
import secrets
import shutil
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from rmm import __version__
from rmm.bus import nkeys, subjects
from rmm.bus.asking import Asks, Opener, open_asker
from rmm.bus.login import Login
from rmm.core.token_keys import tls_key
from rmm.durable import disk_code, fsync_folder, make_folder
from rmm.errors import BusError, ConfigError, EnvelopeError, TierError
from rmm.model.enrolment import (
    COPY,
    GRANT_CONTEXT,
    HINTS,
    Grant,
    Question,
    Token,
    Verify,
    derived,
    is_signed,
    opened,
    seal_question,
)
from rmm.ports import Clock
from rmm.site.identity import FOLDER, Identity, Keys, write

CLOCKS = timedelta(minutes=5)  # between the hub's clock and this one
_ASK_S = 10.0
_TRIES = 3


async def enroll(
    token: Token, config: Path, *, clock: Clock, host: str, proxy: str = "", urls: tuple[str, ...] = (),
    connect: Opener = open_asker,
) -> Identity:  # fmt: skip
    """Make this machine a collector of the token's site. `urls`: of the broker, instead of those of the token.

    Raises:
        ConfigError: it is one already, or the token has expired.
        EnvelopeError: the hub refused (code enrol.*), or what answered is not the hub.
        BusError: broker or hub cannot be reached.
        TierError: the folder cannot be written.
    """
    check_free(config)
    _check_time(token, clock.now())
    keys = Keys.new()
    question = Question(
        site=token.site,
        at=clock.now(),
        key=keys.envelope.public_key().public_bytes_raw(),
        user=nkeys.public_key(keys.user),
        csr=keys.request(),
        nonce=secrets.token_bytes(16),
        invitation=token.invitation,
        host=host[:255],
        version=__version__,
    )
    asked = seal_question(question, keys.envelope.sign, derived(token.secret, "proof"))
    login = _login(token, proxy)
    login = msgspec.structs.replace(login, urls=urls or login.urls)
    try:
        async with connect(login) as bus:
            data = await _ask(bus, subjects.enroll(token.invitation), asked)
    except BusError as error:
        raise _unreachable(error, login) from error
    grant = granted(data, question, _verifier(token.hub))
    if grant.site != token.site:
        raise EnvelopeError("the hub's answer is for another site", code="envelope.site")
    _place(config, keys, grant, token.hub)
    return Identity.load(config)


async def renew(bus: Asks, identity: Identity, clock: Clock) -> Identity:
    """Get the next certificate and login, over a bus that is open; the caller opens it again with the new login.

    Raises EnvelopeError (enrol.revoked, ...), BusError and TierError; what there is goes on being good.
    """
    keys = identity.keys
    question = Question(
        site=identity.site,
        collector=identity.collector,
        at=clock.now(),
        key=keys.envelope.public_key().public_bytes_raw(),
        user=nkeys.public_key(keys.user),
        csr=keys.request(),
        nonce=secrets.token_bytes(16),
        version=__version__,
    )
    data = await bus.ask(subjects.ask(identity.site, "renew"), seal_question(question, identity.sign), timeout_s=_ASK_S)
    return identity.renewed(granted(data, question, identity.verify_hub))


def granted(data: bytes, question: Question, verify: Verify) -> Grant:
    """The hub's grant in an answer. Raises EnvelopeError: it refused, or it is not the hub's answer to this."""
    grant = opened(data, Grant)
    if not is_signed(data, GRANT_CONTEXT, verify):
        raise EnvelopeError(
            "what answered is not the hub",
            code="envelope.signature",
            hint="Somebody else answers at this broker. Nothing was taken; tell who runs the hub.",
        )
    if grant.nonce != question.nonce:
        raise EnvelopeError("the answer is not to this question", code="envelope.signature")
    if grant.refused:
        hint = HINTS.get(grant.refused, "Nothing was changed; the hub's log has more.")
        raise EnvelopeError(f"the hub refused: {grant.reason}", code=grant.refused, hint=hint)
    return grant


def check_free(config: Path) -> None:
    """Raises ConfigError where this machine is a collector already."""
    if (config / FOLDER).exists():
        try:
            known = Identity.load(config)
            who = f"{known.site}/{known.collector}"
        except ConfigError:
            who = "something that cannot be read"
        raise ConfigError(
            f"{config / FOLDER}: this machine is enrolled already, as {who}",
            hint="To enrol it anew, `rmm hub revoke` that one at the hub and move the folder away.",
        )


def _check_time(token: Token, now: datetime) -> None:
    if now < token.made_at - CLOCKS:
        raise ConfigError(
            f"the token was made at {token.made_at:%Y-%m-%d %H:%M} UTC, and this clock says {now:%Y-%m-%d %H:%M}",
            hint="Set this machine's clock, then try again.",
        )
    if now >= token.expires_at:
        raise ConfigError(
            f"the token expired at {token.expires_at:%Y-%m-%d %H:%M} UTC; this clock says {now:%Y-%m-%d %H:%M}",
            hint="Run `rmm hub invite SITE` at the hub for a new one; if this clock is wrong, set it.",
        )


def _login(token: Token, proxy: str) -> Login:
    """The token's own login."""
    key = tls_key(derived(token.secret, "tls")).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    try:
        certificate = x509.load_der_x509_certificate(token.certificate).public_bytes(serialization.Encoding.PEM)
        authority = x509.load_der_x509_certificate(token.authority).public_bytes(serialization.Encoding.PEM)
    except ValueError as error:
        raise EnvelopeError("the token's certificates cannot be read", code="token.format", hint=COPY) from error
    return Login(
        urls=token.urls,
        jwt=token.jwt,
        seed=nkeys.seed_text(nkeys.USER, derived(token.secret, "user")),
        ca_file=authority.decode(),
        cert_file=certificate.decode(),
        key_file=key.decode(),
        name=f"invitation {token.invitation}",
        proxy=proxy,
        inbox=subjects.enroll_inbox(token.invitation),
    )


async def _ask(bus: Asks, subject: str, data: bytes) -> bytes:
    """One question, asked again when the answer is lost: the hub knows it by its keys."""
    for _ in range(_TRIES - 1):
        try:
            return await bus.ask(subject, data, timeout_s=_ASK_S)
        except BusError as error:
            if error.code != "bus.timeout":
                raise
    return await bus.ask(subject, data, timeout_s=_ASK_S)


def _unreachable(error: BusError, login: Login) -> BusError:
    if error.code == "bus.nobody":
        return BusError("the broker is there, but no hub listens", code=error.code, hint="Is `rmm hub run` at work?")
    return BusError(
        f"the broker cannot be reached at {', '.join(login.urls)}: {error}",
        code=error.code,
        hint="Is it up, and does this machine reach it? --proxy URL goes through an HTTP proxy. "
        "A token that has expired or was withdrawn is refused here as well.",
    )


def _verifier(key: bytes) -> Verify:
    try:
        public = Ed25519PublicKey.from_public_bytes(key)
    except ValueError as error:
        raise EnvelopeError("the token has no key of the hub", code="token.format", hint=COPY) from error

    def verify(data: bytes, signature: bytes) -> bool:
        try:
            public.verify(signature, data)
        except InvalidSignature:
            return False
        return True

    return verify


def _place(config: Path, keys: Keys, grant: Grant, hub: bytes) -> None:
    """Write the folder beside its place, and move it there as a whole."""
    temporary = config / f".{FOLDER}.{os.getpid()}.tmp"
    try:
        make_folder(config)
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(mode=0o700)
        write(temporary, keys, grant, hub)
        temporary.rename(config / FOLDER)
        fsync_folder(config)
    except OSError as error:
        raise TierError(f"{config / FOLDER}: {error.strerror or error}", code=disk_code(error)) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
