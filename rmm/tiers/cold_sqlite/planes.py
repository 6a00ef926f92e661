"""How the columns of a segment lie in frames of zstd: so that they compress well and one is read without all others."""

from __future__ import annotations

import threading
from bisect import bisect
from functools import lru_cache
from operator import mul
from types import TracebackType

import msgspec
import zstandard

from rmm.core.columns import VERBATIM, Column

MOST_BYTES = 256 << 20  # of a segment that is unpacked; a day of MOST_SERIES series at one poll a minute is 50 MB
# Different bytes of a plane, as a share of those that it could have: where its further sections begin. Measured.
NOISE = (0.1, 0.3, 0.5)
SECTIONS = len(NOISE) + 1
LANE = 40  # bits for the bytes of a section before a column

_encode = msgspec.msgpack.Encoder().encode
_frames = msgspec.msgpack.Decoder(list[bytes]).decode


class DamagedSegment(ValueError):
    """It cannot be read."""


class Columns(msgspec.Struct, frozen=True, array_like=True):
    """Packed columns, part by part, which compresses better than one behind the other."""

    places: list[int]
    orders: bytes
    starts: list[tuple[int, ...]]
    steps: list[int]
    widths: bytes  # planes of each
    lengths: list[int]  # bytes of each plane
    sections: list[int]  # of each plane, two bits, the first plane's lowest
    calm: bytes  # the planes of section 0; each further section is a frame of its own


class _Readable:
    """What goes wrong within is damage; a generator would take five times as long, for each of many segments."""

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, ValueError | IndexError | zstandard.ZstdError):
            raise DamagedSegment(str(error)) from error


readable = _Readable()


def laid_out(columns: list[Column], *, sections: bool) -> tuple[Columns, list[bytes]]:
    """Columns part by part; planes that look like noise have sections, where they do not spoil what the others are."""
    widths, lengths, marks = bytearray(), [], []
    laid: list[list[bytes]] = [[] for _ in range(SECTIONS)]
    for column in columns:
        planes, width = column.planes, 1 if column.places == VERBATIM else column.width
        length = len(planes) // width if width else 0
        mark = 0
        for place in range(width):
            plane = planes[place * length : (place + 1) * length]
            section = bisect(NOISE, len(set(plane)) / min(length, 256)) if sections else 0
            laid[section].append(plane)
            mark |= section << 2 * place
        widths.append(width)
        lengths.append(length)
        marks.append(mark)
    first, *others = (b"".join(planes) for planes in laid)
    return Columns(
        [column.places for column in columns],
        bytes([column.order for column in columns]),
        [column.start for column in columns],
        [column.step for column in columns],
        bytes(widths), lengths, marks, first,
    ), others  # fmt: skip


class Planes:
    """The columns of a segment; a section is unpacked when a column of it is asked for."""

    def __init__(self, laid: Columns, frames: list[bytes]) -> None:
        self._laid = laid
        self._frames = frames
        self._sections = {0: laid.calm}
        # Columns that were passed, and where the next one's planes begin in each section: numbers side by side in one.
        self._passed = self._at = 0

    def column(self, number: int) -> Column:
        """The column with this number. Raises IndexError, ValueError, ZstdError."""
        laid, planes = self._laid, []
        length, mark = laid.lengths[number], laid.sections[number]
        at = self._begin(number)
        for place in range(laid.widths[number]):
            section = mark >> 2 * place & 3
            planes.append(self._section(section)[at[section] : at[section] + length])
            at[section] += length
        packed = b"".join(planes)
        return Column(laid.places[number], laid.orders[number], laid.starts[number], laid.steps[number], packed)

    def _begin(self, number: int) -> list[int]:
        """Where the planes of a column begin, by section."""
        laid = self._laid
        if number < self._passed:
            self._passed = self._at = 0
        part = slice(self._passed, number)
        shares = map(_shares, laid.widths[part], laid.sections[part])
        self._at += sum(map(mul, laid.lengths[part], shares))
        self._passed = number
        return [self._at >> LANE * section & (1 << LANE) - 1 for section in range(SECTIONS)]

    def _section(self, number: int) -> bytes:
        if number not in self._sections:
            self._sections[number] = _unpressed(self._frames[number - 1])
        return self._sections[number]


@lru_cache(maxsize=4096)
def _shares(width: int, mark: int) -> int:
    """How many planes of a column are in each section, side by side."""
    return sum(1 << LANE * (mark >> 2 * place & 3) for place in range(width))


def pressed(stored: msgspec.Struct, others: list[bytes], level: int) -> bytes:
    while others and not others[-1]:
        others = others[:-1]
    press = zstandard.ZstdCompressor(level=level, write_checksum=True).compress
    return _encode([press(data) for data in (_encode(stored), *others)])


_own = threading.local()  # a decompressor is of one thread


def framed(data: bytes) -> tuple[bytes, list[bytes]]:
    """What the first frame of a segment holds, and the frames of its further sections. Raises ValueError, ZstdError."""
    first, *others = _frames(data)
    return _unpressed(first), others


def _unpressed(frame: bytes) -> bytes:
    size = zstandard.frame_content_size(frame)
    if not 0 <= size <= MOST_BYTES:
        raise ValueError("a frame does not say how large it is, or is larger than a segment may be")
    if not hasattr(_own, "unpress"):  # making one takes as long as most frames do
        _own.unpress = zstandard.ZstdDecompressor().decompress
    plain: bytes = _own.unpress(frame, allow_extra_data=False)
    return plain
