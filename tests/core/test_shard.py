"""Rendezvous hashing: stable, even, and moving as little as possible."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmm.core.shard import phase, selected, shard_of

IDS = [f"srv-{number:05d}" for number in range(10_000)]


def test_known_places_do_not_move_between_releases() -> None:
    # A release that changes the hash would relocate every stored state: these are promises, not results.
    assert [shard_of(name, 8) for name in ("srv-1", "srv-2", "dc01", "büro-pc", "x")] == [2, 3, 1, 6, 1]


@pytest.mark.parametrize("count", [2, 3, 8, 40, 64])
def test_even(count: int) -> None:
    sizes = Counter(shard_of(name, count) for name in IDS)
    expected = len(IDS) / count
    assert set(sizes) == set(range(count))
    assert max(sizes.values()) < expected * 1.25 + 20
    assert min(sizes.values()) > expected * 0.75 - 20


@pytest.mark.parametrize("count", [1, 4, 16])
def test_one_more_shard_moves_only_into_the_new_one(count: int) -> None:
    moved = [(shard_of(name, count), shard_of(name, count + 1)) for name in IDS]
    changed = [(old, new) for old, new in moved if old != new]
    assert all(new == count for _, new in changed)
    assert len(changed) == pytest.approx(len(IDS) / (count + 1), rel=0.2)


@given(st.text(), st.integers(1, 100))
def test_any_text_has_a_place(name: str, count: int) -> None:
    assert 0 <= shard_of(name, count) < count
    assert shard_of(name, count) == shard_of(name, count)


def test_no_shards_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        shard_of("a", 0)


@given(st.integers(1, 20), st.integers(0, 500))
def test_parts_cover_every_shard_once(parts: int, shard: int) -> None:
    assert sum(selected(shard, (part, parts)) for part in range(1, parts + 1)) == 1
    assert selected(shard, None)


def test_phases_spread() -> None:
    offsets = [phase(name, 3600.0) for name in IDS]
    buckets = Counter(int(offset // 360) for offset in offsets)
    assert set(buckets) == set(range(10))
    assert all(0 <= offset < 3600 for offset in offsets)
    assert max(buckets.values()) < 1200
