"""The vault file: JSON with a header and one sealed record per credential, replaced atomically."""

from __future__ import annotations

import base64
import os
import secrets
from collections.abc import Mapping
from pathlib import Path

import msgspec

from rmm.durable import replace_file
from rmm.errors import VaultError
from rmm.model.endpoint import Credential, Secret
from rmm.vault import cipher

FORMAT = 1
_CHECK = b"rmm vault check"


class _Record(msgspec.Struct):
    version: str
    username: str  # not a secret, and needed to list credentials without the passphrase
    sealed: str
    kind: str = "password"
    key_file: str = ""
    cert_file: str = ""


class _File(msgspec.Struct):
    format: int
    salt: str
    cost: dict[str, int]
    check: str  # a sealed constant: tells a wrong passphrase from a damaged record
    records: dict[str, _Record]


class Vault:
    """`ports.SecretSource` over a file. Names and usernames are readable; secrets need the passphrase."""

    def __init__(self, path: Path, content: _File, key: bytes) -> None:
        self._path = path
        self._content = content
        self._key = key

    @classmethod
    def open(cls, path: Path, passphrase: str) -> Vault:
        """Unlock an existing vault. Raises VaultError with what is wrong: no file, wrong passphrase, damage."""
        content = _read(path)
        key = cipher.derive(passphrase, _bytes(content.salt), content.cost)
        try:
            cipher.unseal(key, _bytes(content.check), _CHECK)
        except VaultError as error:
            raise VaultError(
                f"{path}: the passphrase is wrong",
                code="vault.passphrase",
                hint="Try again, or check the passphrase file.",
            ) from error
        return cls(path, content, key)

    @classmethod
    def open_or_create(cls, path: Path, passphrase: str) -> Vault:
        """Unlock the vault, or make an empty one that this passphrase will open."""
        if not path.exists():
            create(path, passphrase, {})
        return cls.open(path, passphrase)

    @staticmethod
    def names(path: Path) -> dict[str, str]:
        """Credential name -> username, without the passphrase; empty where there is no vault."""
        return {name: record.username for name, record in _read(path).records.items()} if path.exists() else {}

    def credential(self, name: str) -> Credential:
        """The credential of this name. Raises VaultError when there is none or its record was changed."""
        record = self._content.records.get(name)
        if record is None:
            known = ", ".join(sorted(self._content.records)) or "nothing"
            raise VaultError(
                f"the vault has no credential {name!r}; it has {known}",
                code="vault.unknown",
                hint=f"Run `rmm credentials set {name} --username ...`.",
            )
        try:
            plain = cipher.unseal(self._key, _bytes(record.sealed), _bound(name, record))
        except VaultError as error:
            raise VaultError(
                f"{self._path}: the record {name!r} was changed or comes from elsewhere",
                code="vault.damaged",
                hint=f"Set it anew: `rmm credentials set {name} --username ...`, or restore the file from a backup.",
            ) from error
        return Credential(
            name=name,
            username=record.username,
            secret=Secret(plain.decode()),
            version=record.version,
            kind=record.kind,
            key_file=record.key_file,
            cert_file=record.cert_file,
        )

    def set(
        self,
        name: str,
        username: str,
        secret: Secret,
        *,
        kind: str = "password",
        key_file: str = "",
        cert_file: str = "",
    ) -> None:
        """Add or replace a credential; a new version resets what lock-out protection knows of the old one."""
        record = _Record(secrets.token_hex(8), username, "", kind, key_file, cert_file)
        record.sealed = _text(cipher.seal(self._key, secret.reveal().encode(), _bound(name, record)))
        self._content.records[name] = record
        self._write()

    def remove(self, name: str) -> None:
        """Forget a credential. Raises VaultError when there is none."""
        if self._content.records.pop(name, None) is None:
            raise VaultError(f"the vault has no credential {name!r}", code="vault.unknown")
        self._write()

    def _write(self) -> None:
        _write(self._path, self._content)


def create(path: Path, passphrase: str, credentials: Mapping[str, tuple[str, str]]) -> None:
    """Write a new vault with `credentials` (name -> (username, password)), replacing what is there."""
    if not passphrase:
        raise VaultError("an empty passphrase protects nothing", hint="Choose a passphrase.")
    salt = os.urandom(16)
    key = cipher.derive(passphrase, salt, cipher.COST)
    content = _File(FORMAT, _text(salt), dict(cipher.COST), _text(cipher.seal(key, b"", _CHECK)), {})
    _write(path, content)
    vault = Vault(path, content, key)
    for name, (username, password) in credentials.items():
        vault.set(name, username, Secret(password))


def _bound(name: str, record: _Record) -> bytes:
    """What a record is good for; under another name, version, account, kind or file it does not open."""
    bound = [FORMAT, name, record.version, record.username, record.kind, record.key_file]
    # Records that were written before there were certificates have six parts.
    return msgspec.json.encode([*bound, record.cert_file] if record.cert_file else bound)


def _read(path: Path) -> _File:
    try:
        content = msgspec.json.decode(path.read_bytes(), type=_File)
    except FileNotFoundError as error:
        raise VaultError(
            f"{path}: there is no vault yet",
            code="vault.missing",
            hint="Run `rmm credentials set NAME --username ...`.",
        ) from error
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise VaultError(
            f"{path}: not readable as a vault: {error}", code="vault.damaged", hint="Restore it from a backup."
        ) from error
    if content.format != FORMAT:
        raise VaultError(f"{path}: written by another version of rmm (format {content.format})", code="vault.format")
    return content


def _write(path: Path, content: _File) -> None:
    replace_file(path, msgspec.json.format(msgspec.json.encode(content)) + b"\n", private=True)


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as error:
        raise VaultError("a record of the vault is damaged", code="vault.damaged") from error


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
