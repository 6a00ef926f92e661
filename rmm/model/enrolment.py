"""What a site and the hub say to each other before, and about, the site's identity: token, enrolment, renewal.

MessagePack maps, so that a party one version older or newer skips fields that it does not know. What is signed is a
context, then the map without its signature. The token is one line of text for people to carry.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, TypeVar

import msgspec

from rmm.errors import EnvelopeError

SCHEMA = 1
SPOKEN = range(SCHEMA - 1, SCHEMA + 2)  # versions of the other side
ENROL_CONTEXT, RENEW_CONTEXT, GRANT_CONTEXT = b"rmm enrol 1\0", b"rmm renew 1\0", b"rmm grant 1\0"
MOST_BYTES = 64 << 10  # of a token, question or answer

Sign = Callable[[bytes], bytes]
Verify = Callable[[bytes, bytes], bool]  # data, signature

Moment = Annotated[datetime, msgspec.Meta(tz=True)]  # one without a zone cannot be compared

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}\Z")  # of a site, collector or invitation: one word of a subject

_PREFIX = "rmm1."
_CHECK = 8  # bytes of SHA-256 in front of a token: it was copied whole
COPY = "Copy the whole token, from `rmm1.` to its end, or ask for a new one: `rmm hub invite`."

# What a site is to do about a refusal, by its code; beside a code that a newer hub has, there is what the hub says.
HINTS = {
    "enrol.used": "A token is good for one collector: run `rmm hub invite SITE` at the hub for another one.",
    "enrol.expired": "Run `rmm hub invite SITE` at the hub for a new one.",
    "enrol.unknown": "Run `rmm hub invite SITE` at the hub for a new one.",
    "enrol.clock": "Set the clock of the machine that is wrong, then try again.",
    "enrol.site": "Add the site to `sites` in the hub's rmm.yaml, then invite it again.",
    "enrol.revoked": "The hub takes nothing from this collector any more: enrol it again with a new token.",
    "enrol.key": "Keys of two collectors are mixed: move the folder `site` away and enrol again with a new token.",
    "enrol.hub": "The hub's log says why; try again.",
    "envelope.signature": "It was changed on its way, or `site/identity.json` was: enrol again with a new token.",
}


def _schema() -> int:
    """A default that `omit_defaults` does not leave out: a reader of another version would put its own in its place."""
    return SCHEMA


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """What `rmm hub invite` gives a site. Whoever has it can become a collector of the site, once, until it expires.

    All that is secret in it comes from `secret`: see `derived`.
    """

    invitation: str
    site: str
    secret: bytes  # 32
    made_at: Moment  # by the hub's clock
    expires_at: Moment
    urls: tuple[str, ...]  # how to reach the broker
    authority: bytes  # DER: who signs the broker's certificate
    hub: bytes  # the Ed25519 key with which the hub signs
    jwt: str  # the broker's login that may ask this one question
    certificate: bytes  # DER: what the broker wants in TLS; its key is derived
    schema: int = SCHEMA


class Question(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a site asks, to be enrolled or renewed: its public keys; the private ones never leave it.

    enrolment: `proof` is an HMAC-SHA256 under the token's secret. Both: `signature` is by the envelope key.
    """

    site: str
    at: Moment  # the site's clock
    key: bytes  # Ed25519: signs envelopes
    user: str  # the public nkey of the broker's user, `U...`
    csr: bytes  # PKCS#10 DER: the key for TLS
    nonce: bytes  # 16 random bytes; the answer repeats it
    invitation: str = ""
    collector: str = ""  # of a renewal
    host: str = ""  # what the machine calls itself
    version: str = ""  # of rmm
    schema: int = msgspec.field(default_factory=_schema)
    proof: bytes = b""
    signature: bytes = b""


