"""PDF, set by typst: the template is ours, and all data is given to it as JSON, so that none of it is ever markup."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import msgspec

from rmm.errors import RmmError, UnsupportedError
from rmm.model.report import Document
from rmm.reports.forms.displayed import displayed

TEMPLATE = Path(__file__).parent.parent / "templates" / "document.typ"


def render(document: Document) -> bytes:
    """Raises UnsupportedError where typst is not installed, RmmError where it cannot set the document."""
    try:
        import typst
    except ImportError as error:
        raise UnsupportedError(
            "PDF needs typst, which is not installed", code="missing.package",
            hint="pip install 'mytech-rmm[pdf]'.", status="CONFIG",
        ) from error  # fmt: skip
    values: dict[str, Any] = displayed(document)
    with tempfile.TemporaryDirectory(prefix="rmm-report-") as folder:
        # Its own folder is all that the compiler may read.
        (Path(folder) / "document.typ").write_bytes(TEMPLATE.read_bytes())
        (Path(folder) / "data.json").write_bytes(msgspec.json.encode(values))
        try:
            made: bytes = typst.compile(str(Path(folder) / "document.typ"), root=folder)
        except RuntimeError as error:
            raise RmmError(f"the report cannot be set as PDF: {str(error)[:500]}", code="report.pdf") from error
    return made
