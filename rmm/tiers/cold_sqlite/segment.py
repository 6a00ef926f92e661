"""Segments: the samples of one endpoint over one hour or day in one compressed blob, and the rollups of a day in one.

A segment is MessagePack: an array of zstd frames with checksums. The first holds MessagePack too, arrays without names,
and all planes of its columns but those that look like noise; these are in the others (`planes.py`). The names of its
series are in the `layout` of the file it is in. What a reading had as null is no sample and is not in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import msgspec

from rmm.core.columns import SCALES, Column, Number, pack, pack_integers, unpack, unpack_integers
from rmm.core.rollup import Rolled, Rollups
from rmm.tiers.cold_sqlite.planes import Columns, Planes, framed, laid_out, pressed, readable

QUICK, SMALL = 1, 19  # zstd's levels, for what lasts a day and for what lasts years

FIRST = 6  # columns of the observations themselves, before those of the series
# Collector, row key, field. A series without a field, of ones, says which observations have a reading of the collector
# whose values are stored when they change.
Name = tuple[str, str, str]


class Seen(NamedTuple):
    """One observation without its samples; ordered by time."""

    at: int  # microseconds since 1970
    epoch: str
    seq: int
    status: str
    fault: str
    duration_ms: float


class Series(NamedTuple):
    """The samples of one series: of which observations of its segment, and their values."""

    places: list[int]
    values: list[Number]


class Samples(NamedTuple):
    """What a segment holds: observations by growing time, each once, and the series by name."""

    seen: list[Seen]
    series: dict[Name, Series]


class _Stored(msgspec.Struct, frozen=True, array_like=True):
    count: int
    epochs: list[str]
    statuses: list[str]
    faults: list[str]
    sets: list[bytes]  # bits, the lowest first: which observations some series have; empty for all
    whose: Column  # the set of each series
    columns: Columns  # at, epoch, seq, status, fault, duration_ms; then the series


class _Rolled(msgspec.Struct, frozen=True, array_like=True):
    count: int
    sets: list[bytes]
    whose: Column
    places: Column
    columns: Columns  # span; then of each series: count, least, and above the least: most, total, last


_encode = msgspec.msgpack.Encoder().encode
_frames = msgspec.msgpack.Decoder(list[bytes]).decode
_stored = msgspec.msgpack.Decoder(_Stored).decode
_rolled = msgspec.msgpack.Decoder(_Rolled).decode


def gather(observations: Iterable[tuple[Seen, Mapping[Name, Number]]]) -> Samples:
    """Samples of observations; of equal ones (time, epoch, sequence) the first counts."""
    known: dict[tuple[int, str, int], tuple[Seen, Mapping[Name, Number]]] = {}
    for seen, values in observations:
        known.setdefault(seen[:3], (seen, values))
    series: dict[Name, Series] = {}
    ordered = [known[key] for key in sorted(known)]
    for place, (_, values) in enumerate(ordered):
        for name, value in values.items():
            found = series.get(name)
            if found is None:
                found = series[name] = Series([], [])
            found.places.append(place)
            found.values.append(value)
    return Samples([seen for seen, _ in ordered], series)


def join(parts: Sequence[Samples]) -> Samples:
    """All of several samples; of equal observations those of the first part count."""
    filled = [part for part in parts if part.seen]
    if len(filled) == 1:
        return filled[0]
    filled.sort(key=lambda part: part.seen[0][:3])
    if all(one.seen[-1][:3] < two.seen[0][:3] for one, two in pairwise(filled)):
        return _behind(filled)
    return gather(one for part in parts for one in scattered(part))


def _behind(parts: list[Samples]) -> Samples:
    """Join parts of which each ends before the next one begins."""
    joined = Samples([], {})
    for part in parts:
        base = len(joined.seen)
        joined.seen.extend(part.seen)
        for name, series in part.series.items():
            found = joined.series.get(name)
            if found is None:
                found = joined.series[name] = Series([], [])
            found.places.extend([base + place for place in series.places] if base else series.places)
            found.values.extend(series.values)
    return joined


def scattered(samples: Samples) -> list[tuple[Seen, dict[Name, Number]]]:
    """The inverse of `gather`."""
    values: list[dict[Name, Number]] = [{} for _ in samples.seen]
    for name, series in samples.series.items():
        for place, value in zip(series.places, series.values, strict=True):
            values[place][name] = value
    return list(zip(samples.seen, values, strict=True))


def encode(samples: Samples, level: int) -> tuple[tuple[Name, ...], bytes]:
    """The names of a segment's series in their order, and the segment."""
    seen, names = samples.seen, tuple(sorted(samples.series))
    series = [samples.series[name] for name in names]
    epochs, epoch = _words([one.epoch for one in seen])
    statuses, status = _words([one.status for one in seen])
    faults, fault = _words([one.fault for one in seen])
    sets, whose = _sets([one.places for one in series], len(seen))
    columns = [
        pack_integers([one.at for one in seen]),
        epoch,
        pack([one.seq for one in seen]),
        status,
        fault,
        pack([one.duration_ms for one in seen]),
        *[pack(one.values) for one in series],
    ]
    laid, others = laid_out(columns, sections=level == SMALL)
    return names, pressed(_Stored(len(seen), epochs, statuses, faults, sets, whose, laid), others, level)


