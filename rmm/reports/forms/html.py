"""HTML that prints: one file, charts as inline SVG, no script, nothing from elsewhere."""

from __future__ import annotations

import re
from typing import Any

from rmm.model.report import Document
from rmm.reports.forms.displayed import displayed

_LONG = re.compile(r"\S{16}")
COLOURS = ("#2f6fab", "#c8453b", "#2e8b57", "#d99a1c", "#6a4c93", "#4d908e", "#8d5524", "#5b6b7b")
MOODS = {"good": "#2e8b57", "warn": "#d99a1c", "bad": "#c8453b", "off": "#6a4c93", "none": "#9aa7b3", "": "#2f6fab"}
WIDTH, HEIGHT = 560, 170  # of a chart of lines, without its edge


def render(document: Document) -> bytes:
    """A template of ours, everything else escaped; its own policy forbids scripts and requests."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("rmm.reports"), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["points"] = _points
    environment.filters["broken"] = _broken
    values: dict[str, Any] = displayed(document)
    return environment.get_template("document.html.j2").render(**values, colours=COLOURS, moods=MOODS).encode()


def _broken(text: str) -> Any:
    """Escaped, with places where a long word may be broken; short ones stay whole."""
    import markupsafe

    if not _LONG.search(text):
        return markupsafe.escape(text)
    chunks = [text[at : at + 8] for at in range(0, len(text), 8)]
    return markupsafe.Markup("<wbr>").join(chunks)


def _points(run: list[list[float]]) -> str:
    return " ".join(f"{x * WIDTH:.1f},{(1 - y) * HEIGHT:.1f}" for x, y in run)
