"""A model of a disk that promises no more than POSIX: what is not synced may be lost, in any part and in any order.

* What is written to a file is lost unless the file was synced after it. Each sector of 512 bytes is lost by itself.
* A name that was made, renamed or removed is lost (comes back) unless its folder was synced after it. Renaming within a
  folder is one thing: both names or neither.
* What is synced is kept, for ever.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

SECTOR = 512
PAGE = 4096

Tree = dict[str, bytes | None]  # path below the disk's root -> content, None for a folder


class Write(NamedTuple):
    """Bytes at a place; `data` None cuts the file, or lengthens it with zeros, to `offset`."""

    offset: int
    data: bytes | None
    ended: int  # which call it was

    def apply(self, content: bytearray) -> None:
        if self.data is None:
            del content[self.offset :]
            content.extend(bytes(max(0, self.offset - len(content))))
            return
        content.extend(bytes(max(0, self.offset - len(content))))
        content[self.offset : self.offset + len(self.data)] = self.data


class Naming(NamedTuple):
    """Names of one folder that change together."""

    names: dict[str, Inode | None]
    ended: int


@dataclass(eq=False)
class File:
    live: bytearray = field(default_factory=bytearray)
    durable: bytearray = field(default_factory=bytearray)
    pending: list[Write] = field(default_factory=list)

    def write(self, write: Write) -> None:
        write.apply(self.live)
        self.pending.append(write)

    def sync(self, began: int) -> None:
        """What had ended when the sync began is durable."""
        while self.pending and self.pending[0].ended < began:
            self.pending.pop(0).apply(self.durable)


@dataclass(eq=False)
class Folder:
    live: dict[str, Inode] = field(default_factory=dict)
    durable: dict[str, Inode] = field(default_factory=dict)
    pending: list[Naming] = field(default_factory=list)

    def name(self, naming: Naming) -> None:
        _name(self.live, naming)
        self.pending.append(naming)

    def sync(self, began: int) -> None:
        while self.pending and self.pending[0].ended < began:
            _name(self.durable, self.pending.pop(0))


Inode = File | Folder


def _name(names: dict[str, Inode], naming: Naming) -> None:
    for name, inode in naming.names.items():
        if inode is None:
            names.pop(name, None)
        else:
            names[name] = inode


def loaded(place: Path) -> Folder:
    """A real folder, all of it durable."""
    folder = Folder()
    for path in sorted(place.iterdir()):
        if path.is_dir():
            folder.live[path.name] = loaded(path)
        else:
            content = path.read_bytes()
            folder.live[path.name] = File(bytearray(content), bytearray(content))
    folder.durable = dict(folder.live)
    return folder


class Loss:
    """What a loss of power leaves of what was not synced."""

    def names(self, folder: Folder) -> dict[str, Inode]:
        """Nothing more than what is durable."""
        return folder.durable

    def content(self, file: File) -> bytes:
        return bytes(file.durable)


class Killed(Loss):
    """No loss of power at all: what a process that was killed leaves."""

    def names(self, folder: Folder) -> dict[str, Inode]:
        return folder.live

    def content(self, file: File) -> bytes:
        return bytes(file.live)


class KilledWithin(Killed):
    """A process that was killed within the write that call `ended` was: a part of its pages is there."""

    def __init__(self, ended: int, seed: str) -> None:
        self._ended = ended
        self._portion = random.Random(seed).random()

    def content(self, file: File) -> bytes:
        if not file.pending or file.pending[-1].ended != self._ended or (data := file.pending[-1].data) is None:
            return super().content(file)
        content = bytearray(file.durable)
        for write in file.pending[:-1]:
            write.apply(content)
        kept = data[: round(len(data) * self._portion) // PAGE * PAGE]
        Write(file.pending[-1].offset, kept, 0).apply(content)
        return bytes(content)


class OnlyNames(Loss):
    """A journal that keeps all names, and no data: files that were not synced are empty or old."""

    def names(self, folder: Folder) -> dict[str, Inode]:
        return folder.live


class OnlyData(Loss):
    """All data, and no name that was not synced."""

    def content(self, file: File) -> bytes:
        return bytes(file.live)


class Some(Loss):
    """Any part: names, sectors and lengths, each by the toss of a coin that is as false as the seed makes it."""

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed)
        self._names = self._random.choice((0.1, 0.5, 0.9))
        self._data = self._random.choice((0.1, 0.5, 0.9))

    def names(self, folder: Folder) -> dict[str, Inode]:
        names = dict(folder.durable)
        for naming in folder.pending:
            if self._random.random() < self._names:
                _name(names, naming)
        return names

    def content(self, file: File) -> bytes:
        content = bytearray(file.durable)
        for write in file.pending:
            if write.data is None:
                if self._random.random() < self._data:
                    write.apply(content)
                continue
            for start, sector in _sectors(write.offset, write.data):
                if self._random.random() < self._data:
                    Write(start, sector, 0).apply(content)
                elif start >= len(content) and self._random.random() < 0.5:
                    # The length is kept, and the data is what lay there before: zeros, or anybody's.
                    rubbish = self._random.choice((bytes(len(sector)), self._random.randbytes(len(sector))))
                    Write(start, rubbish, 0).apply(content)
        return bytes(content)


def _sectors(offset: int, data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(data):
        size = SECTOR - (offset + at) % SECTOR
        yield offset + at, data[at : at + size]
        at += size


def tree(root: Folder, loss: Loss) -> Tree:
    """What is found after `loss`. SQLite's -shm files are left out: whoever comes first makes them anew."""
    found: Tree = {}
    _gather(root, loss, "", found)
    return found


def _gather(folder: Folder, loss: Loss, place: str, found: Tree) -> None:
    for name, inode in loss.names(folder).items():
        path = f"{place}{name}"
        if isinstance(inode, Folder):
            found[path] = None
            _gather(inode, loss, f"{path}/", found)
        elif not name.endswith("-shm"):
            found[path] = loss.content(inode)


def build(tree: Tree, place: Path) -> None:
    """Write a tree into an empty folder."""
    for path, content in tree.items():
        if content is None:
            (place / path).mkdir()
        else:
            (place / path).write_bytes(content)
