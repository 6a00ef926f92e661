"""The outbox of a shard: observations that are not yet everywhere, in segment files with a CRC per record.

`append` returns when the record is fsync'd; concurrent appends share one write and one fsync (group commit), done in
one thread. What a crash leaves is read again at the next start.

Segment: 8 bytes magic, then records of length (4, little-endian), CRC-32 of the payload (4) and payload.
"""

from __future__ import annotations

import asyncio
import logging
import os
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

from rmm.durable import disk_code, fsync_folder, make_folder
from rmm.errors import TierError

log = logging.getLogger(__name__)

MAGIC = b"rmmspl1\n"
HEADER = 8
SEGMENT_BYTES = 16 << 20
RECORD_LIMIT = 64 << 20
GATHER_S = 0.005  # how long the first of a group waits for company; an fsync costs about as much


class Spool:
    """Append-only segments in one folder. One writer: the holder of the shard's lease.

    Use as an async context manager. After a replay `damaged` counts records that had to be left out (they are kept in
    `*.damaged` files) and `torn` the segments whose last record was cut off, as a crash does.
    """

    def __init__(self, folder: Path, segment_bytes: int = 0) -> None:
        """`segment_bytes`: after which a segment is followed by another, SEGMENT_BYTES by default.

        A replay has one segment in memory.
        """
        self._folder = folder
        self._segment_bytes = segment_bytes or SEGMENT_BYTES
        self._descriptor = -1
        self._size = 0
        self._number = 0
        self._waiting: list[tuple[bytes, asyncio.Future[None]]] = []
        self._group: asyncio.Task[None] | None = None
        self._thread: ThreadPoolExecutor | None = None
        self._broken: TierError | None = None
        self._flying = 0  # appends that have not returned
        self._fresh = False  # the next group begins a new segment
        self.damaged = 0
        self.torn = 0

    async def __aenter__(self) -> Spool:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="spool")
        # Numbers are not used again, also not those of segments of which only damaged records are left.
        names = [path.name.split(".")[0].split("-")[0] for path in self._folder.glob("*.*")]
        self._number = max((int(name) for name in names if name.isdigit()), default=0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._group is not None:
            await asyncio.wait([self._group])
        if self._thread is not None:
            self._thread.shutdown(wait=True)  # before the descriptor goes: a cancelled group may still be writing
        self._close_segment()

    @property
    def missing(self) -> int:
        """Records that a replay could not give; a damaged length looks as if the record had been cut off."""
        return self.damaged + self.torn

    async def append(self, record: bytes) -> None:
        """Durable on return. Raises TierError, and then the record is not promised to anyone."""
        if not 0 < len(record) <= RECORD_LIMIT:
            raise TierError(f"a record of {len(record)} bytes cannot be spooled", code="spool.size")
        if self._broken is not None:
            raise self._broken
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((record, done))
        self._flying += 1
        if self._group is None:
            self._group = asyncio.create_task(self._write_groups())
        try:
            await done
        finally:
            self._flying -= 1

    async def _write_groups(self) -> None:
        loop = asyncio.get_running_loop()
        group: list[tuple[bytes, asyncio.Future[None]]] = []
        try:
            await asyncio.sleep(GATHER_S)
            while self._waiting:
                group, self._waiting = self._waiting, []
                fresh, self._fresh = self._fresh, False
                data = b"".join(_framed(record) for record, _ in group)
                await loop.run_in_executor(self._thread, self._write, data, fresh)
                for _, done in group:
                    if not done.done():
                        done.set_result(None)
        except BaseException as error:
            # After a failed write or fsync nobody knows what the disk holds, and a second fsync may report success for
            # what is lost: this spool promises nothing more.
            self._broken = _broken(self._folder, error)
            for _, done in [*group, *self._waiting]:
                if not done.done():
                    done.set_exception(self._broken)
            self._waiting = []
            if not isinstance(error, Exception):
                raise
        finally:
            self._group = None

    def _write(self, data: bytes, fresh: bool) -> None:
        if self._descriptor < 0 or self._size >= self._segment_bytes or fresh:
            self._open_segment()
        _write_all(self._descriptor, data)
        os.fsync(self._descriptor)
        self._size += len(data)

    def _open_segment(self) -> None:
        self._close_segment()
        make_folder(self._folder)
        self._number += 1
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | getattr(os, "O_BINARY", 0)
        self._descriptor = os.open(self._folder / f"{self._number:010d}.spool", flags, 0o600)
        _write_all(self._descriptor, MAGIC)
        fsync_folder(self._folder)
        self._size = len(MAGIC)

    def _close_segment(self) -> None:
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)

    def _segments(self) -> list[Path]:
        return sorted(path for path in self._folder.glob("*.spool") if path.stem.isdigit())

    def replay(self, up_to: int | None = None) -> Iterator[bytes]:
        """Every intact record that is not released, oldest first. Raises TierError when a segment cannot be read.

        `up_to`: only of the segments up to that mark, while later ones are written.

        A torn tail is what a crash leaves: it was never acknowledged, so it is counted and passed over. A record whose
        CRC is wrong is damage: it is counted and copied to a side file, and the rest goes on.
        """
        self.damaged = self.torn = 0
        for path in self._segments():
            if up_to is None or int(path.stem) <= up_to:
                yield from self._records(path)

    def again(self, mark: int) -> Iterator[bytes]:
        """The intact records of the segments up to `mark`, which a replay has seen already. Raises TierError.

        No more than one segment is in memory at a time, also when history has waited for days.
        """
        for path in self._segments():
            if int(path.stem) <= mark:
                yield from self._records(path, told=True)

    @property
    def mark(self) -> int:
        """The number of the newest segment."""
        return self._number

    def _records(self, path: Path, *, told: bool = False) -> Iterator[bytes]:
        """`told`: what is damaged has been counted and kept already."""
        try:
            data = path.read_bytes()
        except OSError as error:
            raise TierError(f"{path}: {error.strerror or error}", code=disk_code(error)) from error
        position = len(MAGIC)
        while position + HEADER <= len(data):
            end = _end_of_intact(data, position)
            if end > 0:
                yield data[position + HEADER : end]
                position = end
                continue
            following = _next_intact(data, position)
            if following < 0 and not _complete(data, position):
                break
            following = following if following > 0 else len(data)
            if not told:
                self.damaged += 1
                self._quarantine(path, position, data[position:following])
            position = following
        if not told and (position < len(data) or len(data) < len(MAGIC)):
            self.torn += 1
            log.info("%s ends in an unfinished record of %d bytes, as a crash leaves it", path, len(data) - position)

    def _quarantine(self, path: Path, position: int, data: bytes) -> None:
        """Keep damaged bytes for a person; by their place, so that replaying again does not keep them twice."""
        aside = path.with_name(f"{path.stem}-{position}.damaged")
        log.warning("%s is damaged at byte %d; %d bytes are kept as %s", path, position, len(data), aside.name)
        try:
            aside.write_bytes(data)
        except OSError as error:
            log.warning("%s could not be written: %s", aside, error)

    def set_aside(self, record: bytes) -> None:
        """Keep a record which is intact but cannot be used, before a release deletes it."""
        self.damaged += 1
        self._quarantine(self._folder / "record", zlib.crc32(record), record)

    def seal(self) -> int:
        """Begin a new segment with the next append; returns a mark for `release`.

        The mark covers all records whose `append` has returned, but no segment that one still in flight may go to.
        """
        if self._flying:
            self._fresh = True
            return self._number - 1
        self._close_segment()
        return self._number

    def release(self, mark: int) -> None:
        """Forget the segments up to `mark`: all in them is in the tiers and with the coordinator."""
        for path in self._segments():
            if int(path.stem) <= mark:
                try:
                    path.unlink()
                except OSError as error:
                    raise TierError(f"{path}: {error.strerror or error}", code=disk_code(error)) from error


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _broken(folder: Path, cause: BaseException) -> TierError:
    if isinstance(cause, OSError):
        error = TierError(f"{folder}: {cause.strerror or cause}", code=disk_code(cause))
    else:
        error = TierError(f"{folder}: nothing more can be spooled ({type(cause).__name__})", code="spool.broken")
    error.__cause__ = cause
    return error


