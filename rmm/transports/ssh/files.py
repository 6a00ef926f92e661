"""Host keys and private keys from files, read once per change of the file: a large known_hosts is costly to parse."""

from __future__ import annotations

import os
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

import asyncssh

from rmm.errors import AuthError, ConfigError
from rmm.model.endpoint import Credential, Target

MOST_AGENT_KEYS = 5  # each one that is refused is a failed attempt there, and OpenSSH hangs up after six
Matched = tuple[Any, ...]  # asyncssh's: host keys, CA keys, revoked keys, and the same of X.509


class KnownHosts:
    """A known_hosts file: plain, hashed and pattern names, @cert-authority, @revoked, as OpenSSH reads it."""

    def __init__(self, path: str) -> None:
        self._hosts = asyncssh.read_known_hosts(path)
        self._matched: dict[tuple[str, int | None], Matched] = {}

    def match(self, host: str, _address: str, port: int | None) -> Matched:
        """What is known of a host under the name that was asked for.

        Never of the address that the name has today: whoever owns another known machine and lies in DNS would be
        taken for this one.
        """
        if (host, port) not in self._matched:
            self._matched[host, port] = tuple(self._hosts.match(host, "", port))
        return self._matched[host, port]

    def knows(self, host: str, port: int) -> bool:
        """Whether there is anything by which this host could be verified."""
        keys, authorities, _, certificates, _, subjects, _ = self.match(host, "", port if port != 22 else None)
        return bool(keys or authorities or certificates or subjects)


@lru_cache(maxsize=64)
def _known_hosts(path: str, _mtime_ns: int, _size: int) -> KnownHosts:
    return KnownHosts(path)


def known_hosts_of(target: Target) -> KnownHosts:
    """The host keys that verify the target. Raises ConfigError when there is no usable file."""
    path = Path(target.known_hosts) if target.known_hosts else Path.home() / ".ssh" / "known_hosts"
    try:
        state = path.stat()
        return _known_hosts(str(path), state.st_mtime_ns, state.st_size)
    except FileNotFoundError as error:
        hint = f"Make it: ssh-keyscan -p {target.port} {target.host} >> {path}, and compare the fingerprints."
        raise ConfigError(f"{path}: there is no such file of host keys", hint=hint) from error
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: not usable as known_hosts: {error}", hint="Correct or remove the line.") from error


@lru_cache(maxsize=64)
def _private_key(credential: Credential, _mtime_ns: int) -> Any:
    """Decrypting a key costs a tenth of a second, so it is done once."""
    return asyncssh.read_private_key(credential.key_file, credential.secret.reveal() or None)


def private_keys(credential: Credential) -> list[Any]:
    """The private key of a credential, with its certificate where FILE-cert.pub stands beside it."""
    path = credential.key_file
    certificate = Path(f"{path}-cert.pub")
    try:
        key = _private_key(credential, Path(path).stat().st_mtime_ns)
        given = (key, asyncssh.read_certificate(certificate)) if certificate.exists() else key
        # Made anew for each connection, which notes in it what this server takes.
        return list(asyncssh.load_keypairs([given]))
    except (OSError, ValueError, asyncssh.Error) as error:
        raise ConfigError(f"{path}: not usable as a private key: {error}", hint="Check file and passphrase.") from error


async def agent_keys(credential: Credential) -> tuple[Any, list[Any]]:
    """(the connection to the user's SSH agent, the keys to offer); `key_file` may name the public key of one."""
    path = os.environ.get("SSH_AUTH_SOCK", "")
    if not path and sys.platform != "win32":
        raise _agent("there is no SSH agent here: SSH_AUTH_SOCK is not set", "Start rmm where the agent is.")
    try:
        wanted = [asyncssh.read_public_key(credential.key_file).public_data] if credential.key_file else None
    except (OSError, asyncssh.KeyImportError) as error:
        raise ConfigError(f"{credential.key_file}: not usable as a public key: {error}") from error
    try:
        agent = await asyncssh.connect_agent(path)
    except OSError as error:
        raise _agent(f"the SSH agent does not answer: {error}", "Is it running?") from error
    try:
        keys = list(await agent.get_keys(wanted))
    except (OSError, ValueError, asyncssh.Error) as error:
        agent.close()
        raise _agent(f"the SSH agent gives no keys: {error}", "Is it locked?") from error
    if 0 < len(keys) <= MOST_AGENT_KEYS:
        return agent, keys
    agent.close()
    if not keys:
        raise _agent("the SSH agent does not hold the key", "Add it with ssh-add.")
    hint = "Name the public key of one: `rmm credentials set NAME --agent --key-file id.pub`."
    raise _agent(f"the SSH agent holds {len(keys)} keys, and each that is refused is a failed logon", hint)


def _agent(message: str, hint: str) -> AuthError:
    return AuthError(message, code="auth.agent", status="CONFIG", retry="R0", hint=hint)
