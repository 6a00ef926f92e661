"""Runs one target in this process: generates inputs, judges each, and keeps those that are wrong.

A target is a module of `tests.fuzz.targets` with `seeds()` (right inputs), `run(data)` (decode it; give what came out)
and, where bytes alone would seldom get deep, `inputs()` (a hypothesis strategy of bytes). Right is: a value, or one of
rmm's own errors; within a second of CPU; without 64 MB more memory; every text of it encodable and harmless.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import random
import re
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec

from rmm.errors import RmmError
from rmm.poller.harvest import fault_of
from tests.fuzz.mutate import MOST, mutated

TARGETS = Path(__file__).parent / "targets"
REGRESSIONS = Path(__file__).parent / "regressions"
SECONDS = 1.0  # CPU of one input
GROWTH = 64 << 20  # bytes of resident memory, of one input and of a run after its first tenth
ADDRESS_SPACE = 2 << 30  # on top of what the process has when it begins
MOST_KEPT = 20  # files per target and run
MOST_BUILT = 4000  # inputs by hypothesis in one run: it takes milliseconds for each, and the mutations go on from them
MOST_LEARNT, MOST_LEARNT_BYTES = 400, 16_384  # inputs that led to something new and are mutated further
_CODE = re.compile(r"[a-z0-9_]{1,24}(?:\.[a-z0-9_]{1,64})?\Z")
_RETRY = {"R0", "R1", "RB", "RH"}
_HARMFUL = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


class TooSlowError(BaseException):
    """The alarm: an input took several times its second."""


class Finding(msgspec.Struct):
    """What is wrong with one input."""

    target: str
    what: str
    size: int
    file: str = ""


def names() -> list[str]:
    """All targets."""
    return sorted(path.stem for path in TARGETS.glob("*.py") if path.stem != "__init__")


def judge(target: Any, data: bytes) -> tuple[str, str]:
    """(outcome, what is wrong with it or empty): the outcome is a word that tells kinds of behaviour apart."""
    before, began = _peak(), time.process_time()
    try:
        with alarm(4 * SECONDS):
            outcome, wrong = _outcome(target, data)
    except TooSlowError:
        outcome, wrong = "too slow", "no end"
    except Exception as error:
        outcome = type(error).__name__
        place = traceback.extract_tb(error.__traceback__)[-1]
        wrong = f"{outcome} at {Path(place.filename).name}:{place.lineno}: {str(error)[:100]!r}"
    seconds, growth = time.process_time() - began, _peak() - before
    if seconds > SECONDS:
        wrong = f"{seconds:.1f} s of CPU ({wrong or outcome})"
    if growth > GROWTH:
        wrong = f"{growth >> 20} MB more memory ({wrong or outcome})"
    return outcome, wrong


def _outcome(target: Any, data: bytes) -> tuple[str, str]:
    try:
        value = target.run(data)
    except RmmError as error:
        return error.code, _bad_fault(error)
    except msgspec.DecodeError:
        return "not decoded", "" if getattr(target, "MAY_RAISE_DECODE_ERROR", False) else "DecodeError"
    return f"value {type(value).__name__}", bad_text(value, clean=getattr(target, "CLEAN", False))


def _bad_fault(error: RmmError) -> str:
    fault = fault_of(error)
    if not _CODE.match(fault.code):
        return f"code {fault.code[:60]!r}"
    if fault.retry not in _RETRY or not fault.hint or not error.status.replace("_", "").isupper():
        return f"retry, hint or status of {fault.code}"
    if len(fault.message) > 500 or _HARMFUL.search(fault.message):
        return f"message of {fault.code}: {fault.message[:60]!r}"
    return ""


def bad_text(value: Any, *, clean: bool) -> str:
    """What is wrong with a text in a value: not encodable, or, where it must be clean, not harmless."""
    waiting, seen = [value], 0
    while waiting:
        one = waiting.pop()
        seen += 1
        if seen > 2_000_000:
            return "a value of millions of parts"
        if isinstance(one, str):
            try:
                one.encode()
            except UnicodeEncodeError:
                return f"a text that is not Unicode: {one[:40]!r}"
            if clean and _HARMFUL.search(one):
                return f"a harmful text: {one[:40]!r}"
        elif isinstance(one, dict):
            waiting += [*one.keys(), *one.values()]
        elif isinstance(one, list | tuple):
            waiting += one
        elif isinstance(one, msgspec.Struct):
            waiting += [getattr(one, name) for name in one.__struct_fields__]
    return ""


def fuzz(name: str, count: int, seed: int, keep: Path, note: Callable[[bytes], None]) -> dict[str, Any]:
    """Give a target `count` inputs; `note` hears of each before it is tried. Returns the summary."""
    target = importlib.import_module(f"tests.fuzz.targets.{name}")
    began = time.process_time()
    outcomes: dict[str, int] = {}
    findings: dict[str, Finding] = {}
    corpus = [data for data in target.seeds() if len(data) <= MOST]
    settled = 0
    for number, data in enumerate(_inputs(target, name, count, seed, corpus)):
        note(data)
        outcome, wrong = judge(target, data)
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
        if outcomes[outcome] == 1 and len(corpus) < MOST_LEARNT and len(data) <= MOST_LEARNT_BYTES:
            corpus.append(data)
        if wrong:
            _keep(findings, Finding(name, wrong, len(data)), data, keep)
        if number == count // 10:
            settled = _peak()
    growth = _peak() - settled
    if growth > GROWTH:
        findings["growth"] = Finding(name, f"{growth >> 20} MB more memory after the first tenth of the run", 0)
    return {
        "target": name, "inputs": sum(outcomes.values()), "outcomes": outcomes, "growth": growth,
        "seconds": round(time.process_time() - began, 1),
        "findings": [msgspec.to_builtins(finding) for finding in findings.values()],
    }  # fmt: skip


def _keep(findings: dict[str, Finding], finding: Finding, data: bytes, keep: Path) -> None:
    """One file per kind of finding, the smallest input."""
    kind = re.sub("[0-9.]+ (MB|s) .*", "#", finding.what.split(": ")[0])
    known = findings.get(kind)
    if (known is None and len(findings) >= MOST_KEPT) or (known is not None and known.size <= finding.size):
        return
    if known is not None:
        Path(known.file).unlink(missing_ok=True)
    folder = keep / finding.target
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{hashlib.sha256(data).hexdigest()[:16]}.bin"
    path.write_bytes(data)
    finding.file = str(path)
    findings[kind] = finding


def _inputs(target: Any, name: str, count: int, seed: int, corpus: list[bytes]) -> Iterator[bytes]:
    """Seeds as they are, every truncation of some, what hypothesis builds, and mutations of all that is known."""
    made = 0
    rng = random.Random(f"{seed}:{name}")
    # Before anything is judged, because hypothesis takes memory of its own.
    built = _built(target, min(count // 5, MOST_BUILT), rng.randrange(2**32)) if hasattr(target, "inputs") else []
    corpus += [data for data in built[:100] if len(data) <= MOST_LEARNT_BYTES]
    for data in corpus[: count // 10]:
        made += 1
        yield data
    # Truncation at every byte, over as many runs as it takes: each run goes on at another place.
    for _ in range(count // 10):
        base = rng.choice(corpus)
        made += 1
        yield base[: rng.randrange(len(base) + 1)]
    made += len(built)
    yield from built
    while made < count:
        made += 1
        yield mutated(rng.choice(corpus), rng, corpus)


def _built(target: Any, count: int, seed: int) -> list[bytes]:
    """Inputs that hypothesis builds; kept as bytes, so that a failure is replayed without it."""
    import hypothesis
    from hypothesis import HealthCheck, Phase

    found: list[bytes] = []

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=max(1, count), phases=[Phase.generate], database=None, deadline=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @hypothesis.given(target.inputs())
    def collect(data: bytes) -> None:
        found.append(data)

    collect()
    return [data for data in found[:count] if len(data) <= MOST]


class alarm:
    """TooSlowError after so many seconds of CPU; nothing where the platform has no such timer."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def __enter__(self) -> None:
        if sys.platform != "win32":
            import signal

            signal.signal(signal.SIGPROF, self._ring)
            signal.setitimer(signal.ITIMER_PROF, self._seconds)

    def __exit__(self, *_: object) -> None:
        if sys.platform != "win32":
            import signal

            signal.setitimer(signal.ITIMER_PROF, 0)

    def _ring(self, number: int, frame: FrameType | None) -> None:
        raise TooSlowError