class Grant(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The hub's answer, signed by it. With a `refused` code there is nothing but `reason`."""

    nonce: bytes
    at: Moment  # the hub's clock
    refused: str = ""  # enrol.used, enrol.expired, enrol.clock, enrol.proof, enrol.unknown, enrol.revoked
    reason: str = ""
    site: str = ""
    collector: str = ""
    certificate: str = ""  # PEM
    authority: str = ""  # PEM: who signs the broker's certificates
    jwt: str = ""
    urls: tuple[str, ...] = ()
    expires_at: Moment | None = None  # of certificate and login
    schema: int = msgspec.field(default_factory=_schema)
    signature: bytes = b""


_Signed = TypeVar("_Signed", Question, Grant)


def derived(secret: bytes, purpose: str) -> bytes:
    """32 bytes from a token's secret: `proof`, `user` (seed of the broker's login) or `tls` (seed of its key).

    HKDF-Expand (RFC 5869) with SHA-256, one block; the secret is random, so there is nothing to extract.
    """
    return hmac.digest(secret, f"rmm token {purpose}".encode() + b"\x01", "sha256")


def encode_token(token: Token) -> str:
    """The token as one line of text."""
    data = msgspec.msgpack.encode(token)
    return _PREFIX + base64.urlsafe_b64encode(hashlib.sha256(data).digest()[:_CHECK] + data).decode().rstrip("=")


def decode_token(text: str) -> Token:
    """The token in a text; white space in it is ignored. Raises EnvelopeError (token.format, token.schema)."""
    text = "".join(text.split())
    if not text.startswith(_PREFIX) or len(text) > MOST_BYTES:
        raise EnvelopeError("this is no token of rmm", code="token.format", hint=COPY)
    text = text[len(_PREFIX) :]
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        if hashlib.sha256(data[_CHECK:]).digest()[:_CHECK] != data[:_CHECK]:
            raise EnvelopeError("the token is damaged or not whole", code="token.format", hint=COPY)
        schema = msgspec.msgpack.decode(data[_CHECK:], type=dict[str, Any]).get("schema")
        if schema not in SPOKEN:
            raise EnvelopeError(
                f"the token is of another version of rmm (schema {schema})",
                code="token.schema",
                hint="Hub and site may differ by one version: update the older one.",
            )
        return msgspec.msgpack.decode(data[_CHECK:], type=Token)
    except (msgspec.DecodeError, binascii.Error, ValueError) as error:
        raise EnvelopeError("the token is damaged or not whole", code="token.format", hint=COPY) from error


def seal_question(question: Question, sign: Sign, proof_key: bytes = b"") -> bytes:
    """A question, encoded; with `proof_key` an enrolment (see `derived`), without it a renewal."""
    if proof_key:
        question = msgspec.structs.replace(question, proof=_hmac(_without(msgspec.msgpack.encode(question)), proof_key))
    context = ENROL_CONTEXT if proof_key else RENEW_CONTEXT
    return _signed(question, context, sign)


def seal_grant(grant: Grant, sign: Sign) -> bytes:
    """An answer of the hub, encoded."""
    return _signed(grant, GRANT_CONTEXT, sign)


def opened(data: bytes, kind: type[_Signed]) -> _Signed:
    """A question or grant whose signature has not been looked at. Raises EnvelopeError."""
    if len(data) > MOST_BYTES:
        raise EnvelopeError(f"{len(data)} bytes are too many", code="envelope.size")
    try:
        message = msgspec.msgpack.decode(data, type=kind)
    except (msgspec.DecodeError, ValueError) as error:
        raise EnvelopeError(f"not readable: {error}") from error
    if message.schema not in SPOKEN:
        raise EnvelopeError(f"schema {message.schema} is of another version of rmm", code="envelope.schema")
    return message


def is_signed(data: bytes, context: bytes, verify: Verify) -> bool:
    """Whether what `opened` could read was signed as a whole, fields of a newer version included."""
    fields = _fields(data)
    signature = fields.pop("signature", None)
    return signature is not None and verify(
        context + msgspec.msgpack.encode(fields), msgspec.msgpack.decode(signature, type=bytes)
    )


def is_proven(data: bytes, proof_key: bytes) -> bool:
    """Whether whoever asked has the secret of the token."""
    proof = _fields(data).get("proof")
    return proof is not None and hmac.compare_digest(
        _hmac(_without(data), proof_key), msgspec.msgpack.decode(proof, type=bytes)
    )


def _signed(message: Question | Grant, context: bytes, sign: Sign) -> bytes:
    bare = msgspec.msgpack.encode(msgspec.structs.replace(message, signature=b""))
    return msgspec.msgpack.encode(msgspec.structs.replace(message, signature=sign(context + bare)))


def _hmac(data: bytes, key: bytes) -> bytes:
    return hmac.digest(key, ENROL_CONTEXT + data, "sha256")


def _without(data: bytes) -> bytes:
    """An encoded question without its proof and signature."""
    fields = _fields(data)
    return msgspec.msgpack.encode({name: value for name, value in fields.items() if name not in ("proof", "signature")})


def _fields(data: bytes) -> dict[str, msgspec.Raw]:
    return msgspec.msgpack.decode(data, type=dict[str, msgspec.Raw])
