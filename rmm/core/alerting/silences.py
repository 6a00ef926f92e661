"""Silences: which alerts their matchers fit. Pure.

Regular expressions match the whole value, as in Alertmanager. They are of a kind whose time is bounded: what may be
repeated, and how often, is limited when a silence is made, and values are cut.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from re import _constants, _parser  # type: ignore[attr-defined]
from typing import Any

from rmm.core.alerting.scopes import Place
from rmm.model.incident import Matcher, Silence
from rmm.model.rule import Alert

LABELS = ("rule", "endpoint", "site", "group", "tag", "severity", "row", "incident")
LONGEST_PATTERN, LONGEST_VALUE = 200, 200
STEPS = 10_000_000  # what one expression may cost at most, on the longest value

_FORM = re.compile(r"\s*(?P<label>[a-z]+)\s*(?P<op>=~|!~|!=|=)\s*(?P<value>.*)", re.DOTALL)
_REPEATS = (_constants.MAX_REPEAT, _constants.MIN_REPEAT, _constants.POSSESSIVE_REPEAT)
_SIMPLE = frozenset(
    {_constants.LITERAL, _constants.NOT_LITERAL, _constants.ANY, _constants.IN, _constants.AT, _constants.CATEGORY}
)

Labels = Mapping[str, tuple[str, ...]]


def parse_matcher(text: str) -> Matcher:
    """`label=value`, likewise `!=`, `=~`, `!~`; the value may be in double quotes. ValueError says what is wrong."""
    found = _FORM.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is not LABEL=VALUE, LABEL!=VALUE, LABEL=~PATTERN or LABEL!~PATTERN")
    label, op, value = found["label"], found["op"], found["value"].strip()
    if label == "alertname":
        label = "rule"  # as Alertmanager calls it
    if label not in LABELS:
        raise ValueError(f"{text!r}: there is no label {label!r}; there are {', '.join(LABELS)}")
    if len(value) >= 2 and value[0] == value[-1] == '"':
        value = value[1:-1]
    if len(value) > LONGEST_PATTERN:
        raise ValueError(f"{label}: a value has {LONGEST_PATTERN} characters at most")
    if op in ("=~", "!~"):
        check_pattern(value)
    return Matcher(label, op, value)


def check_pattern(text: str) -> None:
    """ValueError where a regular expression is none, or might take too long on some value."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # of what may mean something else in a later Python
            parsed = _parser.parse(text)
    except (re.error, Warning, RecursionError, OverflowError) as error:
        raise ValueError(f"{text!r} is no regular expression: {error}") from error
    if _cost(parsed) > STEPS:
        raise ValueError(f"{text!r} could take too long: it repeats too much")


def _cost(parsed: Any) -> int:
    """How many ways there are at most to match it, a bound of the steps."""
    ways = 1
    for kind, value in parsed:
        if kind in _REPEATS:
            least, most, inner = value
            within = _cost(inner)
            if within > 1 and most > 1:
                raise ValueError("what is repeated may not be repeated or have alternatives inside")
            ways *= within * (min(int(most), LONGEST_VALUE) - min(int(least), LONGEST_VALUE) + 1)
        elif kind is _constants.BRANCH:
            ways *= sum(_cost(one) for one in value[1])
        elif kind is _constants.SUBPATTERN:
            ways *= _cost(value[3])
        elif kind not in _SIMPLE:
            raise ValueError("references and assertions are not allowed in a pattern")
    return ways


@lru_cache(maxsize=4096)
def _expression(text: str) -> re.Pattern[str]:
    return re.compile(text, re.DOTALL)


def labels_of(alert: Alert, place: Place) -> Labels:
    """What matchers see of an alert: each label with its values; `endpoint` has id and name, `tag` all tags."""
    return {
        "rule": (alert.rule,),
        "endpoint": (alert.endpoint, alert.name),
        "site": (alert.site,),
        "group": (place.group,),
        "tag": place.tags or ("",),
        "severity": (alert.severity,),
        "row": (alert.row,),
        "incident": (alert.incident,),
    }


def fits(matcher: Matcher, labels: Labels) -> bool:
    """Whether one of the label's values is as wanted; with ! that none is."""
    values = labels.get(matcher.label, ("",))
    if matcher.op in ("=", "!="):
        found = matcher.value in values
    else:
        match = _expression(matcher.value).fullmatch
        found = any(match(value[:LONGEST_VALUE]) is not None for value in values)
    return found is (matcher.op in ("=", "=~"))


def all_fit(matchers: Iterable[Matcher], labels: Labels) -> bool:
    """Whether every matcher fits."""
    return all(fits(one, labels) for one in matchers)


class Silences:
    """Those that may still hold, filed under one of their equalities, so that thousands cost no more than a few."""

    _FIRST = ("incident", "endpoint", "row", "rule", "group", "tag", "site", "severity")

    def __init__(self, silences: Sequence[Silence] = ()) -> None:
        self._by: dict[tuple[str, str], list[Silence]] = {}
        for silence in silences:
            equal = {one.label: one.value for one in silence.matchers if one.op == "="}
            label = next((label for label in self._FIRST if label in equal), "")
            self._by.setdefault((label, equal.get(label, "")), []).append(silence)

    def find(self, alert: Alert, place: Place, at: datetime) -> Silence | None:
        """The one that holds for longest."""
        if not self._by:
            return None
        labels = labels_of(alert, place)
        keys = [("", ""), *((label, value) for label, values in labels.items() for value in values)]
        held = [
            silence
            for key in keys
            for silence in self._by.get(key, ())
            if silence.starts_at <= at < silence.ends_at and all_fit(silence.matchers, labels)
        ]
        return max(held, key=lambda one: one.ends_at, default=None)
