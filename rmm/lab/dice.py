"""Reproducible chance: numbers that depend on nothing but the words they are asked with, on every platform."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import TypeVar

T = TypeVar("T")
_TOP = float(1 << 32)


class Dice:
    """A stream of numbers that is a function of `words` alone (Python's own generator may change between versions)."""

    __slots__ = ("_block", "_digest", "_position", "_words")

    def __init__(self, *words: object) -> None:
        self._words = "\x1f".join(map(str, words)).encode()
        self._block = 0
        self._digest = b""
        self._position = 0

    def bits(self) -> int:
        """The next 32 bits."""
        if self._position >= len(self._digest):
            self._digest = blake2b(self._words + b"#%d" % self._block, digest_size=64).digest()
            self._block += 1
            self._position = 0
        self._position += 4
        return int.from_bytes(self._digest[self._position - 4 : self._position], "big")

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        """At least `low`, less than `high`."""
        return low + (high - low) * (self.bits() / _TOP)

    def chance(self, probability: float) -> bool:
        return self.uniform() < probability

    def between(self, low: int, high: int) -> int:
        """A whole number from `low` to `high`, both included."""
        return low + self.bits() * (high - low + 1) // (1 << 32)

    def pick(self, items: Sequence[T]) -> T:
        return items[self.bits() * len(items) // (1 << 32)]

    def hexadecimal(self, digits: int) -> str:
        """Upper-case hexadecimal digits."""
        text = ""
        while len(text) < digits:
            text += f"{self.bits():08X}"
        return text[:digits]
