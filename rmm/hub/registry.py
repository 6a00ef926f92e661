"""Who was invited, who is enrolled, and who is revoked: one file of the hub's folder, replaced atomically under a lock.

It lies beside the authority's keys and not in the fleet's database: a database that is restored from a backup must not
bring a revoked site back, nor forget a collector that was enrolled since. What it holds is small, a line per collector.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from rmm.durable import hold, replace_file
from rmm.errors import ConfigError, TierError

FORMAT = 1
FILE, LOCK = "registry.json", "registry.lock"
_KEPT = timedelta(days=30)  # invitations that have expired
_WAIT = 10.0  # seconds for the lock


class Invitation(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A token that was given out. `key`: hexadecimal, what its holder proves to have."""

    id: str
    site: str
    key: str
    made_at: datetime
    expires_at: datetime
    name: str = ""  # of the collector to be; empty: the hub chooses
    urls: tuple[str, ...] = ()  # how it reaches the broker; empty: as the hub's settings have it
    used_at: datetime | None = None
    collector: str = ""  # that was enrolled with it


class Collector(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A site collector that was enrolled. `key` and `user` are public: hexadecimal Ed25519, and nkey."""

    site: str
    id: str
    key: str
    user: str
    enrolled_at: datetime
    expires_at: datetime  # of its newest certificate and login
    host: str = ""
    version: str = ""
    urls: tuple[str, ...] = ()
    renewed_at: datetime | None = None
    revoked_at: datetime | None = None


class Registry(msgspec.Struct, frozen=True, kw_only=True):
    """All of it. Collectors are `site/id`; a revoked one stays, so that its name is not given again."""

    format: int = FORMAT
    invitations: dict[str, Invitation] = {}
    collectors: dict[str, Collector] = {}

    def of_site(self, site: str) -> list[Collector]:
        """The site's collectors, by id."""
        return sorted((one for one in self.collectors.values() if one.site == site), key=lambda one: one.id)

    def with_collector(self, collector: Collector) -> Registry:
        """With this collector new or changed."""
        collectors = {**self.collectors, f"{collector.site}/{collector.id}": collector}
        return msgspec.structs.replace(self, collectors=collectors)

    def with_invitation(self, invitation: Invitation) -> Registry:
        """With this invitation new or changed, and without those that have expired long ago."""
        kept = {k: v for k, v in self.invitations.items() if v.expires_at > invitation.made_at - _KEPT}
        return msgspec.structs.replace(self, invitations={**kept, invitation.id: invitation})

    def revoked(self, now: datetime) -> dict[str, int]:
        """Users that a broker must refuse, with the unix time up to which what they were given is void.

        One whose last login has expired need not be named any more.
        """
        return {
            one.user: int(one.revoked_at.timestamp())
            for one in self.collectors.values()
            if one.revoked_at is not None and one.expires_at > now
        }


class RegistryFile:
    """The registry on disk. Another process may write it at any time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / FILE
        self._seen: tuple[int, int, int] | None = None
        self._known = Registry()

    def read(self) -> Registry:
        """What it says now; read again only when it was written. Raises TierError, ConfigError."""
        try:
            stat = self._path.stat()
            seen = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
            if seen != self._seen:
                self._known = _decoded(self._path)
                self._seen = seen
        except FileNotFoundError as error:
            raise ConfigError(f"{self._path} is missing", hint="Restore it from a backup of the folder.") from error
        except OSError as error:
            raise TierError(f"{self._path}: {error.strerror or error}") from error
        return self._known

    def write(self, registry: Registry) -> None:
        """Durable on return. For whoever has the `turn`."""
        replace_file(self._path, msgspec.json.format(msgspec.json.encode(registry)) + b"\n", private=True)

    @contextmanager
    def turn(self) -> Iterator[Registry]:
        """The only writer while this lasts; gives what the registry says. Raises LeaseLost."""
        with hold(self._folder / LOCK, "the registry of sites", timeout_s=_WAIT):
            yield self.read()


def _decoded(path: Path) -> Registry:
    try:
        registry = msgspec.json.decode(path.read_bytes(), type=Registry)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: damaged: {error}", hint="Restore it from a backup of the folder.") from error
    if registry.format != FORMAT:
        raise ConfigError(f"{path}: written by another version of rmm (format {registry.format})", hint="Update rmm.")
    return registry
