"""The vault's cryptography: scrypt for the key, AES-256-GCM per record, the record's identity bound as extra data."""

from __future__ import annotations

import hashlib
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from rmm.errors import VaultError

COST = {"n": 1 << 15, "r": 8, "p": 1}  # about 0.1 s and 32 MB: RFC 7914's interactive parameters, doubled
MOST = {"n": 1 << 18, "r": 32, "p": 16}  # a file that asks for more is not ours
NONCE = 12


def derive(passphrase: str, salt: bytes, cost: dict[str, int]) -> bytes:
    """The 32-byte key. Raises VaultError for parameters that nobody would have written."""
    if set(cost) != set(COST) or any(not 1 <= cost[name] <= MOST[name] for name in COST) or len(salt) < 16:
        raise VaultError("the vault's header is damaged", hint="Restore the file from a backup.")
    try:
        secret = passphrase.encode()
    except UnicodeEncodeError:
        # From a variable that is not UTF-8. The error's text would hold the passphrase: it is not kept as the cause.
        raise VaultError("the passphrase is not UTF-8 text", hint="Put it into a UTF-8 file.") from None
    try:
        return hashlib.scrypt(secret, salt=salt, maxmem=(2 << 30) - 1, dklen=32, **cost)
    except ValueError as error:
        raise VaultError("the vault's header is damaged", hint="Restore the file from a backup.") from error


def seal(key: bytes, plain: bytes, bound: bytes) -> bytes:
    """Nonce, ciphertext and tag; opens only with the same key and the same `bound`."""
    nonce = os.urandom(NONCE)
    return nonce + AESGCM(key).encrypt(nonce, plain, bound)


def unseal(key: bytes, sealed: bytes, bound: bytes) -> bytes:
    """The inverse. Raises VaultError for a wrong key, or for a record that was changed or put elsewhere."""
    try:
        return AESGCM(key).decrypt(sealed[:NONCE], sealed[NONCE:], bound)
    except (InvalidTag, ValueError) as error:
        raise VaultError(
            "a record of the vault does not open", hint="Wrong passphrase, or the file was changed."
        ) from error
