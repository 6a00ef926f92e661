"""The closed set of derivations that a manifest may name: `FORMULAS`. What each does is its builder's docstring.

A reader gets the context and the instance that its field is about, and returns a raw value, which the normaliser
coerces to the field's type.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from rmm.core import choices, matching, moments, rated, sddl, texts, values
from rmm.core.context import Reader, Site


class Formula(NamedTuple):
    """One derivation. `arguments` maps a name to its kind; a kind that ends in `?` is optional."""

    build: Callable[[Site], Reader]
    arguments: Mapping[str, str]
    prop: bool = True  # whether the field's `prop` is required
    whole: bool = False  # reads all instances of its source, or none: no instance has to be there
    rate: bool = False  # needs two samples

    @property
    def docs(self) -> str:
        """One sentence for people."""
        return " ".join((self.build.__doc__ or "").split())


FORMULAS: dict[str, Formula] = {
    "": Formula(values.copied, {}),
    "scale": Formula(values.scale, {"by": "number", "plus": "number?"}),
    "map": Formula(values.mapped, {"values": "map", "default": "any?", "absent": "any?"}),
    "equals": Formula(values.equals, {"values": "list"}),
    "bits": Formula(choices.bits, {"mask": "number", "values": "list"}),
    "some": Formula(choices.some, {"values": "list", "mask": "number?", "where": "map?", "absent": "any?"}, whole=True),
    "contains": Formula(choices.contains, {"values": "list"}),
    "each": Formula(choices.each, {"values": "map"}),
    "has_bits": Formula(values.has_bits, {"mask": "number"}),
    "trim": Formula(values.trim, {"end": "text"}),
    "day": Formula(values.day, {}),
    "filetime": Formula(values.filetime, {}),
    "joined": Formula(texts.joined, {}),
    "collected": Formula(texts.collected, {"props": "props", "between": "text?"}, prop=False, whole=True),
    "up_to": Formula(texts.up_to, {"mark": "text"}),
    "after": Formula(texts.after, {"mark": "text"}),
    "granted": Formula(sddl.granted, {"to": "list"}),
    "first_of": Formula(values.first_of, {"props": "props"}, prop=False),
    "present": Formula(values.present, {"props": "props"}, prop=False, whole=True),
    "exists": Formula(values.exists, {}, prop=False, whole=True),
    "differs": Formula(values.differs, {"from": "source", "prop": "text"}),
    "percent": Formula(values.percent, {"part": "prop", "whole": "prop"}, prop=False),
    "used_pct": Formula(values.used_pct, {"total": "prop", "free": "prop"}, prop=False),
    "percent_of_sums": Formula(values.percent_of_sums, {"part": "prop", "whole": "prop"}, prop=False, whole=True),
    "sum": Formula(values.summed, {}, whole=True),
    "count": Formula(values.count, {}, prop=False, whole=True),
    "count_where": Formula(values.count_where, {"values": "list"}, whole=True),
    "listed": Formula(values.listed, {"in": "text"}, whole=True),
    "any_of": Formula(values.any_of, {"fields": "fields"}, prop=False, whole=True),
    "all_of": Formula(choices.all_of, {"fields": "fields"}, prop=False, whole=True),
    "first_known": Formula(choices.first_known, {"fields": "fields"}, prop=False, whole=True),
    "names_of": Formula(values.names_of, {"fields": "fields"}, prop=False, whole=True),
    "age": Formula(values.age, {"clock": "source"}),
    "elapsed": Formula(moments.elapsed, {"field": "field", "unit": "positive number"}, prop=False, whole=True),
    "remaining": Formula(moments.remaining, {"field": "field", "unit": "positive number"}, prop=False, whole=True),
    "passed": Formula(moments.passed, {"field": "field"}, prop=False, whole=True),
    "later_than": Formula(moments.later_than, {"than": "prop"}),
    "newest": Formula(moments.newest, {}, whole=True),
    "hresult": Formula(texts.hresult, {}),
    "names_where": Formula(matching.names_where, {"by": "prop", "values": "list"}, whole=True),
    "count_matching": Formula(matching.count_matching, {"in": "prop", "field": "field"}, prop=False, whole=True),
    "sum_matching": Formula(matching.sum_matching, {"in": "prop", "field": "field"}, whole=True),
    "earliest_age": Formula(matching.earliest_age, {"clock": "source", "in": "prop", "field": "field"}, whole=True),
    "unix_time": Formula(matching.unix_time, {}),
    "clock_skew": Formula(values.clock_skew, {}, prop=False),
    "per_second": Formula(rated.per_second, {"wraps": "number?"}, rate=True),
    "percent_of_time": Formula(rated.percent_of_time, {"inverse": "flag?"}, rate=True),
    "percent_of_processors": Formula(rated.percent_of_processors, {"from": "source", "prop": "text"}, rate=True),
    "percent_of_base": Formula(rated.percent_of_base, {"base": "prop", "wraps": "number?"}, rate=True),
    "average_level": Formula(rated.average_level, {}, rate=True),
    "average_duration": Formula(rated.average_duration, {"base": "prop", "wraps": "number?"}, rate=True),
    "average_wait": Formula(rated.average_wait, {"base": "prop", "wraps": "number?"}, rate=True),
    "rate_pct": Formula(
        rated.rate_pct,
        {"props": "props", "whole": "prop", "times": "number", "wraps": "number?"},
        prop=False,
        rate=True,
    ),
}
