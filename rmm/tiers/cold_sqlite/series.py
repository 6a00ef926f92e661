"""Which fields of a reading are samples and which are stored when they change; and how both are taken out of rows."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from hashlib import blake2b
from operator import itemgetter
from typing import Annotated, Any

import msgspec

from rmm.model.collector import Manifest
from rmm.model.observation import Observation, Row
from rmm.tiers.cold_sqlite.planes import DamagedSegment

MOST_SERIES = 4096  # per observation; a hostile endpoint may invent rows, it may not fill the disk with series
NAN = float("nan")
SAMPLE_KINDS = frozenset({"gauge", "counter"})
NOW = "now"  # kept by the hot tier alone

# (((collector, row keys), ...), (collector, ...)): names all series of an observation, and the collectors of which it
# has a reading whose values are stored when they change.
Shape = tuple[tuple[tuple[str, tuple[str, ...]], ...], tuple[str, ...]]

_encode = msgspec.json.Encoder().encode
_names = msgspec.json.Decoder(list[Annotated[list[str], msgspec.Meta(min_length=3, max_length=3)]]).decode
_exact = msgspec.msgpack.Encoder().encode
_exact_values = msgspec.msgpack.Decoder(dict[int, int]).decode


class CollectorFields(msgspec.Struct, frozen=True):
    """One collector's fields by how the cold tier keeps them; from its manifest's kinds."""

    key: tuple[str, ...]
    samples: tuple[str, ...]  # numbers: every value
    changes: tuple[str, ...]  # text, state, bool, time: when it differs from the one before


def fields_of(manifest: Manifest) -> CollectorFields:
    """What a manifest declares, as the cold tier needs it."""
    kept = {name: field for name, field in manifest.fields.items() if field.kind != NOW}
    others = {name: field for name, field in kept.items() if name not in manifest.key}
    samples = tuple(name for name, field in others.items() if field.kind in SAMPLE_KINDS)
    return CollectorFields(manifest.key, samples, tuple(name for name in others if name not in samples))


def row_key(row: Row, key: tuple[str, ...]) -> str:
    """The name of a row within its reading: its key columns, joined; empty for one-row readings."""
    if len(key) == 1:
        return str(row.get(key[0], ""))
    return "|".join([str(row.get(name, "")) for name in key])


def samples_of(observation: Observation, fields: Mapping[str, CollectorFields]) -> tuple[Shape, bytes, bytes | None]:
    """The observation's samples as packed float64, the shape that names them, and what float64 does not hold.

    The last is MessagePack {place: integer}, or None where there is none.
    """
    shape: list[tuple[str, tuple[str, ...]]] = []
    read: list[str] = []
    values: list[Any] = []
    for name, result in observation.collectors.items():
        known = fields.get(name)
        if known is None:
            continue
        if known.changes and result.outcome in ("ok", "partial"):
            read.append(name)
        if not known.samples or not result.readings:
            continue
        rows = result.readings[: max(0, (MOST_SERIES - len(values)) // len(known.samples))]
        shape.append((name, tuple([row_key(row, known.key) for row in rows])))
        values += [row.get(field) for row in rows for field in known.samples]
    numbers = [value if value.__class__ is float or value.__class__ is int else NAN for value in values]
    form = f"<{len(numbers)}d"
    packed = struct.pack(form, *numbers)
    exact = struct.unpack(form, packed) == tuple(numbers)
    return (tuple(shape), tuple(read)), packed, None if exact else _large(numbers)


def _large(numbers: list[Any]) -> bytes | None:
    """Of numbers that are not all what they are as float64, perhaps for a NaN alone, those that are not."""
    large = {place: value for place, value in enumerate(numbers) if value.__class__ is int and float(value) != value}
    return _exact(large) if large else None


def exact_values(stored: bytes) -> dict[int, int]:
    """The last of `samples_of`, read again."""
    return _exact_values(stored)


def series_of(shape: Shape, fields: Mapping[str, CollectorFields]) -> bytes:
    """The stored form of a shape: JSON [[collector, row key, field], ...], in the order of the packed samples.

    Behind them [collector, "", ""] for each reading whose values are stored when they change.
    """
    names = [(name, key, field) for name, keys in shape[0] for key in keys for field in fields[name].samples]
    return _encode(names + [(name, "", "") for name in shape[1]])


def digest(data: bytes) -> bytes:
    """A short name for content."""
    return blake2b(data, digest_size=12).digest()


def change_digest(rows: Iterable[Row], fields: CollectorFields) -> str:
    """Equal for two readings exactly when nothing has to be stored for the second.

    Rows are taken in the order of their first key column; where that does not decide, another order of equal rows may
    give another digest, which costs a comparison and stores nothing.
    """
    take = _taker((*fields.key, *fields.changes))
    try:
        lines = [take(row) for row in rows]
    except KeyError:  # not as its manifest declares; the digest must differ from one with null there, no more
        lines = [tuple(row.items()) for row in rows]
    with contextlib.suppress(TypeError):  # a key column that is null in some rows
        lines.sort(key=_first)
    return blake2b(_encode(lines), digest_size=12).hexdigest()


_first = itemgetter(0)


@lru_cache(maxsize=256)
def _taker(names: tuple[str, ...]) -> Callable[[Row], tuple[Any, ...]]:
    """Takes the named fields out of a row, in C."""
    return itemgetter(*names, names[0])  # one more, so that it is a tuple for a single name too


def stored_names(series: bytes | None) -> list[list[str]]:
    """[collector, row key, field] of the stored form of a shape; None where it is gone.

    Raises DamagedSegment: what it names cannot be read without it.
    """
    try:
        return _names(series or b"")
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DamagedSegment(f"the names of its series are damaged: {error}") from error


def metric_parts(metric: str) -> tuple[str, str, str]:
    """(collector, field, row key) of `collector.field` or `collector.field[key]`; the key is empty where absent.

    Raises:
        ValueError: when the text has no such form.
    """
    head, bracket, tail = metric.partition("[")
    collector, dot, field = head.partition(".")
    if not dot or not collector or not field or (bracket and not tail.endswith("]")):
        raise ValueError(f"{metric!r} is not a metric: write collector.field or collector.field[row]")
    return collector, field, tail[:-1] if bracket else ""
