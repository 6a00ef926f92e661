"""Putting a backup into a data folder. What was there is kept in it, aside."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable
from itertools import count
from pathlib import Path

from rmm.durable import disk_code, fsync_folder, replace_file
from rmm.errors import ConfigError, TierError
from rmm.tiers.store import places
from rmm.tiers.store.backup import CONFIG, DATA, Manifest, Told, checked_path, checksum, read_manifest, verify
from rmm.tiers.store.places import ARCHIVE, BEFORE, RESTORING, SQLITE
from rmm.tiers.store.sqlite import newest_schema

INSTALLATION = "installation"
STORE = ("spool", "hot", "cold", "archive", "fleet.sqlite", "fleet.sqlite-wal", "fleet.sqlite-shm", INSTALLATION)
INCOMING = ".restore.part"


def check_restored(data: Path) -> None:
    """Raises TierError while a restore that was broken off has left the folder half and half."""
    if (data / RESTORING).exists():
        raise TierError(
            f"{data}: a restore into this folder did not end", code="restore.open",
            hint="Run the same `rmm store restore ... --force` again.",
        )  # fmt: skip


def restore(
    folder: Path, data: Path, shards: Iterable[tuple[str, int]], *, force: bool = False, told: Told = lambda _: None
) -> tuple[Manifest, Path | None]:
    """Put a backup into the data folder; returns its manifest, and where what was there is now.

    An archive that the backup does not have stays where it is.

    `shards` are those of the configuration: their leases, and those of all shards on disk, are held meanwhile.
    Raises TierError when the backup is not whole or of a newer rmm, ConfigError when there is a store already without
    `force`, LeaseLost when a poll is at work. Nothing was changed then.
    """
    manifest = read_manifest(folder)
    _check_schemas(manifest)
    verify(folder, manifest)
    with contextlib.ExitStack() as locks:
        for site, shard in sorted({*shards, *places.shards_of(data)}):
            locks.enter_context(places.lease(data, site, shard))
        locks.enter_context(places.fleet_lease(data))
        archived = any(one.kind == ARCHIVE for one in manifest.files)
        names = [name for name in STORE if name != ARCHIVE or archived]
        there = [data / name for name in names if (data / name).exists()]
        if not force and any(path.name != INSTALLATION for path in there):
            raise ConfigError(
                f"{data}: holds a store already ({', '.join(path.name for path in there)})",
                hint="With --force it is kept aside in that folder, and the backup takes its place.",
            )  # fmt: skip
        try:
            return manifest, _exchange(folder, data, manifest, there, told)
        except OSError as error:
            raise TierError(f"{error.filename or data}: {error.strerror or error}", code=disk_code(error)) from error


def _check_schemas(manifest: Manifest) -> None:
    for one in manifest.files:
        if one.kind in SQLITE and one.schema > newest_schema(one.kind):
            raise TierError(
                f"{one.path}: has schema {one.schema}, this rmm knows {newest_schema(one.kind)}", code="tier.newer",
                hint=f"The backup was made by rmm {manifest.rmm}: install that version or a newer one.",
            )  # fmt: skip


def _exchange(folder: Path, data: Path, manifest: Manifest, there: list[Path], told: Told) -> Path | None:
    """Copy first; then, with a mark that polls heed until it is done, old files go aside and new ones come."""
    incoming = data / INCOMING
    shutil.rmtree(incoming, ignore_errors=True)
    _copy(folder, incoming, manifest, told)
    replace_file(data / RESTORING, b"A restore is at work, or did not end; see `rmm store restore`.\n")
    aside = next(path for number in count(1) if not (path := data / f"{BEFORE}{number}").exists())
    if there:
        aside.mkdir()
        for path in there:
            path.replace(aside / path.name)
        fsync_folder(aside)
    for path in sorted((incoming / DATA).iterdir()):
        path.replace(data / path.name)
    fsync_folder(data)
    (data / RESTORING).unlink()
    fsync_folder(data)
    shutil.rmtree(incoming, ignore_errors=True)
    return aside if there else None


def _copy(folder: Path, incoming: Path, manifest: Manifest, told: Told) -> None:
    (incoming / DATA).mkdir(parents=True)
    for one in manifest.files:
        path = checked_path(one.path)
        if path.parts[0] == CONFIG:
            continue
        told(one.path)
        target = incoming / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / path, target)
        with target.open("rb+") as file:
            os.fsync(file.fileno())
        if checksum(target) != one.blake2b:
            raise TierError(f"{target}: was not written as it was read", code="disk.io", hint="Check the disk.")
    for name, _, _ in os.walk(incoming, topdown=False):
        fsync_folder(Path(name))
