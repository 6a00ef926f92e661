"""Sealing of WinRM messages with an NTLM session key ([MS-NLMP] 3.4): a stream, so none may be lost or reordered.

pyspnego makes the logon and the key. Its own wrap and unwrap look at the negotiated flags again for every message,
which costs more than the cryptography; here they are looked at once. Tested against pyspnego's acceptor.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

from cryptography.hazmat.decrepit.ciphers.algorithms import ARC4
from cryptography.hazmat.primitives.ciphers import Cipher

_TO_SERVER = b"session key to client-to-server "
_TO_CLIENT = b"session key to server-to-client "
_SIGN, _SEAL = b"signing key magic constant\x00", b"sealing key magic constant\x00"
SIGNATURE = 16


class NtlmSeal:
    """Both directions of one connection, for 128-bit keys with extended session security and key exchange."""

    def __init__(self, session_key: bytes) -> None:
        self._sign_out = hashlib.md5(session_key + _TO_SERVER + _SIGN, usedforsecurity=False).digest()
        self._sign_in = hashlib.md5(session_key + _TO_CLIENT + _SIGN, usedforsecurity=False).digest()
        seal_out = hashlib.md5(session_key + _TO_SERVER + _SEAL, usedforsecurity=False).digest()
        seal_in = hashlib.md5(session_key + _TO_CLIENT + _SEAL, usedforsecurity=False).digest()
        self._out: Any = Cipher(ARC4(seal_out), None).encryptor()
        self._in: Any = Cipher(ARC4(seal_in), None).decryptor()
        self._next_out = 0
        self._next_in = 0

    def wrap(self, message: bytes) -> tuple[bytes, bytes]:
        """(signature, sealed message)."""
        sequence = self._next_out.to_bytes(4, "little")
        self._next_out += 1
        sealed = self._out.update(message)
        checksum = self._out.update(hmac.digest(self._sign_out, sequence + message, "md5")[:8])
        return b"\x01\x00\x00\x00" + checksum + sequence, sealed

    def unwrap(self, signature: bytes, sealed: bytes) -> bytes:
        """The message. Raises ValueError when its signature is wrong; nothing more can be read from the stream then."""
        sequence = self._next_in.to_bytes(4, "little")
        self._next_in += 1
        message: bytes = self._in.update(sealed)
        checksum = self._in.update(hmac.digest(self._sign_in, sequence + message, "md5")[:8])
        if not hmac.compare_digest(signature, b"\x01\x00\x00\x00" + checksum + sequence):
            raise ValueError("the signature is wrong")
        return message
