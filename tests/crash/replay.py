"""Repeats recorded calls on the model of a disk, and stops after each: what a crash at this moment leaves."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.crash.disk import File, Folder, Inode, Naming, Write, loaded
from tests.crash.trace import Call


class NotModelledError(Exception):
    """The recording holds a call whose effect on the disk is not known here: add it, do not skip it."""


@dataclass
class Descriptor:
    inode: Inode
    position: int
    append: bool
    unread: bool  # opened for writing alone, so that its position is known


@dataclass
class Point:
    """After the `number`th change (from 1) of the disk: a moment at which it can all end."""

    number: int
    ended: int  # the call's number among all
    what: str  # the call, for people
    step: str
    said: list[dict[str, Any]]  # all that was said until then


@dataclass
class Replay:
    """The disk below `root`, from how it was before the recording. `log` is what the cycle said."""

    root: Path
    log: Path
    disk: Folder = field(default_factory=Folder)
    left_out: Callable[[Call, str], bool] = lambda _call, _path: False  # calls that are not repeated, to try ourselves
    _descriptors: dict[int, Descriptor | None] = field(default_factory=dict)
    _ended: int = 0
    _said: list[dict[str, Any]] = field(default_factory=list)

    def begin(self) -> None:
        """The disk is as `root` is now."""
        self.disk = loaded(self.root)

    def points(self, calls: Iterable[Call]) -> Iterator[Point]:
        """Apply the calls one by one; `disk` is as it was then while a point is looked at."""
        number = 0
        for call in calls:
            act = getattr(self, f"_{call.name}", None)
            if act is None:
                raise NotModelledError(f"{call.name}({call.rest}")
            path = self._path_of(call)
            changed = not self.left_out(call, path) and act(call)
            if changed:
                number += 1
                step = next((one["step"] for one in reversed(self._said) if "step" in one), "")
                yield Point(number, self._ended, f"{call.name} {path}", step, list(self._said))
            self._ended += 1

    # Names

    def _below(self, path: str) -> tuple[str, ...] | None:
        """The parts of a path below the root; None for one elsewhere."""
        root = str(self.root)
        path = posixpath.normpath(path)
        return tuple(path[len(root) + 1 :].split("/")) if path.startswith(f"{root}/") else None

    def _path_of(self, call: Call) -> str:
        texts = call.texts if call.name not in ("write", "pwrite64", "writev") else ()
        paths = [text.decode(errors="replace") for text in texts] or list(call.paths)
        return " ".join(path.removeprefix(f"{self.root}/") for path in paths)

    def _find(self, parts: tuple[str, ...]) -> tuple[Folder, str]:
        folder = self.disk
        for part in parts[:-1]:
            inner = folder.live[part]
            assert isinstance(inner, Folder)
            folder = inner
        return folder, parts[-1]

    def _full(self, call: Call, text: int, base: int = 0) -> tuple[str, ...] | None:
        """The path of a call's string, which may be relative to the folder of a descriptor."""
        path = call.texts[text].decode()
        return self._below(path if path.startswith("/") else posixpath.join(call.paths[base], path))

    def _rename_to(self, old: tuple[str, ...] | None, new: tuple[str, ...] | None) -> bool:
        if old is None and new is None:
            return False
        if old is None or new is None:
            raise NotModelledError("a rename into or out of the disk")
        source, name = self._find(old)
        target, wanted = self._find(new)
        inode = source.live[name]
        if source is target:
            source.name(Naming({name: None, wanted: inode}, self._ended))
        else:  # two folders, and each is synced by itself
            target.name(Naming({wanted: inode}, self._ended))
            source.name(Naming({name: None}, self._ended))
        return True

    def _remove(self, parts: tuple[str, ...] | None) -> bool:
        if parts is None:
            return False
        folder, name = self._find(parts)
        folder.name(Naming({name: None}, self._ended))
        return True

    def _make_folder(self, parts: tuple[str, ...] | None) -> bool:
        if parts is None:
            return False
        folder, name = self._find(parts)
        folder.name(Naming({name: Folder()}, self._ended))
        return True

    def _rename(self, call: Call) -> bool:
        return self._rename_to(self._full(call, 0), self._full(call, 1))

    def _renameat(self, call: Call) -> bool:
        return self._rename_to(self._full(call, 0, 0), self._full(call, 1, 1))

    def _renameat2(self, call: Call) -> bool:
        if "RENAME_EXCHANGE" in call.rest:
            raise NotModelledError(call.rest)
        return self._renameat(call)

    def _unlink(self, call: Call) -> bool:
        return self._remove(self._full(call, 0))

    _unlinkat = _rmdir = _unlink

    def _mkdir(self, call: Call) -> bool:
        return self._make_folder(self._full(call, 0))

    _mkdirat = _mkdir

    def _link(self, call: Call) -> bool:
        old, new = self._full(call, 0), self._full(call, 1, -1)
        if old is None or new is None:
            return False
        source, name = self._find(old)
        target, wanted = self._find(new)
        target.name(Naming({wanted: source.live[name]}, self._ended))
        return True

    _linkat = _link

    def _symlink(self, call: Call) -> bool:
        if any(self._below(text.decode()) for text in call.texts):
            raise NotModelledError(call.rest)
        return False

    _symlinkat = _symlink

    # Descriptors

    def _openat(self, call: Call) -> bool:
        parts = self._full(call, 0)
        if call.paths and call.paths[-1] == str(self.root):
            self._descriptors[call.result] = Descriptor(self.disk, 0, append=False, unread=False)
            return False
        if parts is None:
            self._descriptors.pop(call.result, None)
            return False
        folder, name = self._find(parts)
        made = name not in folder.live
        if made:
            folder.name(Naming({name: File()}, self._ended))
        inode = folder.live[name]
        cut = "O_TRUNC" in call.rest and isinstance(inode, File) and len(inode.live) > 0
        if cut and isinstance(inode, File):
            inode.write(Write(0, None, self._ended))
        self._descriptors[call.result] = Descriptor(inode, 0, "O_APPEND" in call.rest, "O_WRONLY" in call.rest)
        return made or cut

    _open = _creat = _openat

    def _close(self, call: Call) -> bool:
        self._descriptors.pop(call.numbers[0], None)
        return False

    def _dup(self, call: Call) -> bool:
        self._descriptors[call.result] = self._descriptors.get(call.numbers[0])
        return False

    _dup2 = _dup3 = _dup

    def _fcntl(self, call: Call) -> bool:
        return self._dup(call) if "F_DUPFD" in call.rest else False

    def _lseek(self, call: Call) -> bool:
        if (found := self._descriptors.get(call.numbers[0])) is not None:
            found.position = call.result
        return False

    def _mmap(self, call: Call) -> bool:
        shared = call.paths and "MAP_SHARED" in call.rest and "PROT_WRITE" in call.rest
        if shared and self._below(call.paths[0]) and not call.paths[0].endswith("-shm"):
            raise NotModelledError(f"writing through memory: {call.paths[0]}")
        return False

    # Data

    def _file(self, descriptor: int) -> tuple[Descriptor, File] | None:
        found = self._descriptors.get(descriptor)
        return (found, found.inode) if found is not None and isinstance(found.inode, File) else None

    def _put(self, call: Call, data: bytes, offset: int | None = None) -> bool:
        if call.paths and call.paths[0] == str(self.log):
            self._said += [json.loads(line) for line in data.splitlines()]
            return False
        found = self._file(call.numbers[0])
        if found is None:
            return False
        descriptor, file = found
        data = data[: call.result]
        if offset is None:
            if not (descriptor.append or descriptor.unread):
                raise NotModelledError(f"a write behind reads: {call.paths}")
            offset = len(file.live) if descriptor.append else descriptor.position
            descriptor.position = offset + len(data)
        file.write(Write(offset, data, self._ended))
        return True

    def _write(self, call: Call) -> bool:
        return self._put(call, call.texts[0])

    def _writev(self, call: Call) -> bool:
        return self._put(call, b"".join(call.texts))

    def _pwrite64(self, call: Call) -> bool:
        return self._put(call, call.texts[0], call.numbers[-1])

    def _sendfile(self, call: Call) -> bool:
        """`sendfile(out, in, [offset] => [after], count)`, as shutil copies files."""
        source = self._file(call.numbers[1])
        if call.result == 0 or self._file(call.numbers[0]) is None:
            return False
        if source is None or len(call.numbers) != 5:
            raise NotModelledError(call.rest)
        start = call.numbers[2]
        return self._put(call, bytes(source[1].live[start : start + call.result]))

    def _ftruncate(self, call: Call) -> bool:
        found = self._file(call.numbers[0])
        if found is not None:
            found[1].write(Write(call.numbers[1], None, self._ended))
        return found is not None

    def _truncate(self, call: Call) -> bool:
        parts = self._full(call, 0)
        if parts is None:
            return False
        folder, name = self._find(parts)
        file = folder.live[name]
        assert isinstance(file, File)
        file.write(Write(call.numbers[-1], None, self._ended))
        return True

    # Promises

    def _fsync(self, call: Call) -> bool:
        found = self._descriptors.get(call.numbers[0])
        if found is None:
            return False
        found.inode.sync(call.began)
        return True

    _fdatasync = _fsync
