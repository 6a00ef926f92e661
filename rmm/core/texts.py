"""The formulas that make one text of several values, or a part of one. Each builds, once per field, a reader."""

from __future__ import annotations

from typing import Any

from rmm.core import coerce
from rmm.core.context import UNSUPPORTED, Context, Instance, Missing, Reader, Site

BETWEEN = ", "


def joined(site: Site) -> Reader:
    """The items of the property, which is a list, as one text."""
    prop = site.field.prop

    def read(context: Context, instance: Instance) -> Any:
        value = instance.get(prop)
        if value is None:
            return None
        items = value if type(value) is list else [value]  # WS-Enumeration gives a list of one as its item
        texts = [text for item in items[: coerce.MAX_ITEMS] if (text := coerce.text(item)) is not None]
        return BETWEEN.join(texts) or None

    return read


def collected(site: Site) -> Reader:
    """What the instances of the source have in `props` (joined by `between`), each once and sorted, as one text."""
    source, props, between = site.source, site.field.args["props"], site.field.args.get("between", " ")

    def read(context: Context, instance: Instance) -> Any:
        found = context.lists[source]
        if not found and context.reasons[source] != UNSUPPORTED:
            raise Missing(context.reasons[source])
        texts = {between.join(filter(None, (coerce.text(i.get(prop)) for prop in props))) for i in found}
        return BETWEEN.join(sorted(texts - {""})[: coerce.MAX_ITEMS]) or None

    return read


def up_to(site: Site) -> Reader:
    """The property (a text) up to the last `mark`; all of it where there is none."""
    prop, mark = site.field.prop, site.field.args["mark"]

    def read(context: Context, instance: Instance) -> Any:
        value = coerce.text(instance.get(prop))
        return value if value is None or mark not in value else value[: value.rindex(mark)]

    return read


def hresult(site: Site) -> Reader:
    """The property, an error code of 32 bits, as Windows' tools and documentation write it; nothing where it is 0."""
    prop = site.field.prop

    def read(context: Context, instance: Instance) -> Any:
        value = coerce.integer(instance.get(prop))
        return f"0x{value & 0xFFFFFFFF:08X}" if value else None

    return read


def after(site: Site) -> Reader:
    """The property (a text) after the last `mark`; nothing where there is none."""
    prop, mark = site.field.prop, site.field.args["mark"]

    def read(context: Context, instance: Instance) -> Any:
        value = coerce.text(instance.get(prop))
        return None if value is None or mark not in value else value[value.rindex(mark) + len(mark) :]

    return read
