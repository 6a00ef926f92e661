"""JSON: the document as it is, with raw values."""

from __future__ import annotations

import msgspec

from rmm.model.report import Document


def render(document: Document) -> bytes:
    """One object; `schema` changes when its form does."""
    return msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n"
