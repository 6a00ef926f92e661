"""The notes of visits that were begun: they outlive the process, and are emptied when nothing is open."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from rmm.poller.journal import LARGE, VisitJournal, installation


def test_what_was_begun_and_not_left_is_unclean_at_the_next_start(tmp_path: Path) -> None:
    path = tmp_path / "locks" / "hq-0.visits"
    one = VisitJournal(path).__enter__()  # and never left: the process is killed
    for name in ("a", "b", "c"):
        one.begun(name)
    one.left("b")
    with VisitJournal(path) as two:
        assert two.unclean == {"a", "c"}
        two.begun("a")
        two.left("a")
        assert two.unclean == {"c"}
    with VisitJournal(path) as three:
        assert three.unclean == {"c"}
        three.left("c")
    assert path.read_bytes() == b""


def test_notes_survive_a_start_that_cannot_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.visits"
    path.write_bytes(b"+a\n+b\n-b\n")

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "no space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", full)
        patched.setattr("os.write", full)
        VisitJournal(path).__enter__()  # and then the process is killed
    with VisitJournal(path) as journal:
        assert journal.unclean == {"a"}


def test_the_notes_are_there_at_every_moment_of_a_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.visits"
    path.write_bytes(b"+a\n")
    seen = []
    for name in ("open", "write", "fsync", "ftruncate", "replace"):
        real = getattr(os, name)

        def watched(*args: Any, real: Any = real) -> Any:
            seen.append(path.read_bytes())
            return real(*args)

        monkeypatch.setattr(os, name, watched)
    VisitJournal(path).__enter__()
    monkeypatch.undo()
    assert set(seen) | {path.read_bytes()} == {b"+a\n"}
    assert len(seen) > 2


def test_a_line_that_was_cut_or_is_not_ours_does_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "x.visits"
    path.write_bytes(b"+a\n-a\n+b\n\xff\xfe?\n-b\n+c\n-")
    with VisitJournal(path) as journal:
        assert journal.unclean == {"c"}


def test_it_does_not_grow_for_ever(tmp_path: Path) -> None:
    path = tmp_path / "x.visits"
    with VisitJournal(path) as journal:
        for number in range(LARGE // 4):
            journal.begun(f"endpoint-{number}")
            journal.left(f"endpoint-{number}")
        assert path.stat().st_size < LARGE + 100


def test_an_unwritable_folder_is_no_error_of_the_journal(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with VisitJournal(tmp_path / "file" / "x.visits") as journal:
        journal.begun("a")
        journal.left("a")


def test_an_installation_has_one_name(tmp_path: Path) -> None:
    name = installation(tmp_path)
    assert len(name) == 16
    assert installation(tmp_path) == name
    (tmp_path / "installation").write_text("something else\n")
    assert installation(tmp_path) != "something else"
