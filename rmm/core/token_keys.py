"""The key for TLS of a token, from its secret: both sides make the same one, so it need not be carried. Pure."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric import ec

_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551  # of P-256, SP 800-186 3.2.1.3


def tls_key(seed: bytes) -> ec.EllipticCurvePrivateKey:
    """The key of P-256 of 32 random bytes (reduced; P-256's order is so near 2^256 that this shows nowhere)."""
    return ec.derive_private_key(int.from_bytes(seed, "big") % (_ORDER - 1) + 1, ec.SECP256R1())
