"""A sweep in pieces: on several processors, and gone on with where it was left."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import msgspec

from tests.crash import cycle, sweep
from tests.crash.sweep import Recording, Verdict

MOMENTS = 50  # in a piece; states that are equal are found within one


class Piece(msgspec.Struct):
    """What came of one piece, as a line of the journal."""

    first: int
    options: tuple[int, int, int]  # seeds, seed, every
    points: int
    states: dict[str, int]
    judged: dict[str, int]
    findings: list[tuple[str, list[str]]]
    seconds: float

    def verdict(self) -> Verdict:
        """The same for adding up."""
        return Verdict(self.points, Counter(self.states), Counter(self.judged), self.findings, self.seconds)


def whole(folder: Path, options: tuple[int, int, int], jobs: int, said: Callable[[str], None]) -> Verdict:
    """Sweep all moments of the recording in `folder`, which is made where there is none.

    Pieces that an earlier run has judged without a finding, with the same options, are not judged again.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "recorded").exists():
        sweep.record(folder)
        (folder / "recorded").touch()
    recording = Recording(folder, cycle.prepared())
    last = sum(1 for _ in recording.replay())
    journal = folder / "judged"
    done = {one.first: one for one in _read(journal) if one.options == options and not one.findings}
    due = [first for first in range(1, last + 1, MOMENTS) if first not in done][::-1]  # the last take longest
    if done:
        said(f"    {len(done)} pieces of {len(done) + len(due)} were judged before")
    with ProcessPoolExecutor(jobs) as pool, journal.open("ab") as lines:
        for task in as_completed([pool.submit(_piece, recording, first, options) for first in due]):
            piece = task.result()
            done[piece.first] = piece
            lines.write(msgspec.json.encode(piece) + b"\n")
            lines.flush()
            said(f"    moments {piece.first} and on: {sum(piece.judged.values())} judged, {piece.seconds:.0f} s")
            for where, wrong in piece.findings:
                said(f"        WRONG {where}: {wrong[:3]}")
    verdict = Verdict()
    for _, piece in sorted(done.items()):
        verdict.add(piece.verdict())
    return verdict


def _piece(recording: Recording, first: int, options: tuple[int, int, int]) -> Piece:
    seeds, seed, every = options
    found = sweep.sweep(recording, seeds=seeds, seed=seed, every=every, moments=range(first, first + MOMENTS))
    return Piece(
        first, options, found.points, dict(found.states), dict(found.judged), found.findings, found.seconds
    )  # fmt: skip


def _read(journal: Path) -> Iterator[Piece]:
    if journal.exists():
        for line in journal.read_bytes().splitlines():
            yield msgspec.json.decode(line, type=Piece)


def processors() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
