"""The keys of NATS: Ed25519 (RFC 8032) as text, in base32 with a letter that says whose key it is, and a checksum.

As in github.com/nats-io/nkeys, over the package that is here for everything else, without PyNaCl. A public key is
`prefix | key | crc`, a seed `S and prefix | seed | crc`, the crc being CRC-16/XMODEM in little-endian.
"""

from __future__ import annotations

import base64
import binascii
import os

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from rmm.errors import BusError

OPERATOR, ACCOUNT, USER = "O", "A", "U"

_PREFIXES = {OPERATOR: 14 << 3, ACCOUNT: 0, USER: 20 << 3}
_SEED = 18 << 3
_KEY_SIZE, _CRC_SIZE = 32, 2


def new_seed(kind: str) -> str:
    """A new seed: `SO...`, `SA...` or `SU...`."""
    return seed_text(kind, os.urandom(_KEY_SIZE))


def seed_text(kind: str, raw: bytes) -> str:
    """The 32 bytes of a seed as text."""
    prefix = _PREFIXES[kind]
    return _encoded(bytes([_SEED | (prefix >> 5), (prefix & 31) << 3]) + raw)


def private_key(seed: str) -> Ed25519PrivateKey:
    """The key of a seed. Raises BusError (bus.key) for a text that is none."""
    data = _decoded(seed)
    prefix = (data[0] & 7) << 5 | data[1] >> 3
    if data[0] & 0xF8 != _SEED or prefix not in _PREFIXES.values() or len(data) != 2 + _KEY_SIZE:
        raise _damaged("seed")
    return Ed25519PrivateKey.from_private_bytes(data[2:])


def public_key(seed: str) -> str:
    """The public key of a seed, as text: `U...` for `SU...`. Raises BusError (bus.key)."""
    raw = private_key(seed).public_key().public_bytes_raw()
    data = _decoded(seed)
    return _encoded(bytes([(data[0] & 7) << 5 | data[1] >> 3]) + raw)


def check_public(text: str, kind: str) -> str:
    """The text, if it is a public key of this kind. Raises BusError (bus.key)."""
    _raw_public(text, kind)
    return text


def sign(seed: str, data: bytes) -> bytes:
    """The signature, 64 bytes. Raises BusError (bus.key)."""
    return private_key(seed).sign(data)


def sign_nonce(seed: str, nonce: str) -> bytes:
    """The answer to a server's nonce as CONNECT has it: base64. What nats-py calls `signature_cb`, without the seed."""
    return base64.b64encode(sign(seed, nonce.encode()))


def verify(public: str, data: bytes, signature: bytes) -> bool:
    """Whether the holder of the public key (of any kind) signed the data. Raises BusError (bus.key)."""
    kind = public[:1]
    if kind not in _PREFIXES:
        raise _damaged("public key")
    try:
        Ed25519PublicKey.from_public_bytes(_raw_public(public, kind)).verify(signature, data)
    except InvalidSignature:
        return False
    return True


def _raw_public(text: str, kind: str) -> bytes:
    data = _decoded(text)
    if data[0] != _PREFIXES[kind] or len(data) != 1 + _KEY_SIZE:
        raise _damaged("public key")
    return data[1:]


def _encoded(data: bytes) -> str:
    crc = binascii.crc_hqx(data, 0)
    return base64.b32encode(data + crc.to_bytes(_CRC_SIZE, "little")).decode().rstrip("=")


def _decoded(text: str) -> bytes:
    """What the text stands for, without its checksum."""
    try:
        data = base64.b32decode(text + "=" * (-len(text) % 8))
    except (ValueError, binascii.Error) as error:
        raise _damaged("key") from error
    body = data[:-_CRC_SIZE]
    # Made again, because the last letter has bits that say nothing, and a key has one text.
    if len(body) <= _KEY_SIZE or _encoded(body) != text:
        raise _damaged("key")
    return body


def _damaged(what: str) -> BusError:
    # Without the text: it may be a seed.
    return BusError(f"this is no {what} of NATS", code="bus.key", hint="It is damaged: restore it, or enrol again.")
