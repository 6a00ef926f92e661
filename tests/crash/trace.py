"""Runs the cycle under strace and reads what it did to files: every call with its data, in the order of completion."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]

# Everything that changes files, their names, or what a descriptor stands for.
CALLS = (
    *("open", "openat", "creat", "close", "dup", "dup2", "dup3", "fcntl", "lseek", "mmap"),
    *("write", "pwrite64", "writev", "pwritev", "pwritev2", "sendfile", "copy_file_range", "splice"),
    *("ftruncate", "truncate", "fallocate", "fsync", "fdatasync", "sync", "syncfs", "sync_file_range"),
    *("rename", "renameat", "renameat2", "unlink", "unlinkat", "rmdir", "mkdir", "mkdirat"),
    *("link", "linkat", "symlink", "symlinkat"),
)

_LINE = re.compile(r"(?P<task>\d+) +(?:<\.\.\. (?P<resumed>\w+) resumed>|(?P<name>\w+)\()(?P<rest>.*)", re.DOTALL)
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"(\.\.\.)?')
_PATH = re.compile(r"<((?:\\x[0-9a-f]{2}|[^>\\])*)>")


class Call(NamedTuple):
    """One system call that succeeded. `texts` are its strings, `rest` the text with those left out."""

    name: str
    rest: str
    texts: tuple[bytes, ...]
    paths: tuple[str, ...]  # of the descriptors in it, the last one of its result if that is one
    result: int
    began: int  # how many calls had ended when this one began

    @property
    def numbers(self) -> list[int]:
        """The whole numbers among the arguments, in order; descriptors are among them."""
        return [int(text) for text in re.findall(r"(?<![\w.])-?\d+(?![\w.])", self.rest)]


def why_not() -> str:
    """Why calls cannot be recorded here; empty when they can."""
    if sys.platform != "linux":
        return "strace is for Linux"
    if shutil.which("strace") is None:
        return "no strace here: install the package strace"
    tried = subprocess.run(["strace", "-f", "-o", "/dev/null", "true"], capture_output=True, text=True, check=False)
    return f"strace may not trace here: {tried.stderr.strip()}" if tried.returncode else ""


def record(command: Iterable[str], output: Path, environment: dict[str, str] | None = None) -> None:
    """Run `command` under strace; its calls go to `output`. Raises CalledProcessError when it fails."""
    options = ["-f", "-y", "-xx", "-s", str(64 << 20), "--seccomp-bpf", "-e", f"trace={','.join(CALLS)}"]
    subprocess.run(["strace", *options, "-o", str(output), *command], check=True, cwd=ROOT, env=environment)


def read(output: Path) -> Iterator[Call]:
    """The calls that succeeded, in the order in which they ended."""
    begun: dict[str, tuple[str, int]] = {}  # thread -> the beginning of its unfinished call, calls ended before
    ended = 0
    with output.open(encoding="ascii") as lines:
        for line in lines:
            found = _LINE.match(line)
            if found is None:
                continue  # a signal, or the end of a thread
            if line.endswith("<unfinished ...>\n"):
                begun[found["task"]] = (found["name"] + "(" + found["rest"].removesuffix("<unfinished ...>\n"), ended)
                continue
            began = ended
            text = f"{found['name']}({found['rest']}"
            if found["resumed"]:
                beginning, began = begun.pop(found["task"])
                text = beginning + found["rest"]
            call = _call(text, began)
            if call is not None:
                ended += 1
                yield call


def _call(text: str, began: int) -> Call | None:
    body, equals, result = text.rpartition(") = ")
    if not equals:
        body, equals, result = text.rpartition(" = ")  # strace pads short calls: `close(3)        = 0`
    name, _, arguments = body.partition("(")
    number = re.match(r"-?\d+|0x[0-9a-f]+", result)
    if not equals or number is None or number[0].startswith("-"):
        return None
    if any(cut for _, cut in _TEXT.findall(arguments)):
        raise ValueError(f"strace cut a string of {name}")
    texts = tuple(bytes.fromhex(found.replace("\\x", "")) for found, _ in _TEXT.findall(arguments))
    rest = _TEXT.sub("", arguments)
    paths = tuple(_plain(found) for found in _PATH.findall(rest + result))
    return Call(name, _PATH.sub("", rest), texts, paths, int(number[0], 0), began)


def _plain(text: str) -> str:
    return bytes.fromhex(text.replace("\\x", "")).decode() if text.startswith("\\x") else text
