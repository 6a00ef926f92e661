"""The hot tier: the last state of each endpoint of a shard in one JSON file, replaced atomically."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from rmm.durable import disk_code, fsync_folder, replace_file, tidy
from rmm.errors import TierError
from rmm.model.state import EndpointState, ShardFile
from rmm.tiers.migrations import set_aside

log = logging.getLogger(__name__)

SCHEMA = 1

# A file begins with a CRC-32 of all that follows it, so that a bit which turned over on the disk does not pass for a
# value. It is JSON all the same; files of earlier versions have none.
_HEAD = b'{"crc":"%08x",'
_HEAD_BYTES = len(_HEAD % 0)

_decoder = msgspec.json.Decoder(ShardFile)
_encoder = msgspec.json.Encoder()


def path_of(data: Path, site: str, shard: int) -> Path:
    """`data/hot/<site>/<shard>.json`."""
    return data / "hot" / site / f"{shard}.json"


def load(data: Path, site: str, shard: int, *, owner: bool = True) -> dict[str, EndpointState]:
    """The states of one shard; empty where there is no file yet. Readings stay encoded.

    A file that does not decode counts as empty, with a warning: polling fills it again, and the cold tier has the
    history. The `owner` of the shard's lease also moves it aside, to `<shard>.damaged-<n>`.

    Raises TierError when it cannot be read at all, or was written by a newer rmm.
    """
    content: ShardFile | None = read_file(path_of(data, site, shard), _decoder, owner=owner)
    return content.endpoints if content is not None else {}


def read_file(path: Path, decoder: msgspec.json.Decoder[Any], *, owner: bool = False) -> Any:
    """A shard's file as another decoder sees it, with the rules of `load`; None for an empty one."""
    try:
        content = _decode(path.read_bytes(), decoder)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise TierError(f"{path}: {error.strerror or error}", code=disk_code(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        kept = f"; kept as {set_aside(path).name}, starting without it" if owner else ""
        log.warning("%s is damaged (%s)%s", path, error, kept)
        return None
    if content.schema > SCHEMA:
        raise TierError(
            f"{path} has schema {content.schema}, this rmm knows {SCHEMA}",
            code="tier.newer",
            hint="It was written by a newer rmm: install that version.",
        )
    return content


def load_with_days(data: Path, site: str, shard: int) -> tuple[dict[str, EndpointState], tuple[int, ...]]:
    """`load`, for the owner, and the days on which the file was written."""
    content: ShardFile | None = read_file(path_of(data, site, shard), _decoder, owner=True)
    return (content.endpoints, content.days) if content is not None else ({}, ())


def write(
    data: Path,
    site: str,
    shard: int,
    endpoints: Mapping[str, EndpointState],
    now: datetime,
    days: tuple[int, ...] = (),
) -> None:
    """Replace the shard's file. Raises TierError, and then the old file is still there."""
    content = ShardFile(schema=SCHEMA, site=site, shard=shard, written_at=now, endpoints=dict(endpoints), days=days)
    replace_file(path_of(data, site, shard), _encode(content))


def _encode(content: ShardFile) -> bytearray:
    """The file; in one buffer, for it may be 25 MB."""
    buffer = bytearray(_HEAD_BYTES - 1)
    _encoder.encode_into(content, buffer, _HEAD_BYTES - 1)  # its brace is where the head's comma belongs
    buffer[:_HEAD_BYTES] = _HEAD % zlib.crc32(memoryview(buffer)[_HEAD_BYTES:])
    return buffer


def _decode(data: bytes, decoder: msgspec.json.Decoder[Any]) -> Any:
    if data.startswith(_HEAD[:8]) and data[:_HEAD_BYTES] != _HEAD % zlib.crc32(memoryview(data)[_HEAD_BYTES:]):
        raise msgspec.DecodeError("its checksum is another one")
    return decoder.decode(data)


def shards_of(data: Path, site: str) -> list[int]:
    """The shards of a site that have a file, ascending."""
    return sorted(int(path.stem) for path in (data / "hot" / site).glob("*.json") if path.stem.isdigit())


def read_endpoint(data: Path, site: str, endpoint: str, *, shard: int | None = None) -> EndpointState | None:
    """The newest state of one endpoint, for commands; in all files of the site where `shard` is not given."""
    places = shards_of(data, site) if shard is None else [shard]
    found = [state for place in places if (state := load(data, site, place, owner=False).get(endpoint)) is not None]
    return max(found, key=lambda state: state.observed_at, default=None)


def shard_count(data: Path, site: str) -> int:
    """The number of shards that the files of a site are laid out for; 0 before there are any, and amid a move."""
    try:
        return msgspec.json.decode(_layout(data, site).read_bytes(), type=_Layout).shards
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise TierError(f"{_layout(data, site)}: {error.strerror or error}", code=disk_code(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError):
        return 0  # laying out anew is always right, and costs little


def relocate(data: Path, site: str, shards: int, shard_of: Callable[[str], int], now: datetime) -> int:
    """Move states to where they belong after the site's number of shards changed; returns how many moved.

    Every state is written to its new file before it leaves its old one, so a crash leaves doubles and loses nothing.
    Two files at a time are in memory. The caller holds the locks of all shards, old and new.
    """
    if shard_count(data, site) == shards:
        return 0
    tidy(_layout(data, site).parent)
    existing = shards_of(data, site)
    wanted = {place: {shard_of(name) for name in load(data, site, place)} for place in existing}
    if existing:  # until all is done no number is right, also not the old one, should somebody set that again
        _say(data, site, 0)
    moved = 0
    for target in range(shards):
        there = load(data, site, target)
        sources = [source for source in existing if source != target and target in wanted[source]]
        arrived = sum(_take(there, load(data, site, source), target, shard_of) for source in sources)
        if arrived:
            write(data, site, target, there, now)
            moved += arrived
    for source in existing:
        if source >= shards:
            _remove(path_of(data, site, source))
        elif wanted[source] - {source}:
            stay = {name: state for name, state in load(data, site, source).items() if shard_of(name) == source}
            write(data, site, source, stay, now)
    if existing:  # the new layout must not be there before the old one's files have gone
        fsync_folder(_layout(data, site).parent)
    _say(data, site, shards)
    return moved


def _say(data: Path, site: str, shards: int) -> None:
    replace_file(_layout(data, site), _encoder.encode(_Layout(SCHEMA, shards)))


def without_digests(state: EndpointState) -> EndpointState:
    """For an endpoint that comes to another cold file: what is stored in the one before does not count there."""
    collectors = {name: msgspec.structs.replace(known, digest="") for name, known in state.collectors.items()}
    return msgspec.structs.replace(state, collectors=collectors)


def has_digests(state: EndpointState) -> bool:
    """Whether it says of any collector what is stored in the cold tier."""
    return any(known.digest for known in state.collectors.values())


def _remove(path: Path) -> None:
    try:
        path.unlink()
    except OSError as error:
        raise TierError(f"{path}: {error.strerror or error}", code=disk_code(error)) from error


def _take(
    there: dict[str, EndpointState], here: dict[str, EndpointState], target: int, shard_of: Callable[[str], int]
) -> int:
    """Copy what belongs to `target`, unless the state there is newer."""
    coming = [
        state
        for name, state in here.items()
        if shard_of(name) == target and (name not in there or there[name].observed_at < state.observed_at)
    ]
    there.update((state.endpoint, without_digests(state)) for state in coming)
    return len(coming)


class _Layout(msgspec.Struct):
    schema: int
    shards: int


def _layout(data: Path, site: str) -> Path:
    return data / "hot" / site / "layout.json"


def damage(data: Path, site: str, shard: int) -> str:
    """Why the shard's file cannot be read; empty when it can. Raises OSError when the disk does not give it."""
    try:
        content: ShardFile = _decode(path_of(data, site, shard).read_bytes(), _decoder)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return str(error)
    return f"schema {content.schema} is not known to this rmm" if content.schema > SCHEMA else ""
