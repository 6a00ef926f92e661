"""The formulas about times: how long ago, how long until, the latest of many. Each builds, once per field, a reader.

What is counted in days or hours is counted by the poller's clock, so no collector has to ask for the endpoint's.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from rmm.core import coerce
from rmm.core.coerce import Invalid
from rmm.core.context import DENIED, UNKNOWN, Context, Instance, Missing, Reader, Site

_AMERICAN = re.compile(r"([0-9]{1,2})/([0-9]{1,2})/([0-9]{4})\Z")
_DATE = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})\Z")


def _seconds_since(context: Context, field: str) -> float | None:
    at = coerce.moment(context.row.get(field))
    return None if at is None else (context.observed_at - at).total_seconds()


def elapsed(site: Site) -> Reader:
    """How long ago the time in earlier field `field` was, in units of `unit` seconds."""
    field, unit = site.field.args["field"], site.field.args["unit"]

    def read(context: Context, instance: Instance) -> Any:
        seconds = _seconds_since(context, field)
        return None if seconds is None else round(max(0.0, seconds) / unit, 1)

    return read


def remaining(site: Site) -> Reader:
    """How long it is until the time in earlier field `field`, in units of `unit` seconds; negative when it has been."""
    field, unit = site.field.args["field"], site.field.args["unit"]

    def read(context: Context, instance: Instance) -> Any:
        seconds = _seconds_since(context, field)
        return None if seconds is None else round(-seconds / unit, 1)

    return read


def passed(site: Site) -> Reader:
    """Whether the time in earlier field `field` has been."""
    field = site.field.args["field"]

    def read(context: Context, instance: Instance) -> Any:
        seconds = _seconds_since(context, field)
        return None if seconds is None else seconds >= 0

    return read


def later_than(site: Site) -> Reader:
    """Whether the property (a time) is later than property `than`, or that one has no value; no without the former."""
    prop, than = site.field.prop, site.field.args["than"]

    def read(context: Context, instance: Instance) -> Any:
        ours, theirs = coerce.moment(instance.get(prop)), coerce.moment(instance.get(than))
        return ours is not None and (theirs is None or ours > theirs)

    return read


def newest(site: Site) -> Reader:
    """The latest time in the property over all instances of the source; days may be written 11/20/2026 or 2026-11-20.

    What is no time is passed over.
    """
    source, prop = site.source, site.field.prop

    def read(context: Context, instance: Instance) -> Any:
        found = context.lists[source]
        if not found and context.reasons[source] in (DENIED, UNKNOWN):
            raise Missing(context.reasons[source])
        times = [at for i in found if (at := _lenient(i.get(prop))) is not None]
        return max(times).isoformat() if times else None

    return read


def _lenient(value: Any) -> datetime | None:
    """A time, or a bare day as midnight UTC; None for anything else."""
    try:
        if type(value) is str and (found := _AMERICAN.match(value)):
            return datetime(int(found[3]), int(found[1]), int(found[2]), tzinfo=UTC)
        if type(value) is str and (found := _DATE.match(value)):
            return datetime(int(found[1]), int(found[2]), int(found[3]), tzinfo=UTC)
        return coerce.moment(value)
    except (Invalid, ValueError):
        return None
