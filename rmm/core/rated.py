"""The formulas that compare two samples. Each builds, once per field, a reader of a raw value."""

from __future__ import annotations

from typing import Any

from rmm.core import rates
from rmm.core.coerce import number
from rmm.core.context import NO_DATA, UNSUPPORTED, Context, Instance, Missing, Reader, Site
from rmm.core.rates import Change
from rmm.core.values import ratio


def grown(context: Context, source: str, slot: int) -> tuple[int, Change]:
    passed = context.changes[source]
    growth = passed.growth[slot] if passed is not None else None
    if passed is None or growth is None:
        raise Missing(UNSUPPORTED if context.samples[source][slot + len(rates.CLOCKS)] is None else NO_DATA)
    return growth, passed


def per_second(site: Site) -> Reader:
    """Growth per second (PERF_COUNTER_COUNTER, _BULK_COUNT); `wraps`: its width where it wraps."""
    source, slot = site.source, site.slot(site.field.prop, site.field.args.get("wraps", 0))
    return lambda context, instance: round(rates.per_second(*grown(context, source, slot)), 3)


def percent_of_time(site: Site) -> Reader:
    """Growth in 100 ns as percent of wall time (PERF_100NSEC_TIMER, and `inverse`)."""
    source, slot = site.source, site.slot(site.field.prop, 0)
    inverse = bool(site.field.args.get("inverse", False))
    return lambda context, instance: round(rates.share_of_time(*grown(context, source, slot), inverse=inverse), 3)


def percent_of_processors(site: Site) -> Reader:
    """Growth in 100 ns as percent of the wall time of all processors, whose number is `prop` of source `from`."""
    source, slot = site.source, site.slot(site.field.prop, 0)
    other, theirs = site.field.args["from"], site.field.args["prop"]

    def read(context: Context, instance: Instance) -> Any:
        growth, passed = grown(context, source, slot)
        processors = number(context.first(other).get(theirs))
        return None if not processors else round(min(100.0, 100.0 * growth / passed.wall / processors), 3)

    return read


def percent_of_base(site: Site) -> Reader:
    """Growth as percent of the growth of `base` (PERF_PRECISION_100NS_TIMER)."""
    source, slot = site.source, site.slot(site.field.prop, site.field.args.get("wraps", 0))
    base = site.slot(site.field.args["base"], site.field.args.get("wraps", 0))

    def read(context: Context, instance: Instance) -> Any:
        share = rates.share_of_base(grown(context, source, slot)[0], grown(context, source, base)[0])
        return None if share is None else round(share, 3)

    return read


def average_level(site: Site) -> Reader:
    """Average over time (PERF_COUNTER_100NS_QUEUELEN_TYPE)."""
    source, slot = site.source, site.slot(site.field.prop, 0)
    return lambda context, instance: round(rates.average_level(*grown(context, source, slot)), 4)


def average_duration(site: Site) -> Reader:
    """Growth in ticks / Frequency_PerfTime / growth of `base` (PERF_AVERAGE_TIMER)."""
    source, slot = site.source, site.slot(site.field.prop, site.field.args.get("wraps", 0))
    base = site.slot(site.field.args["base"], site.field.args.get("wraps", 0))

    def read(context: Context, instance: Instance) -> Any:
        growth, passed = grown(context, source, slot)
        return round(rates.average_duration(growth, grown(context, source, base)[0], passed), 6)

    return read


def average_wait(site: Site) -> Reader:
    """Growth of a sum of waiting times in 100 ns / growth of `base`, the number of operations."""
    source, slot = site.source, site.slot(site.field.prop, 0)
    base = site.slot(site.field.args["base"], site.field.args.get("wraps", 0))

    def read(context: Context, instance: Instance) -> Any:
        growth, operations = grown(context, source, slot)[0], grown(context, source, base)[0]
        return round(rates.average_wait(growth, operations), 6)

    return read


def rate_pct(site: Site) -> Reader:
    """The faster of `props` per second, x `times`, as percent of `whole`."""
    source, whole, times = site.source, site.field.args["whole"], site.field.args["times"]
    slots = [site.slot(prop, site.field.args.get("wraps", 0)) for prop in site.field.args["props"]]

    def read(context: Context, instance: Instance) -> Any:
        busiest = max(rates.per_second(*grown(context, source, slot)) for slot in slots)
        return ratio(busiest * times, number(instance.get(whole)))

    return read
