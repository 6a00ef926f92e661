"""The formulas that need one document only. Each builds, once per field, a reader of a raw value."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from rmm.core import coerce
from rmm.core.coerce import Invalid, integer, number
from rmm.core.context import DENIED, UNKNOWN, Context, Instance, Missing, Reader, Site


def copied(site: Site) -> Reader:
    """The property as it is."""
    prop = site.field.prop
    return lambda context, instance: instance.get(prop)


def scale(site: Site) -> Reader:
    """The property times `by`, and `plus`."""
    prop, by, plus = site.field.prop, site.field.args["by"], site.field.args.get("plus", 0)
    whole = type(by) is int and type(plus) is int
    convert = integer if whole else number

    def read(context: Context, instance: Instance) -> Any:
        value = convert(instance.get(prop))
        if value is None:
            return None
        return value * by + plus if whole else round(value * by + plus, 6)

    return read


def mapped(site: Site) -> Reader:
    """The property (of a list its first item) looked up in `values`; others become `default` or stay, null `absent`."""
    prop, values = site.field.prop, {str(key).casefold(): value for key, value in site.field.args["values"].items()}
    default, absent = site.field.args.get("default"), site.field.args.get("absent")

    def read(context: Context, instance: Instance) -> Any:
        value = instance.get(prop)
        if type(value) is list:
            value = value[0] if value else None
        if value is None:
            return absent
        if type(value) is list or type(value) is dict:
            raise Invalid
        return values.get(str(value).casefold(), value if default is None else default)

    return read


def equals(site: Site) -> Reader:
    """Whether the property is one of `values`."""
    prop, wanted = site.field.prop, {str(value).casefold() for value in site.field.args["values"]}

    def read(context: Context, instance: Instance) -> Any:
        value = instance.get(prop)
        return None if value is None else str(value).casefold() in wanted

    return read


def has_bits(site: Site) -> Reader:
    """Whether all bits of `mask` are set in the property."""
    prop, mask = site.field.prop, site.field.args["mask"]

    def read(context: Context, instance: Instance) -> Any:
        value = integer(instance.get(prop))
        return None if value is None else value & mask == mask

    return read


def trim(site: Site) -> Reader:
    """The property without the characters `end` at its end."""
    prop, end = site.field.prop, site.field.args["end"]

    def read(context: Context, instance: Instance) -> Any:
        value = instance.get(prop)
        return value.rstrip(end) if type(value) is str else value

    return read


def first_of(site: Site) -> Reader:
    """The first of `props` that has a value."""
    props = site.field.args["props"]

    def read(context: Context, instance: Instance) -> Any:
        return next((value for prop in props if (value := instance.get(prop)) not in (None, "")), None)

    return read


def present(site: Site) -> Reader:
    """Whether one of `props` has a value in the source's first instance."""
    props, source = site.field.args["props"], site.source

    def read(context: Context, instance: Instance) -> Any:
        found = context.lists[source]
        if not found:
            return absent(context, source)
        values = [found[0].get(prop) for prop in props]
        return any(any(value) if type(value) is list else value not in (None, "") for value in values)

    return read


def exists(site: Site) -> Reader:
    """Whether the source has an instance."""
    source = site.source
    return lambda context, instance: True if context.lists[source] else absent(context, source)


def absent(context: Context, source: str) -> bool:
    """A key or class that is not there is a plain no, unless it could not be looked at."""
    if (reason := context.reasons[source]) in (DENIED, UNKNOWN):
        raise Missing(reason)
    return False


def differs(site: Site) -> Reader:
    """Whether the property differs from property `prop` of source `from`."""
    prop, other, theirs = site.field.prop, site.field.args["from"], site.field.args["prop"]

    def read(context: Context, instance: Instance) -> Any:
        ours, value = coerce.text(instance.get(prop)), coerce.text(context.first(other).get(theirs))
        if ours is None or value is None:
            raise Missing(UNKNOWN)
        return ours.casefold() != value.casefold()

    return read


def percent(site: Site) -> Reader:
    """100 x `part` / `whole` (PERF_RAW_FRACTION)."""
    part, whole = site.field.args["part"], site.field.args["whole"]
    return lambda context, instance: ratio(number(instance.get(part)), number(instance.get(whole)))


def used_pct(site: Site) -> Reader:
    """100 x (`total` - `free`) / `total`."""
    total, free = site.field.args["total"], site.field.args["free"]

    def read(context: Context, instance: Instance) -> Any:
        size, left = integer(instance.get(total)), integer(instance.get(free))
        return None if size is None or left is None else ratio(max(0, size - left), size)

    return read