class Segment:
    """A segment that is read; columns are unpacked as they are asked for. Raises DamagedSegment.

    `names`: how many series it has.
    """

    def __init__(self, data: bytes, names: int) -> None:
        with readable:
            plain, others = framed(data)
            self._stored = _stored(plain)
            self._planes = Planes(self._stored.columns, others)
            self._names = names
            self._at = unpack_integers(self._planes.column(0), self._stored.count)

    def one(self, number: int) -> tuple[list[int], list[Number]]:
        """(times, values) of the series with this number."""
        with readable:
            places = _places(self._stored.sets, self._stored.whose, number, self._names, self._stored.count)
            values = unpack(self._planes.column(number + FIRST), len(places))
            at = self._at
        return at if len(places) == self._stored.count else [at[place] for place in places], values

    def seen(self) -> list[Seen]:
        """The observations."""
        stored, count = self._stored, self._stored.count
        with readable:
            words = [
                [texts[number] for number in unpack_integers(self._planes.column(place), count)]
                for place, texts in ((1, stored.epochs), (3, stored.statuses), (4, stored.faults))
            ]
            numbers, durations = unpack_integers(self._planes.column(2), count), unpack(self._planes.column(5), count)
            return [
                Seen(*row) for row in zip(self._at, words[0], numbers, *words[1:], map(float, durations), strict=True)
            ]

    def outcomes(self) -> tuple[list[int], list[str] | str]:
        """(times, the status of each; where all are alike that one alone)."""
        stored = self._stored
        with readable:
            if len(stored.statuses) == 1:
                return self._at, stored.statuses[0]
            places = unpack_integers(self._planes.column(3), stored.count)
            return self._at, [stored.statuses[place] for place in places]

    def samples(self, names: Sequence[Name]) -> Samples:
        """All of it."""
        series = {}
        with readable:
            for number, name in enumerate(names):
                places = _places(self._stored.sets, self._stored.whose, number, self._names, self._stored.count)
                series[name] = Series([*places], unpack(self._planes.column(number + FIRST), len(places)))
        return Samples(self.seen(), series)


def encode_rollups(rollups: Mapping[Name, Rollups], level: int) -> tuple[tuple[Name, ...], bytes]:
    """The names of a segment's series in their order, and the segment."""
    names = tuple(sorted(rollups))
    spans = sorted({one.span for name in names for one in rollups[name].spans})
    place = {span: number for number, span in enumerate(spans)}
    sets, whose = _sets([[place[one.span] for one in rollups[name].spans] for name in names], len(spans))
    columns = [pack_integers(spans), *(column for name in names for column in _columns(rollups[name]))]
    laid, others = laid_out(columns, sections=level == SMALL)
    places = pack_integers([rollups[name].places for name in names])
    return names, pressed(_Rolled(len(spans), sets, whose, places, laid), others, level)


