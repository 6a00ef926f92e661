"""Units: what a number with a unit is in the unit of a field. Powers of 1000 (kB, MB, GB) and of 1024 (KiB, MiB)."""

from __future__ import annotations

from collections.abc import Iterator

Scale = int | float
Measure = tuple[str, Scale]  # what is measured, and how much of its basic unit one of these is

_PREFIXES = {"k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15}
_BINARY = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50}
_SPANS = {"ms": 0.001, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400, "w": 604_800}
_PREFIXED = {"B": "a size", "B/s": "a rate of bytes", "bit": "a number of bits", "bit/s": "a rate of bits"}


def _all() -> Iterator[tuple[str, Measure]]:
    for unit, what in _PREFIXED.items():
        yield unit, (what, 1)
        prefixes = _PREFIXES | _BINARY if unit.startswith("B") else _PREFIXES
        yield from ((prefix + unit, (what, scale)) for prefix, scale in prefixes.items())
    yield from ((unit, ("a span of time", scale)) for unit, scale in _SPANS.items())
    yield from ((prefix + "Hz", ("a frequency", scale)) for prefix, scale in ({"": 1} | _PREFIXES).items())
    yield from {"%": ("a share", 1), "/s": ("a rate", 1), "1/s": ("a rate", 1)}.items()
    yield from {"degC": ("a temperature", 1), "mV": ("a voltage", 0.001), "V": ("a voltage", 1)}.items()


UNITS: dict[str, Measure] = dict(_all())
_BY_LETTERS: dict[str, list[str]] = {}
for _name in UNITS:
    _BY_LETTERS.setdefault(_name.casefold(), []).append(_name)


def measure(unit: str) -> Measure | None:
    """What a unit measures. Its case does not matter where it decides nothing and the unit has two letters or more."""
    if unit in UNITS:
        return UNITS[unit]
    near = _BY_LETTERS.get(unit.casefold(), []) if len(unit) > 1 else []
    return UNITS[near[0]] if len(near) == 1 else None


def of_field(unit: str) -> Measure:
    """What a field's unit measures; one that is not known here measures itself."""
    return measure(unit) or (unit, 1)


def seconds(value: float, unit: str) -> float | None:
    """A span of time in seconds; None for what is none."""
    found = measure(unit)
    return value * found[1] if found and found[0] == "a span of time" else None


def converted(value: Scale, unit: str, field_unit: str) -> Scale | str:
    """The value in the field's unit, or why it has none."""
    if not unit:
        return value
    own, field = measure(unit) or (unit, 1), of_field(field_unit)
    if not field_unit:
        return f"has no unit, so {value:g}{unit} says nothing of it"
    if own[0] != field[0]:
        what = own[0] if unit != own[0] else "in a unit that is not known"
        return f"is in {field_unit}, and {value:g}{unit} is {what}"
    if own[1] == field[1]:
        return value
    exact = value * own[1] / field[1]
    whole = isinstance(value, int) and isinstance(own[1], int) and isinstance(field[1], int)
    return value * own[1] // field[1] if whole and value * own[1] % field[1] == 0 else exact
