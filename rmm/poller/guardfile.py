"""The files of one account's guard: `authguard/KEY.json`, `KEY.flights`, and the lock `locks/auth-KEY.lock`."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from filelock import FileLock, Timeout

from rmm.core.authguard import Guard
from rmm.durable import disk_code, fsync_folder, make_folder, replace_file
from rmm.errors import TierError

FOLDER = "authguard"

DAMAGED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

log = logging.getLogger(__name__)

_decoder = msgspec.json.Decoder(Guard)


def key_of(account: str) -> str:
    """The key of an account as `authguard.account_of` gives it: names of files hold no names of accounts."""
    return hashlib.sha256(account.encode()).hexdigest()[:32]


class GuardFile:
    """Reads and writes only while the lock is held."""

    def __init__(self, data: Path, key: str) -> None:
        self._path = data / FOLDER / f"{key}.json"
        self._flights = data / FOLDER / f"{key}.flights"
        self._share = data / FOLDER / f"{key}.share"
        self._wanted = data / "locks" / f"auth-{key}.wanted"
        self._lock = FileLock(data / "locks" / f"auth-{key}.lock", thread_local=False)
        self._note: Any = None
        self._noted = -1  # what this process has noted since it took the lock

    @property
    def held(self) -> bool:
        """Whether this process has the lock."""
        return self._note is not None

    @property
    def exists(self) -> bool:
        """Whether anything is remembered or in flight."""
        return self._path.exists() or self._flights.exists()

    def take(self) -> bool:
        """Try to get the lock. Raises TierError when the data folder cannot be used."""
        try:
            make_folder(self._path.parent)
            make_folder(Path(self._lock.lock_file).parent)
            try:
                self._lock.acquire(timeout=0)
            except Timeout:
                self._wanted.touch()
                return False
        except OSError as error:
            raise self._error(error) from error
        try:
            new = not self._flights.exists()
            descriptor = os.open(self._flights, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o600)
            self._note = os.fdopen(descriptor, "r+b", buffering=0)
            if new:
                fsync_folder(self._flights.parent)
        except OSError as error:
            self.give_back()
            raise self._error(error) from error
        return True

    def give_back(self) -> None:
        """Let go of the lock."""
        if self._note is not None:
            self._note.close()
            self._note, self._noted = None, -1
        self._lock.release()

    def wanted(self) -> bool:
        """Whether another process has asked for the lock in vain since this was asked."""
        try:
            self._wanted.unlink()
        except OSError:  # not there; or on Windows, touched at this moment: then the next burst ends the same way
            return False
        return True

    def read(self) -> Guard | None:
        """What is remembered; None where it is damaged, and then the file is kept aside, for people to look at."""
        try:
            return _decoder.decode(self._path.read_bytes())
        except FileNotFoundError:
            return Guard()
        except DAMAGED as error:
            aside = self._path.with_name(f"{self._path.name}.damaged")
            log.warning("%s", _told(self._path, error, f"it is kept as {aside.name}, and counts as one bad logon"))
            with contextlib.suppress(OSError):  # whoever writes next replaces it, or says why that is not possible
                self._path.replace(aside)
            return None
        except OSError as error:
            raise self._error(error) from error

    def write(self, guard: Guard) -> None:
        """Durable on return. Raises TierError."""
        replace_file(self._path, msgspec.json.format(msgspec.json.encode(guard)), private=True)

    def share(self) -> int | None:
        """How many bad logons this collector may spend of those of its site; None: the account is not shared.

        See `rmm.core.escrow`. What is damaged counts as none, until the others have been asked.
        """
        try:
            data = self._share.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._error(error) from error
        return int(data) if data.isdigit() and len(data) < 4 else 0

    def keep_share(self, count: int) -> None:
        """Durable on return. Raises TierError."""
        replace_file(self._share, str(count).encode(), private=True)

    def in_flight(self) -> int:
        """How many logons were in flight when the number was noted last."""
        self._note.seek(0)
        data = self._note.read(1)
        return data[0] if data else 0

    def noted_at(self) -> datetime:
        """When that number was noted."""
        return datetime.fromtimestamp(os.fstat(self._note.fileno()).st_mtime, UTC)

    def note(self, number: int, *, durable: bool) -> None:
        """Note how many logons are in flight. Raises TierError, and then none may leave."""
        if number == self._noted and not durable:
            return
        try:
            self._note.seek(0)
            self._note.write(bytes([min(number, 255)]))
            if durable:
                os.fsync(self._note.fileno())
        except OSError as error:
            self._noted = -1
            raise self._error(error) from error
        self._noted = number

    def _error(self, error: OSError) -> TierError:
        return TierError(f"{self._path}: {error.strerror or error}", code=disk_code(error))


def guards(data: Path) -> Iterator[tuple[Path, Guard]]:
    """All guards of a data folder, as they are now, for showing."""
    for path in sorted((data / FOLDER).glob("*.json")):
        with contextlib.suppress(OSError):
            try:
                yield path, _decoder.decode(path.read_bytes())
            except DAMAGED as error:
                log.warning("%s", _told(path, error, "the next logon of this account counts it as one bad logon"))


def _told(path: Path, error: Exception, then: str) -> str:
    return f"{path}: the lock-out protection of one account is damaged ({str(error)[:100]}); {then}"
