"""Linux scripts run here: in one of several shells, with stand-in programs on PATH and a tree in place of /etc."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from rmm.catalog.bundle import shell_bundle
from rmm.core.normalize import Normalizer
from rmm.core.parts import read_part
from rmm.model.collector import Collector
from rmm.model.observation import CollectorResult

# A word behind the name says which awk the shell finds.
SHELLS = {
    "sh": ["sh"], "dash": ["dash"], "bash": ["bash", "--posix"], "busybox": ["busybox", "sh"],
    "dash mawk": ["dash"], "dash gawk": ["dash"], "dash busybox": ["dash"],
}  # fmt: skip
HERE = [name for name in SHELLS if all(map(shutil.which, name.split()))]
_PLACE = re.compile(r"(?<![\w/}.*])/(etc|run|var|sys|lib/modules)(?=[/ ])")


def moved(one: Collector, root: Path) -> Collector:
    """The collector, with `root` in place of / for what it reads below /etc, /run, /var and /sys."""
    return Collector(manifest=one.manifest, folder="", linux=_PLACE.sub(lambda m: f"{root}/{m[1]}", one.linux))


def without(one: Collector, *programs: str) -> Collector:
    """The collector on a machine that lacks these programs."""
    text = one.linux
    for program in programs:
        text = text.replace(f"command -v {program}", f"command -v no-such-{program}")
    return Collector(manifest=one.manifest, folder="", linux=text)


def read(
    one: Collector,
    *,
    path: Sequence[Path] = (),
    before: CollectorResult | None = None,
    shell: str = "sh",
    user: int | None = None,
) -> CollectorResult:
    """What the collector reads here; `path` comes before PATH; `user`: as this user id."""
    environment = {**os.environ, "PATH": ":".join([*map(str, path), os.environ["PATH"]])}
    done = subprocess.run(
        SHELLS[shell], input=shell_bundle([one]).text, capture_output=True, text=True, timeout=60, check=True,
        env=environment, user=user, group=user, extra_groups=None if user is None else [], cwd="/",
    )  # fmt: skip
    assert done.stderr == ""
    part = read_part(done.stdout.splitlines()[0])
    assert part.error is None, part.error
    counters = before.counters if before else None
    return Normalizer(one.manifest).read(part.document, counters=counters, observed_at=datetime.now(UTC))


def program(folder: Path, name: str, text: str) -> Path:
    """A stand-in for a program of another machine; returns the folder."""
    folder.mkdir(exist_ok=True)
    file = folder / name
    file.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    file.chmod(0o755)
    return folder


def awk_of(shell: str, folder: Path) -> list[Path]:
    """The folder with the awk that a shell of `SHELLS` shall find, for PATH; none where it is the usual one."""
    wanted = shell.partition(" ")[2] or ("busybox" if shell == "busybox" else "")
    if not wanted:
        return []
    file = shutil.which(wanted)
    assert file is not None
    place = folder / f"awk-{wanted}"
    place.mkdir(exist_ok=True)
    if not (place / "awk").exists():
        (place / "awk").symlink_to(file)
    return [place]


def tree(root: Path, files: dict[str, str]) -> Path:
    """These files below `root`; returns `root`."""
    for name, text in files.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return root
