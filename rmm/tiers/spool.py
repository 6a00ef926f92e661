"""The outbox of a shard: observations that are not yet everywhere, in segment files with a CRC per record.

`append` returns when the record is fsync'd; concurrent appends share one write and one fsync (group commit), done in
one thread. What a crash leaves is read again at the next start.

Segment: 8 bytes magic, then records of length (4, little-endian), CRC-32 of the payload (4) and payload.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

from rmm.durable import disk_code, fsync_folder
from rmm.errors import TierError

MAGIC = b"rmmspl1\n"
HEADER = 8
SEGMENT_BYTES = 16 << 20
RECORD_LIMIT = 64 << 20
GATHER_S = 0.005  # how long the first of a group waits for company; an fsync costs about as much


class Spool:
    """Append-only segments in one folder. One writer: the holder of the shard's lease.

    Use as an async context manager. `damaged` counts records that replay had to leave out; they are kept in
    `<segment>.damaged` files.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._descriptor = -1
        self._segment: Path | None = None
        self._size = 0
        self._number = 0
        self._waiting: list[tuple[bytes, asyncio.Future[None]]] = []
        self._group: asyncio.Task[None] | None = None
        self._thread: ThreadPoolExecutor | None = None
        self._broken: TierError | None = None
        self.damaged = 0

    async def __aenter__(self) -> Spool:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="spool")
        numbers = [int(path.stem) for path in self._segments()]
        self._number = max(numbers, default=0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._group is not None:
            await asyncio.wait([self._group])
        self._close_segment()
        if self._thread is not None:
            self._thread.shutdown(wait=True)

    async def append(self, record: bytes) -> None:
        """Durable on return. Raises TierError, and then the record is not promised to anyone."""
        if self._broken is not None:
            raise self._broken
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((record, done))
        if self._group is None:
            self._group = asyncio.create_task(self._write_groups())
        await done

    async def _write_groups(self) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(GATHER_S)
        while self._waiting:
            group, self._waiting = self._waiting, []
            data = b"".join(_framed(record) for record, _ in group)
            try:
                await loop.run_in_executor(self._thread, self._write, data)
            except OSError as error:
                # After a failed write or fsync nobody knows what the disk holds: this spool promises nothing more.
                self._broken = TierError(f"{self._folder}: {error.strerror or error}", code=disk_code(error))
                self._broken.__cause__ = error
                for _, done in [*group, *self._waiting]:
                    if not done.done():
                        done.set_exception(self._broken)
                self._waiting = []
                break
            for _, done in group:
                if not done.done():
                    done.set_result(None)
        self._group = None

    def _write(self, data: bytes) -> None:
        if self._descriptor < 0 or self._size >= SEGMENT_BYTES:
            self._open_segment()
        view = memoryview(data)
        while view:
            written = os.write(self._descriptor, view)
            view = view[written:]
        os.fsync(self._descriptor)
        self._size += len(data)

    def _open_segment(self) -> None:
        self._close_segment()
        self._folder.mkdir(parents=True, exist_ok=True)
        self._number += 1
        self._segment = self._folder / f"{self._number:010d}.spool"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | getattr(os, "O_BINARY", 0)
        self._descriptor = os.open(self._segment, flags, 0o600)
        os.write(self._descriptor, MAGIC)
        fsync_folder(self._folder)
        self._size = len(MAGIC)

    def _close_segment(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _segments(self) -> list[Path]:
        return sorted(path for path in self._folder.glob("*.spool") if path.stem.isdigit())

    def replay(self) -> Iterator[bytes]:
        """Every intact record that is not released, oldest first.

        A torn tail is what a crash leaves and is passed over in silence: it was never acknowledged. A record whose
        CRC is wrong with records behind it is damage: it is counted, copied to a side file, and the rest goes on.
        """
        for path in self._segments():
            yield from self._records(path)

    def _records(self, path: Path) -> Iterator[bytes]:
        try:
            data = path.read_bytes()
        except OSError as error:
            raise TierError(f"{path}: {error.strerror or error}", code=disk_code(error)) from error
        position = len(MAGIC)
        while position + HEADER <= len(data):
            size = int.from_bytes(data[position : position + 4], "little")
            crc = int.from_bytes(data[position + 4 : position + 8], "little")
            end = position + HEADER + size
            payload = data[position + HEADER : end]
            if size <= RECORD_LIMIT and end <= len(data) and zlib.crc32(payload) == crc:
                yield payload
                position = end
                continue
            following = _next_intact(data, position + 1)
            if following < 0:
                return
            self._quarantine(path, data[position:following])
            position = following

    def _quarantine(self, path: Path, data: bytes) -> None:
        self.damaged += 1
        with contextlib.suppress(OSError), path.with_suffix(".damaged").open("ab") as file:
            file.write(data)

    async def release(self) -> None:
        """Forget all segments: everything in them is in the tiers and with the coordinator."""
        self._close_segment()
        for path in self._segments():
            try:
                path.unlink()
            except OSError as error:
                raise TierError(f"{path}: {error.strerror or error}", code=disk_code(error)) from error


def _framed(record: bytes) -> bytes:
    return len(record).to_bytes(4, "little") + zlib.crc32(record).to_bytes(4, "little") + record


def _next_intact(data: bytes, start: int) -> int:
    """Position of the next record that is whole, or -1. Records are JSON objects, so only `{` can begin one."""
    at = data.find(b"{", start + HEADER - 1)
    while at >= 0:
        begin = at - HEADER
        size = int.from_bytes(data[begin : begin + 4], "little")
        end = at + size
        crc = int.from_bytes(data[begin + 4 : at], "little")
        if 0 < size <= RECORD_LIMIT and end <= len(data) and zlib.crc32(data[at:end]) == crc:
            return begin
        at = data.find(b"{", at + 1)
    return -1
