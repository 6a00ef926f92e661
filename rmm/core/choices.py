"""The formulas that decide: bits, members of lists, and earlier fields taken together. Each builds a reader."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rmm.core import coerce
from rmm.core.coerce import Invalid, integer
from rmm.core.context import DENIED, UNKNOWN, Context, Instance, Missing, Reader, Site

BETWEEN = ", "


def bits(site: Site) -> Reader:
    """Whether the bits `mask` of the property are one of `values`."""
    prop, fits = site.field.prop, _fits(site)

    def read(context: Context, instance: Instance) -> Any:
        value = instance.get(prop)
        return None if value is None else fits(value)

    return read


def some(site: Site) -> Reader:
    """Whether the property (of it the bits `mask`) is one of `values` in some instance; `absent` if there is none.

    `where` (property -> value) says which instances are looked at.
    """
    source, prop, fits, args = site.source, site.field.prop, _fits(site), site.field.args
    where = {name: str(value).casefold() for name, value in args.get("where", {}).items()}

    def read(context: Context, instance: Instance) -> Any:
        found = context.lists[source]
        if not found:
            reason = context.reasons[source]
            if "absent" not in args or reason in (DENIED, UNKNOWN):
                raise Missing(reason)
            return args["absent"]
        chosen = (i for i in found if all(str(i.get(name)).casefold() == value for name, value in where.items()))
        return any(fits(value) for i in chosen if (value := i.get(prop)) is not None)

    return read


def _fits(site: Site) -> Callable[[Any], bool]:
    values, mask = site.field.args["values"], site.field.args.get("mask")
    if mask is None:
        texts = {str(value).casefold() for value in values}
        return lambda value: str(value).casefold() in texts
    numbers = frozenset(values)

    def fits(value: Any) -> bool:
        number = integer(value)
        return number is not None and number & mask in numbers

    return fits


def contains(site: Site) -> Reader:
    """Whether the property (a list) has one of `values`."""
    prop, wanted = site.field.prop, {str(value).casefold() for value in site.field.args["values"]}

    def read(context: Context, instance: Instance) -> Any:
        items = _items(instance.get(prop))
        return None if items is None else any(str(item).casefold() in wanted for item in items)

    return read


def each(site: Site) -> Reader:
    """The items of the property (a list) looked up in `values`, as one text; what is not listed stays."""
    prop, values = site.field.prop, {str(key).casefold(): value for key, value in site.field.args["values"].items()}

    def read(context: Context, instance: Instance) -> Any:
        items = _items(instance.get(prop))
        if items is None:
            return None
        texts = [coerce.text(values.get(str(item).casefold(), item)) for item in items[: coerce.MAX_ITEMS]]
        return BETWEEN.join(text for text in texts if text) or None

    return read


def _items(value: Any) -> list[Any] | None:
    """WS-Enumeration gives a list of one as its item."""
    if type(value) is dict:
        raise Invalid
    return value if value is None or type(value) is list else [value]


def all_of(site: Site) -> Reader:
    """Whether all of these earlier fields are true."""
    fields = site.field.args["fields"]

    def read(context: Context, instance: Instance) -> Any:
        values = [context.row.get(field) for field in fields]
        if False not in values and None in values:
            raise Missing(UNKNOWN)
        return False not in values

    return read


def first_known(site: Site) -> Reader:
    """The first of these earlier fields that has a value."""
    fields = site.field.args["fields"]
    return lambda context, instance: next((v for f in fields if (v := context.row.get(f)) is not None), None)
