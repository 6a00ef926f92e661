"""Columns of numbers packed without loss: what goes in comes out, to the bit.

Numbers that are integers, or decimals of up to six places, become integers. Their common step is taken out; then they,
their differences or the differences of those are kept, whichever are smallest; and what is left is laid out in planes
(all lowest bytes, then all second bytes ...), so that a compressor finds side by side the high bytes, which hardly
differ. What does not fit this is kept as float64 in planes, and what does not fit that either, as it is.

A whole number comes back as int and any other as float: equal to what it was, and above 2**53 exact. Integers are those
of 64 bits, with or without a sign: a reading has no others.
"""

from __future__ import annotations

import math
import sys
from array import array
from collections.abc import Iterable, Sequence
from itertools import accumulate, repeat
from operator import add, mul, sub, truediv
from typing import Any

import msgspec

Number = int | float

SCALES = [10.0**places for places in range(7)]
FLOATS, VERBATIM = -1, -2  # in place of a number of decimals
LARGEST = 1 << 60  # differences of differences, with their sign, still fit 64 bits
MOST = 1 << 20  # numbers of a column

_encode = msgspec.msgpack.Encoder().encode
_numbers = msgspec.msgpack.Decoder(list[int | float]).decode
_CODES = "BBHIIQQQQ", "bbhiiqqqq"  # array types by bytes that are kept, without a sign and with it
_ABOVE = bytes(128) + b"\xff" * 128  # the byte above each, which has its sign


class Column(msgspec.Struct, frozen=True, array_like=True):
    """A packed column; its length is its reader's to know.

    places: decimals of the scaled integers, FLOATS or VERBATIM. order: 0 for what each is above the lowest, 1 for
    differences, 2 for differences of those. start: the lowest; the first; the first and the first difference in steps.
    step: what all else is a multiple of. planes: what is kept, lowest bytes first; empty where all of it is 0.
    """

    places: int
    order: int = 0
    start: tuple[int, ...] = ()
    step: int = 1
    planes: bytes = b""
    width: int = 0  # number of planes


def scaled(values: Sequence[Number]) -> tuple[int, list[int]] | None:
    """(decimals, values times ten to that power) where this is exact for all of them; None where it is not."""
    try:
        for places, scale in enumerate(SCALES):
            whole: list[int] = []
            for value in values:
                number = round(value * scale) if places else int(value)
                if (number / scale if places else number) != value or not -LARGEST < number < LARGEST:
                    break
                whole.append(number)
            else:
                below = 0 in whole and any(value == 0 and math.copysign(1, value) < 0 for value in values)
                return None if below else (places, whole)  # an integer has no -0
    except (OverflowError, ValueError):  # infinite, or not a number
        pass
    return None


def unscaled(places: int, numbers: list[int]) -> list[Number]:
    """The inverse of `scaled`."""
    if places == 0:
        return numbers  # type: ignore[return-value]
    return [*map(truediv, numbers, repeat(SCALES[places]))]


def pack(values: Sequence[Number]) -> Column:
    """The packed form of any numbers."""
    found = scaled(values)
    if found is not None:
        return pack_integers(found[1], places=found[0])
    if any(value.__class__ is int and float(value) != value for value in values):
        return Column(VERBATIM, planes=_encode(list(values)))
    return Column(FLOATS, planes=_planes(array("d", values), 8), width=8)


def pack_integers(numbers: Sequence[int], *, places: int = 0) -> Column:
    """The packed form of integers whose absolute values are below LARGEST."""
    if not numbers:
        return Column(places, start=(0,))
    steps = list(map(sub, numbers[1:], numbers))
    step = math.gcd(*steps) or 1
    if step > 1:
        steps = [number // step for number in steps]
    lowest = min(numbers)
    kept = [(number - lowest) // step for number in numbers]
    turns = list(map(sub, steps[1:], steps))
    # A difference has a sign, which takes one more bit.
    bits = [_bits(kept), _bits(steps) + len(steps), _bits(turns) + len(turns)] if len(numbers) > 2 else [0]
    order = bits.index(min(bits))
    if order:
        kept = (steps, turns)[order - 1]
    start = (numbers[0], steps[0])[:order] if order else (lowest,)
    # Differences in two's complement: of its missing high bytes each has the highest bit of the last one.
    width = _width(kept, signed=order > 0)
    planes = _planes(array(_CODES[order > 0][width], kept), width) if width else b""
    return Column(places, order, start, step, planes, width)


def unpack(column: Column, count: int) -> list[Number]:
    """The numbers of a column of `count`.

    Raises:
        ValueError: when it is no column of so many.
    """
    if column.places == VERBATIM:
        try:
            numbers: list[Number] = [*_numbers(column.planes)]
        except msgspec.DecodeError as error:
            raise ValueError(str(error)) from error
        if len(numbers) != count:
            raise ValueError(f"{len(numbers)} numbers where {count} should be")
        return numbers
    if column.places == FLOATS:
        return [*_spread(column.planes, "d", 8, count)]
    return unscaled(column.places, unpack_integers(column, count))


def unpack_integers(column: Column, count: int) -> list[int]:
    """The scaled integers of a column of `count`. Raises ValueError as `unpack`."""
    order, start, step = column.order, column.start, column.step
    if not 0 <= column.places < len(SCALES) or order not in (0, 1, 2) or len(start) != max(1, order):
        raise ValueError("not a column of integers")
    if count == 0:
        return []
    if count <= order:
        raise ValueError(f"{count} numbers have no differences of order {order}")
    planes = column.planes
    kept: Sequence[int] = [0] * (count - order)
    if planes:
        width = min(len(planes) // (count - order), 8)
        kept = _spread(planes, _CODES[order > 0][width], width, count - order)
    first = start[0]
    if order == 0:
        if not planes:
            return [first] * count
        numbers = kept if step == 1 else map(mul, kept, repeat(step))
        return [*map(add, numbers, repeat(first))]
    steps: Iterable[int] = accumulate(kept, initial=start[1]) if order == 2 else kept
    return [*accumulate(steps if step == 1 else map(mul, steps, repeat(step)), initial=first)]


def _bits(numbers: list[int]) -> int:
    return sum(map(int.bit_length, numbers))


def _width(numbers: list[int], *, signed: bool) -> int:
    """Bytes that the largest takes; 0 where all are 0."""
    ends = max(numbers), min(numbers)
    bits = max(number if number >= 0 else ~number for number in ends).bit_length()
    return (bits + signed + 7) // 8 if any(ends) else 0


def _planes(numbers: array[int] | array[float], width: int) -> bytes:
    if sys.byteorder == "big":
        numbers.byteswap()
    data, size = numbers.tobytes(), numbers.itemsize
    return b"".join([data[place::size] for place in range(width)])


def _spread(planes: bytes, code: str, width: int, count: int) -> array[Any]:
    """The inverse of `_planes`. Raises ValueError."""
    numbers = array(code)
    if not 0 < width <= numbers.itemsize or len(planes) != width * count:
        raise ValueError(f"{len(planes)} bytes where {count} numbers should be")
    data = bytearray(numbers.itemsize * count)
    for place in range(width):
        data[place :: numbers.itemsize] = planes[place * count : (place + 1) * count]
    if code in _CODES[1] and width < numbers.itemsize:
        above = planes[(width - 1) * count :].translate(_ABOVE)
        for place in range(width, numbers.itemsize):
            data[place :: numbers.itemsize] = above
    numbers.frombytes(bytes(data))
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers
