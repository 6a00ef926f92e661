"""The hot tier: the last state of each endpoint of a shard in one JSON file, replaced atomically."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path

import msgspec

from rmm.durable import disk_code, replace_file
from rmm.errors import TierError
from rmm.model.state import EndpointState, ShardFile

log = logging.getLogger(__name__)

SCHEMA = 1

_decoder = msgspec.json.Decoder(ShardFile)
_encoder = msgspec.json.Encoder()


def path_of(data: Path, site: str, shard: int) -> Path:
    """`data/hot/<site>/<shard>.json`."""
    return data / "hot" / site / f"{shard}.json"


def load(data: Path, site: str, shard: int) -> dict[str, EndpointState]:
    """The states of one shard; empty where there is no file yet.

    A file that does not decode is moved aside (`.damaged-<n>`) with a warning: polling fills it again, and the cold
    tier has the history. Raises TierError when it cannot be read at all.
    """
    path = path_of(data, site, shard)
    try:
        return _decoder.decode(path.read_bytes()).endpoints
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise TierError(f"{path}: {error.strerror or error}", code=disk_code(error)) from error
    except msgspec.DecodeError as error:
        aside = _aside(path)
        path.replace(aside)
        log.warning("%s is damaged (%s); kept as %s, starting without it", path, error, aside.name)
        return {}


def _aside(path: Path) -> Path:
    number = 1
    while (candidate := path.with_name(f"{path.stem}.damaged-{number}")).exists():
        number += 1
    return candidate


def write(data: Path, site: str, shard: int, endpoints: dict[str, EndpointState], now: datetime) -> None:
    """Replace the shard's file. Raises TierError, and then the old file is still there."""
    content = ShardFile(schema=SCHEMA, site=site, shard=shard, written_at=now, endpoints=endpoints)
    replace_file(path_of(data, site, shard), _encoder.encode(content))


def relocate(data: Path, site: str, shards: int, shard_of: Callable[[str], int], now: datetime) -> int:
    """Move states to where they belong after the site's number of shards changed; returns how many moved.

    Every state is written to its new file before it leaves its old one, so a crash leaves doubles and loses nothing.
    The caller holds the locks of all shards, old and new.
    """
    note = data / "hot" / site / "layout"
    try:
        before = int(note.read_text(encoding="ascii"))
    except (OSError, ValueError):
        before = 0
    if before == shards:
        return 0
    numbers = sorted({*_existing(data, site), *range(shards)})
    states = {number: load(data, site, number) for number in numbers}
    moves = [(number, name) for number, found in states.items() for name in found if shard_of(name) != number]
    for number, name in moves:
        state, there = states[number][name], states[shard_of(name)]
        if name not in there or there[name].observed_at < state.observed_at:
            there[name] = state
    for target in sorted({shard_of(name) for _, name in moves}):
        write(data, site, target, states[target], now)
    for number, name in moves:
        del states[number][name]
    for number in sorted({number for number, _ in moves}):
        write(data, site, number, states[number], now)
    replace_file(note, str(shards).encode())
    return len(moves)


def _existing(data: Path, site: str) -> Iterable[int]:
    return (int(path.stem) for path in (data / "hot" / site).glob("*.json") if path.stem.isdigit())
