"""Credentials encrypted at rest, in one file that a passphrase unlocks."""

from rmm.vault.store import Vault, create

__all__ = ["Vault", "create"]