def _framed(record: bytes) -> bytes:
    return len(record).to_bytes(4, "little") + zlib.crc32(record).to_bytes(4, "little") + record


def _end_of_intact(data: bytes, position: int) -> int:
    """Where the record at `position` ends; -1 when it is not whole. Zeros, as some crashes leave, are no record."""
    size = int.from_bytes(data[position : position + 4], "little")
    end = position + HEADER + size
    if not 0 < size <= RECORD_LIMIT or end > len(data):
        return -1
    crc = int.from_bytes(data[position + 4 : position + HEADER], "little")
    return end if zlib.crc32(memoryview(data)[position + HEADER : end]) == crc else -1


def _complete(data: bytes, position: int) -> bool:
    """Whether a record that is not intact is at least as long as it says, to the byte: damaged, and not torn."""
    size = int.from_bytes(data[position : position + 4], "little")
    return size > 0 and position + HEADER + size == len(data)


def _next_intact(data: bytes, damaged: int) -> int:
    """Position of the next record that is whole behind a damaged one, or -1.

    The damaged record's own length is tried first. If that is what was damaged: records are JSON objects, so only `{`
    can begin one.
    """
    size = int.from_bytes(data[damaged : damaged + 4], "little")
    if _end_of_intact(data, damaged + HEADER + size) > 0:
        return damaged + HEADER + size
    at = data.find(b"{", damaged + HEADER + 1)
    while at >= 0:
        if _end_of_intact(data, at - HEADER) > 0:
            return at - HEADER
        at = data.find(b"{", at + 1)
    return -1


def damage(data: bytes) -> Iterator[str]:
    """What is damaged in the content of a segment. An unfinished record at its end is none: a crash leaves it."""
    if data and not MAGIC.startswith(data[: len(MAGIC)]):
        yield "it does not begin as a segment does"
    position = len(MAGIC)
    while position + HEADER <= len(data):
        end = _end_of_intact(data, position)
        if end > 0:
            position = end
            continue
        following = _next_intact(data, position)
        if following < 0 and not _complete(data, position):
            return
        yield f"the record at byte {position} is damaged"
        position = following if following > 0 else len(data)
