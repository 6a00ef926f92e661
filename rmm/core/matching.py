"""The formulas over those instances of a source that meet a condition or belong to the row. Each builds a reader."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from rmm.core import coerce
from rmm.core.coerce import integer
from rmm.core.context import DENIED, UNKNOWN, Context, Instance, Missing, Reader, Site

BETWEEN = ", "
MOST_NAMES = 50  # in one text
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _all(context: Context, source: str) -> list[Instance]:
    """The instances of a source; none where there are none, Missing where they could not be had."""
    found = context.lists[source]
    if not found and context.reasons[source] in (DENIED, UNKNOWN):
        raise Missing(context.reasons[source])
    return found


def _of_row(site: Site) -> Callable[[Context], Iterable[Instance]]:
    source, theirs, field = site.source, site.field.args["in"], site.field.args["field"]

    def find(context: Context) -> Iterable[Instance]:
        wanted = str(context.row.get(field)).casefold()
        return (i for i in _all(context, source) if str(i.get(theirs)).casefold() == wanted)

    return find


def names_where(site: Site) -> Reader:
    """The property of those instances of the source that have one of `values` in property `by`, as one text."""
    source, prop, by = site.source, site.field.prop, site.field.args["by"]
    wanted = {str(value).casefold() for value in site.field.args["values"]}

    def read(context: Context, instance: Instance) -> Any:
        found = (i for i in _all(context, source) if str(i.get(by)).casefold() in wanted)
        names = sorted({name for i in found if (name := coerce.text(i.get(prop))) is not None})
        return BETWEEN.join(names[:MOST_NAMES]) or None

    return read


def count_matching(site: Site) -> Reader:
    """How many instances of the source have this row's `field` in property `in`."""
    find = _of_row(site)
    return lambda context, instance: sum(1 for _ in find(context))


def sum_matching(site: Site) -> Reader:
    """The property summed over the instances of the source that have this row's `field` in property `in`."""
    find, prop = _of_row(site), site.field.prop
    return lambda context, instance: sum(integer(i.get(prop)) or 0 for i in find(context))


def earliest_age(site: Site) -> Reader:
    """Seconds since the earliest time in the property, of the instances with this row's `field` in property `in`.

    By the endpoint's own clock (a Win32_UTCTime source).
    """
    find, prop, clock = _of_row(site), site.field.prop, site.field.args["clock"]

    def read(context: Context, instance: Instance) -> Any:
        times = [at for i in find(context) if (at := coerce.moment(i.get(prop))) is not None]
        return max(0, round((context.clock(clock) - min(times)).total_seconds())) if times else None

    return read


def unix_time(site: Site) -> Reader:
    """The property (seconds since 1970 UTC) as a time; nothing where it is 0."""
    prop = site.field.prop

    def read(context: Context, instance: Instance) -> Any:
        value = integer(instance.get(prop))
        if value is None or not 0 < value < 1 << 33:
            return None
        return (_EPOCH + timedelta(seconds=value)).isoformat()

    return read
