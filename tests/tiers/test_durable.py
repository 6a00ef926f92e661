"""Folders and files that outlive crashes. What a loss of power takes is tests/crash's business."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from observations import FIELDS, START, observe

from rmm import durable
from rmm.tiers.shard_store import open_shard

posix = pytest.mark.skipif(sys.platform == "win32", reason="NTFS journals names, folders are not synced there")


@posix
def test_a_new_folder_is_durable_before_anything_is_below_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[tuple[Path, list[str]]] = []
    sync = durable.fsync_folder

    def noting(folder: Path) -> None:
        synced.append((folder, sorted(path.name for path in folder.iterdir())))
        sync(folder)

    monkeypatch.setattr(durable, "fsync_folder", noting)
    (tmp_path / "a").mkdir()  # by somebody who was killed before he could sync it
    for _ in range(2):
        durable.make_folder(tmp_path / "a" / "b" / "c")
    assert synced == [(tmp_path, ["a"]), (tmp_path / "a", ["b"]), (tmp_path / "a" / "b", ["c"])]
    (tmp_path / "a" / "b" / "c").rmdir()
    durable.make_folder(tmp_path / "a" / "b" / "c")
    assert (tmp_path / "a" / "b" / "c").is_dir()


def test_a_folder_where_a_file_is_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    with pytest.raises(OSError, match="a"):
        durable.make_folder(tmp_path / "a" / "b")


async def test_what_a_kill_leaves_beside_a_hot_file_goes_at_the_next_start(tmp_path: Path) -> None:
    folder = tmp_path / "hot" / "hq"
    folder.mkdir(parents=True)
    for name in (".0.json.123.tmp", ".1.json.123.tmp"):
        (folder / name).write_bytes(b"{")
    async with open_shard(tmp_path, "hq", 0, fields=FIELDS, now=lambda: START) as store:
        await store.acknowledge(observe(), None)
        await store.flush()
    # Another shard's writer may be at work.
    assert sorted(path.name for path in folder.iterdir()) == [".1.json.123.tmp", "0.json"]
