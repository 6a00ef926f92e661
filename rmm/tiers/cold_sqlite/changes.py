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

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, dict[str, Any] | None]).decode


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
    """The stored form."""
    data = _encode(delta)
    return zlib.compress(data, 1) if len(data) >= COMPRESS_FROM else data


def unpack(data: bytes) -> Delta:
    """The inverse of `pack`. Raises ValueError (or zlib.error) for damaged data."""
    return _decode(data if data[:1] == b"{" else zlib.decompress(data))


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
