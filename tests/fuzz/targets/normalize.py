"""A hostile document through the real manifests: rows, counters, rules, the encoding of observations.

A part in JSON, as in `part`; its collector says which manifest. `wql` as host gives a document of texts, as
WS-Enumeration has them.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from typing import Any

import msgspec
from hypothesis import strategies as st

from rmm.catalog.load import load_catalog
from rmm.core.normalize import Normalizer
from rmm.core.parts import read_part
from rmm.model.observation import OK, Observation, decode_observation, encode_observation
from rmm.resources import shipped
from tests.fuzz.targets import part

CLEAN = True
NOW = datetime(2026, 11, 25, tzinfo=UTC)


@cache
def _normalizers() -> dict[str, Normalizer]:
    return {name: Normalizer(one.manifest) for name, one in load_catalog([shipped("collectors")]).items()}


@cache
def _counters() -> dict[str, list[dict[str, Any]]]:
    """What earlier polls left behind, right ones."""
    found: dict[str, list[dict[str, Any]]] = {}
    for data in part.parts():
        one = msgspec.json.decode(data)
        result = _normalizers()[one["collector"]].read(one["document"], counters=None, observed_at=NOW)
        found.setdefault(one["collector"], []).append(result.counters)
    return found


def seeds() -> Iterator[bytes]:
    for data in part.parts():
        yield data
        yield data.replace(b'"SRV01"', b'"wql"', 1)


def inputs() -> st.SearchStrategy[bytes]:
    """Right documents with some values, rows and sources of another kind: what a flipped bit seldom makes."""
    return st.builds(_wilder, st.sampled_from(list(part.parts())), st.integers(0, 2**32 - 1), st.sampled_from(SHARES))


SHARES = (0.02, 0.1, 0.5, 1.0)
WILD: tuple[Any, ...] = (
    None, "", "x", -1, 0, 1, 2**31, 2**63 - 1, 2**63, 2**64 - 1, -(2**63), 1e308, -1e308, 5e-324, -0.0, 1.5, True, [],
    ["a", 1], [None], "\u0000\u202e", "9" * 30, "1e999", "0", "TRUE", "19700101000000.000000+000", "x" * 9000, "\u0663",
    "20261125120000.123456-999", "99991231235959.999999+000", "00010101", "2026-11-25T00:00:00+23:59",
)  # fmt: skip


def _wilder(data: bytes, seed: int, share: float) -> bytes:
    rng = random.Random(seed)
    one = msgspec.json.decode(data)
    one["host"] = rng.choice(("SRV01", "wql"))
    for source, rows in one["document"].items():
        for row in rows:
            row.update({key: rng.choice(WILD) for key in row if rng.random() < share})
        if rng.random() < share / 2:
            one["document"][source] = rng.choice(([], rows * 50, rows[:1], rows[::-1], [{}]))
    if rng.random() < 0.5:
        names = [*one["document"], "x"]
        words: tuple[Any, ...] = ("unsupported", "access_denied", "unknown", "\u202e", 5, [], None)
        one["document"]["notes"] = [
            {"Source": rng.choice([*names, 5, []]), "Reason": rng.choice(words)} for _ in range(rng.randrange(100))
        ]
    return msgspec.json.encode(one)


def _texts(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value if isinstance(value, list) or value is None else str(value) for key, value in row.items()}


def run(data: bytes) -> Any:
    one = read_part(part.text_of(data))
    name = one.collector if one.collector in _normalizers() else "cpu"
    document: Any = one.document
    if one.host == "wql":
        document = {source: [_texts(row) for row in rows] for source, rows in document.items()}
    before = _counters()[name]
    counters = before[zlib.crc32(data) % len(before)] if before else None
    result = _normalizers()[name].read(document, counters=counters, observed_at=NOW)
    observation = Observation(
        endpoint="e", name="E", site="s", shard=0, observed_at=NOW, duration_s=1.0, status=OK, fault=None,
        collectors={name: result}, epoch="0" * 16, seq=1,
    )  # fmt: skip
    again = decode_observation(encode_observation(observation))
    for row in again.collectors[name].readings:
        for value in row.values():
            if isinstance(value, int) and not -(2**63) <= value < 2**64:
                raise AssertionError("an integer over 64 bits")
    return [again.collectors[name].readings, again.collectors[name].notes]