class RolledSegment:
    """A segment of rollups that is read. Raises DamagedSegment. `names`: how many series it has."""

    def __init__(self, data: bytes, names: int) -> None:
        with readable:
            plain, others = framed(data)
            self._stored = _rolled(plain)
            self._planes = Planes(self._stored.columns, others)
            self._names = names
            self._spans = unpack_integers(self._planes.column(0), self._stored.count)
            self._digits = unpack_integers(self._stored.places, names)

    def one(self, number: int) -> Rollups:
        """The rollups of the series with this number."""
        with readable:
            taken = _places(self._stored.sets, self._stored.whose, number, self._names, self._stored.count)
            columns = [unpack(self._planes.column(5 * number + 1 + place), len(taken)) for place in range(5)]
            digits = self._digits[number]
            counts, least = [int(one) for one in columns[0]], columns[1]
            most, total, last = columns[2:]
            if digits >= 0:
                most, last = ([low + one for low, one in zip(least, other, strict=True)] for other in (most, last))
                total = [low * n + one for low, n, one in zip(least, counts, total, strict=True)]
            rows = zip([self._spans[one] for one in taken], counts, least, most, total, last, strict=True)
            return Rollups(digits, [Rolled(*row) for row in rows])

    def extremes(self, number: int) -> tuple[list[int], list[Number], list[Number]]:
        """(spans, least, most) of the series with this number, in the unit of its samples."""
        with readable:
            taken = _places(self._stored.sets, self._stored.whose, number, self._names, self._stored.count)
            least, most = (unpack(self._planes.column(5 * number + place), len(taken)) for place in (2, 3))
            digits = self._digits[number]
            if digits >= 0:
                scale = SCALES[digits]
                most = [(low + one) / scale for low, one in zip(least, most, strict=True)]
                least = [low / scale for low in least]
            return [self._spans[one] for one in taken], least, most

    def all(self, names: Sequence[Name]) -> dict[Name, Rollups]:
        """The rollups of all series."""
        return {name: self.one(number) for number, name in enumerate(names)}


def _columns(rollups: Rollups) -> list[Column]:
    spans = rollups.spans
    low = [one.least for one in spans] if rollups.places >= 0 else [0] * len(spans)
    return [
        pack([one.samples for one in spans]),
        pack([one.least for one in spans]),
        pack([one.most - least for one, least in zip(spans, low, strict=True)]),
        pack([one.total - least * one.samples for one, least in zip(spans, low, strict=True)]),
        pack([one.last - least for one, least in zip(spans, low, strict=True)]),
    ]


def _words(texts: list[Any]) -> tuple[list[str], Column]:
    words = list(dict.fromkeys(texts))
    number = {word: place for place, word in enumerate(words)}
    return words, pack_integers([number[text] for text in texts])


def _sets(places: list[list[int]], count: int) -> tuple[list[bytes], Column]:
    numbers: dict[bytes, int] = {}
    whose = [numbers.setdefault(_bits(one, count), len(numbers)) for one in places]
    return list(numbers), pack_integers(whose)


def _bits(places: list[int], count: int) -> bytes:
    if len(places) == count:
        return b""
    return sum(1 << place for place in places).to_bytes((count + 7) // 8, "little")


def _places(sets: list[bytes], whose: Column, number: int, names: int, count: int) -> Sequence[int]:
    bits = sets[unpack_integers(whose, names)[number]]
    if not bits:
        return range(count)
    whole = int.from_bytes(bits, "little")
    if whole.bit_length() > count:
        raise ValueError("samples of more observations than there are")
    return [place for place in range(count) if whole >> place & 1]
