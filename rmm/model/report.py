"""A report as data: `Asked`, and a `Document` of blocks, which every format is made of."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What a report is about: a span of time, and all endpoints or those of a site or group."""

    now: datetime
    since: datetime
    until: datetime
    site: str = ""
    group: str = ""

    @property
    def scope(self) -> str:
        """In words."""
        parts = [f"{word} {value}" for word, value in (("site", self.site), ("group", self.group)) if value]
        return ", ".join(parts) or "whole fleet"


class Figure(msgspec.Struct, frozen=True, kw_only=True, tag="figure"):
    """One number and the command that gives it. `mood`: good, warn, bad or empty."""

    label: str
    value: Any
    unit: str = ""
    mood: str = ""
    command: str = ""


class Figures(msgspec.Struct, frozen=True, kw_only=True, tag="figures"):
    """Numbers side by side."""

    title: str = ""
    items: tuple[Figure, ...] = ()


class Column(msgspec.Struct, frozen=True, kw_only=True):
    """`kind`: text, number, bytes, percent, time, command, or mood (a text with a colour).

    `paper`: false for what HTML and PDF have no room for; the other formats have it.
    """

    key: str
    heading: str
    kind: str = "text"
    paper: bool = True


class Table(msgspec.Struct, frozen=True, kw_only=True, tag="table"):
    """Rows with a value for each column. `command` gives the same rows; `note` says what a reader must know.

    `main`: it is what the report is, where a format holds one table only (CSV).
    """

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Any, ...], ...]
    command: str = ""
    note: str = ""
    main: bool = False


class Bar(msgspec.Struct, frozen=True, kw_only=True):
    """One bar. `mood` as of a Figure."""

    label: str
    value: float
    mood: str = ""


class Bars(msgspec.Struct, frozen=True, kw_only=True, tag="bars"):
    """A chart of bars; `top` is the value of a full one, by default the largest."""

    title: str
    bars: tuple[Bar, ...]
    unit: str = ""
    top: float = 0.0
    command: str = ""


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a chart; None where nothing is known."""

    name: str
    values: tuple[float | None, ...]


class Lines(msgspec.Struct, frozen=True, kw_only=True, tag="lines"):
    """A chart over days: each line has a value for each of `days` (ISO)."""

    title: str
    days: tuple[str, ...]
    lines: tuple[Line, ...]
    unit: str = ""
    top: float = 0.0
    command: str = ""


class Text(msgspec.Struct, frozen=True, kw_only=True, tag="text"):
    """A paragraph of our own words."""

    text: str


Block = Figures | Table | Bars | Lines | Text


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """A whole report."""

    name: str
    title: str
    asked: Asked
    blocks: tuple[Block, ...]
    schema: int = 1


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """A query as `rmm query` takes it; without columns its answer is how many rows of how many endpoints."""

    condition: str
    columns: tuple[str, ...] = ()
    sort: tuple[str, ...] = ()
    count: bool = False
