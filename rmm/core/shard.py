"""Which shard an endpoint belongs to: rendezvous hashing, so that a change of the count moves as few as possible."""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b

_MASK = (1 << 64) - 1
_ODD = 0x9E3779B97F4A7C15  # 2^64 / golden ratio, odd: the multiplier of Fibonacci hashing
_MIX = 0xBF58476D1CE4E5B9  # first multiplier of splitmix64's finalizer


@lru_cache(maxsize=8)
def _seeds(count: int) -> tuple[int, ...]:
    return tuple((shard + 1) * _ODD & _MASK for shard in range(count))


def shard_of(endpoint: str, count: int) -> int:
    """The shard (0..count-1) of an endpoint id: the one whose mixed hash with the id is highest.

    Going from n to n+1 shards moves about 1/(n+1) of the endpoints, all of them to the new shard.

    Raises:
        ValueError: for a count below 1.
    """
    if count < 1:
        raise ValueError(f"a site has at least one shard, not {count}")
    if count == 1:
        return 0
    key = int.from_bytes(blake2b(endpoint.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")
    best, best_score = 0, -1
    for shard, seed in enumerate(_seeds(count)):
        score = (key ^ seed) * _MIX & _MASK
        score = (score ^ (score >> 31)) * _ODD & _MASK
        if score > best_score:
            best, best_score = shard, score
    return best


def selected(shard: int, part: tuple[int, int] | None) -> bool:
    """Whether `--shard I/N` (1-based I) covers this shard. None covers all."""
    return part is None or shard % part[1] == part[0] - 1


def phase(endpoint: str, spread: float) -> float:
    """A stable offset in [0, spread) seconds for this endpoint, so that equal intervals do not fall together."""
    key = int.from_bytes(
        blake2b(endpoint.encode("utf-8", "surrogatepass"), digest_size=8, person=b"phase").digest(), "big"
    )
    return key / 2**64 * spread