def ratio(part: float | None, whole: float | None) -> float | None:
    return None if part is None or not whole else round(100.0 * part / whole, 3)


def percent_of_sums(site: Site) -> Reader:
    """The same over all instances of the source, summed."""
    source, part, whole = site.source, site.field.args["part"], site.field.args["whole"]

    def read(context: Context, instance: Instance) -> Any:
        found = context.lists[source]
        if not found:
            raise Missing(context.reasons[source])
        return ratio(sum(integer(i.get(part)) or 0 for i in found), sum(integer(i.get(whole)) or 0 for i in found))

    return read


def summed(site: Site) -> Reader:
    """The property summed over all instances of the source."""
    source, prop = site.source, site.field.prop

    def read(context: Context, instance: Instance) -> Any:
        found = context.lists[source]
        if not found:
            raise Missing(context.reasons[source])
        values = [value for i in found if (value := integer(i.get(prop))) is not None]
        return sum(values) if values else None

    return read


def count(site: Site) -> Reader:
    """How many instances the source has."""
    source = site.source

    def read(context: Context, instance: Instance) -> Any:
        found = context.lists[source]
        if not found and (source in context.told or context.reasons[source] in (DENIED, UNKNOWN)):
            raise Missing(context.reasons[source])
        return len(found)

    return read


def count_where(site: Site) -> Reader:
    """How many instances of the source have one of `values` in the property."""
    source, prop = site.source, site.field.prop
    wanted = {str(value).casefold() for value in site.field.args["values"]}

    def read(context: Context, instance: Instance) -> Any:
        found = context.lists[source]
        if not found and context.reasons[source] in (DENIED, UNKNOWN):
            raise Missing(context.reasons[source])
        return sum(str(i.get(prop)).casefold() in wanted for i in found)

    return read


def listed(site: Site) -> Reader:
    """Whether field `prop` of this row equals property `in` of an instance of the source."""
    source, prop, theirs = site.source, site.field.prop, site.field.args["in"]

    def read(context: Context, instance: Instance) -> Any:
        if not context.lists[source]:
            return absent(context, source)
        value = context.row.get(prop)
        return None if value is None else str(value).casefold() in context.index(source, theirs)

    return read


def any_of(site: Site) -> Reader:
    """Whether one of these earlier fields is true."""
    fields = site.field.args["fields"]

    def read(context: Context, instance: Instance) -> Any:
        values = [context.row.get(field) for field in fields]
        if True not in values and None in values:
            raise Missing(UNKNOWN)
        return True in values

    return read


def names_of(site: Site) -> Reader:
    """The names of those of these earlier fields that are true."""
    fields = site.field.args["fields"]
    return lambda context, instance: ", ".join(field for field in fields if context.row.get(field) is True)


def age(site: Site) -> Reader:
    """Seconds from the property (a time) to the endpoint's own UTC clock (a Win32_UTCTime source)."""
    prop, clock = site.field.prop, site.field.args["clock"]

    def read(context: Context, instance: Instance) -> Any:
        since = coerce.moment(instance.get(prop))
        if since is None:
            return None
        return max(0, round((context.clock(clock) - since).total_seconds()))

    return read


def clock_skew(site: Site) -> Reader:
    """Seconds by which the endpoint's clock (a Win32_UTCTime source) is ahead of ours."""
    source = site.source
    return lambda context, instance: round((context.clock(source) - context.observed_at).total_seconds(), 1)


def day(site: Site) -> Reader:
    """The property as a day (yyyymmdd); nothing where somebody wrote it in another way."""
    prop = site.field.prop

    def read(context: Context, instance: Instance) -> Any:
        value = str(instance.get(prop))
        return value if len(value) == 8 and value.isascii() and value.isdigit() and "19" <= value[:2] <= "20" else None

    return read


_FILETIME_ZERO = datetime(1601, 1, 1, tzinfo=UTC)


def filetime(site: Site) -> Reader:
    """The property (100 ns since 1601 UTC) as a time; nothing where it is 0 or beyond the year 9999."""
    prop = site.field.prop

    def read(context: Context, instance: Instance) -> Any:
        value = integer(instance.get(prop))
        if value is None or not 0 < value < 2_650_467_744_000_000_000:
            return None
        return (_FILETIME_ZERO + timedelta(microseconds=value // 10)).isoformat()

    return read