def _peak() -> int:
    """The most resident memory that this process has had, in bytes; 0 where the platform does not say."""
    if sys.platform == "win32":
        return 0
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def limit_address_space() -> None:
    """A decoder that asks for gigabytes gets a MemoryError, not the machine's memory."""
    if sys.platform != "linux":
        return
    import resource

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + ADDRESS_SPACE
    resource.setrlimit(resource.RLIMIT_AS, (most, resource.getrlimit(resource.RLIMIT_AS)[1]))


def replay(folder: Path) -> list[Finding]:
    """Judge every kept input of `folder` again, with all of them in this process."""
    findings = []
    for path in sorted(folder.glob("*/*.bin")):
        target = importlib.import_module(f"tests.fuzz.targets.{path.parent.name}")
        _, wrong = judge(target, path.read_bytes())
        if wrong:
            findings.append(Finding(path.parent.name, wrong, path.stat().st_size, str(path)))
    return findings


def child(name: str, count: int, seed: int, keep: Path) -> None:
    """The child's side: one target; the current input lies in a file, so that a crash leaves it behind."""
    import mmap

    keep.mkdir(parents=True, exist_ok=True)
    with (keep / f"{name}.current").open("w+b") as file:
        file.truncate(8 + MOST)
        with mmap.mmap(file.fileno(), 0) as shared:
            number = 0

            def note(data: bytes) -> None:
                nonlocal number
                number += 1
                shared[0:8] = number.to_bytes(4, "little") + len(data).to_bytes(4, "little")
                shared[8 : 8 + len(data)] = data

            limit_address_space()
            summary = fuzz(name, count, seed, keep, note)
    print(json.dumps(summary))
