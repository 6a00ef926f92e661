"""Values that are stored when they change: what one reading holds of them, how two differ, and their stored form."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from rmm.model.observation import Row
from rmm.tiers.cold_sqlite.series import MOST_SERIES, CollectorFields, row_key

Values = dict[str, dict[str, Any]]  # row key -> field -> value: all that is known of one collector at one time
Delta = dict[str, dict[str, Any] | None]  # the same for what differs; None for a row that is gone

DELTAS = 32  # at most so many in a row; then a whole one, so that reading on never has to go far back
COMPRESS_FROM = 512  # bytes; below it zlib costs more than it saves

CHECKED = b"\x01"  # the first byte of a stored form with a CRC; others begin with { or as zlib does

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, dict[str, Any] | None]).decode


class DamagedChange(ValueError):
    """A stored change cannot be read."""


def values_of(rows: Iterable[Row], fields: CollectorFields) -> Values:
    """The changing values of one reading; of rows with one key the last, and a bounded number of rows."""
    found: Values = {}
    for row in rows:
        found[row_key(row, fields.key)] = {field: row.get(field) for field in fields.changes}
        if len(found) >= MOST_SERIES:
            break
    return found


def difference(before: Values, after: Values) -> Delta:
    """What turns `before` into `after`."""
    delta: Delta = {key: None for key in before if key not in after}
    for key, values in after.items():
        known = before.get(key)
        if known is None:
            delta[key] = values
        elif known != values:
            new = {field: value for field, value in values.items() if field not in known or known[field] != value}
            if new:
                delta[key] = new
    return delta


def apply(before: Values, delta: Delta, *, whole: bool) -> Values:
    """`before` after `delta`; a whole one replaces all of it."""
    after: Values = {} if whole else dict(before)
    for key, values in delta.items():
        if values is None:
            after.pop(key, None)
        else:
            after[key] = {**after.get(key, {}), **values}
    return after


def pack(delta: Delta | Values) -> bytes:
    """The stored form: JSON with a CRC-32 before it, or compressed, which has a checksum of its own."""
    data = _encode(delta)
    if len(data) >= COMPRESS_FROM:
        return zlib.compress(data, 1)
    return CHECKED + zlib.crc32(data).to_bytes(4, "little") + data


def unpack(data: bytes) -> Delta:
    """The inverse of `pack`. Raises DamagedChange."""
    try:
        if data[:1] == CHECKED:
            if zlib.crc32(memoryview(data)[5:]) != int.from_bytes(data[1:5], "little"):
                raise DamagedChange("its checksum is another one")
            return _decode(memoryview(data)[5:])
        return _decode(data if data[:1] == b"{" else zlib.decompress(data))  # { : of versions before the checksum
    except (zlib.error, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DamagedChange(str(error)) from error


def folded(rows: Iterable[Any]) -> tuple[Values, bool]:
    """The values after rows of (at, whole, stored form), and whether they are known.

    What follows a row that cannot be read is not known until the next whole one.
    """
    values: Values = {}
    known = True
    for _, whole, data in rows:
        try:
            if known or whole:
                values, known = apply(values, unpack(data), whole=bool(whole)), True
        except DamagedChange:
            known = False
    return values, known


def told(before: Values, after: Values) -> Iterator[tuple[str, str, Any, Any]]:
    """(row key, field, old value, value) of everything that differs.

    The field '' tells that a row came (None, True) or went (True, None).
    """
    for key, values in sorted(difference(before, after).items()):
        if values is None:
            yield key, "", True, None
            continue
        known = before.get(key, {})
        if key and key not in before:
            yield key, "", None, True
        for field, value in sorted(values.items()):
            yield key, field, known.get(field), value
