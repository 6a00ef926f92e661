"""A part of `make crash` that takes seconds; and that the harness sees what it is there to see."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash import sweep, trace
from tests.crash.disk import File, Folder, Killed, Loss, Naming, Some, Write, tree
from tests.crash.trace import Call


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> sweep.Recording:
    if reason := trace.why_not():
        pytest.skip(reason)
    return sweep.record(tmp_path_factory.mktemp("recording"))


def told(verdict: sweep.Verdict) -> str:
    return "\n".join(f"{where}: {wrong}" for where, wrong in verdict.findings[:3])


def test_nothing_is_lost_wherever_a_cycle_ends(recording: sweep.Recording) -> None:
    verdict = sweep.sweep(recording, every=311, seed=1)
    assert verdict.points > 4000
    assert sum(verdict.judged.values()) > 25
    assert len(verdict.judged) == 6
    assert not verdict.findings, told(verdict)


def spool_is_not_synced(call: Call, path: str) -> bool:
    return call.name == "fsync" and path.endswith(".spool")


def cold_is_not_synced(call: Call, path: str) -> bool:
    return call.name == "fdatasync" and "cold/" in path


def hot_is_not_synced(call: Call, path: str) -> bool:
    return call.name == "fsync" and path.endswith(".tmp")


def folders_are_not_synced(call: Call, path: str) -> bool:
    return call.name in ("fsync", "fdatasync") and "." not in Path(path).name


MISTAKES = {
    "spool": (spool_is_not_synced, "nothing more", ("lost minutes", "does not know")),
    "cold": (cold_is_not_synced, "nothing more", ("lost minutes", "hot is ahead", "malformed", "unreadable")),
    "hot": (hot_is_not_synced, "names kept", ("left behind", "does not know")),
    "folders": (folders_are_not_synced, "nothing more", ("lost minutes",)),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_sync_that_is_left_out_is_seen(recording: sweep.Recording, name: str) -> None:
    left_out, variant, signs = MISTAKES[name]
    verdict = sweep.sweep(recording, every=23, variants=f"power: {variant}", most=1, left_out=left_out)
    assert verdict.findings
    assert any(sign in told(verdict) for sign in signs), told(verdict)


def test_an_acknowledgement_that_comes_before_its_sync_is_seen(recording: sweep.Recording) -> None:
    """As if the spool answered before it wrote: kills alone show it."""

    def write_is_lost(call: Call, path: str) -> bool:
        return call.name == "write" and path.endswith(".spool")

    verdict = sweep.sweep(recording, every=11, variants="killed", most=1, left_out=write_is_lost)
    assert "lost minutes" in told(verdict)


def one_file(file: File) -> Folder:
    return Folder({"f": file}, {"f": file})


def test_the_model_loses_what_was_not_synced_and_nothing_else() -> None:
    file = File()
    file.write(Write(0, b"a" * 1000, 0))
    file.sync(1)
    file.write(Write(900, b"b" * 1000, 1))
    file.write(Write(2000, b"c", 2))
    disk = one_file(file)
    assert tree(disk, Killed()) == {"f": b"a" * 900 + b"b" * 1000 + bytes(100) + b"c"}
    assert tree(disk, Loss()) == {"f": b"a" * 1000}
    file.sync(2)  # a sync that began before the last write had ended
    assert tree(disk, Loss()) == {"f": b"a" * 900 + b"b" * 1000}
    file.write(Write(3, None, 3))
    assert tree(disk, Killed()) == {"f": b"aaa"}


def test_the_model_tears_writes_at_sectors() -> None:
    seen: set[bytes] = set()
    for seed in range(300):
        file = File(bytearray(b"-" * 1536), bytearray(b"-" * 1536))
        file.write(Write(256, b"x" * 1024, 0))
        seen.add(bytes(tree(one_file(file), Some(str(seed)))["f"] or b""))
    old, new = b"-" * 1536, b"-" * 256 + b"x" * 1024 + b"-" * 256
    cuts = [(256, 512), (512, 1024), (1024, 1280)]
    wanted = set()
    for kept in range(8):
        content = bytearray(old)
        for bit, (start, end) in enumerate(cuts):
            if kept >> bit & 1:
                content[start:end] = new[start:end]
        wanted.add(bytes(content))
    assert seen == wanted


def test_the_model_knows_a_rename_as_one_thing_and_two_folders_as_two() -> None:
    file, disk, other = File(), Folder(), Folder()
    disk.live = {"a": file, "other": other}
    disk.durable = dict(disk.live)
    disk.name(Naming({"a": None, "b": file}, 0))
    assert set(tree(disk, Loss())) == {"a", "other"}
    assert {frozenset(tree(disk, Some(str(seed)))) for seed in range(50)} == {
        frozenset({"a", "other"}), frozenset({"b", "other"}),
    }  # fmt: skip
    other.name(Naming({"c": file}, 1))
    disk.name(Naming({"b": None}, 2))
    disk.sync(3)  # the folder it came from alone: the file may be gone
    assert tree(disk, Loss()) == {"other": None}
    other.sync(3)
    assert tree(disk, Loss()) == {"other": None, "other/c": b""}
