"""Device inventory: one row per endpoint."""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from rmm.ports import FleetReader
from rmm.reports.safe import csv_bytes, text_of

FACTS = {
    "os": "Operating system", "os_build": "Build", "domain": "Domain", "manufacturer": "Manufacturer", "model": "Model",
    "serial": "Serial number", "uuid": "UUID", "cpu_model": "Processor", "cpu_cores": "Cores",
    "memory_gb": "Memory GB", "volumes_max_pct": "Fullest volume %", "software": "Programs", "uptime_days": "Up days",
    "pending_reboot": "Reboot pending",
}  # fmt: skip
HEADINGS = ("Endpoint", "Name", "Site", "Status", "Health", "Observed", *FACTS.values())


class Inventory:
    """`ports.Report`."""

    name = "inventory"
    title = "Device inventory"
    formats = ("xlsx", "csv")

    def render(self, fleet: FleetReader, format: str, *, now: datetime) -> bytes:
        """All endpoints by name."""
        rows = sorted(fleet.endpoints(), key=lambda row: (row["site"], row["name"]))
        cells = [list(_cells(row)) for row in rows]
        return csv_bytes(HEADINGS, cells) if format == "csv" else _workbook(cells, now)


def _cells(row: dict[str, Any]) -> Iterator[Any]:
    facts = dict(row["facts"])
    if isinstance(facts.get("memory_b"), int | float):
        facts["memory_gb"] = round(facts["memory_b"] / 2**30, 1)
    if isinstance(facts.get("uptime_s"), int | float):
        facts["uptime_days"] = round(facts["uptime_s"] / 86_400, 1)
    yield from (
        row["endpoint"],
        row["name"],
        row["site"],
        row["status"] or "never polled",
        row["health"],
        row["observed_at"],
    )
    for name in FACTS:
        value = facts.get(name)
        yield round(value, 1) if isinstance(value, float) else value


def _workbook(rows: list[list[Any]], now: datetime) -> bytes:
    """Numbers as numbers, everything else as text: nothing that an endpoint wrote is a formula or a link."""
    import xlsxwriter

    data = io.BytesIO()
    options = {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False, "strings_to_numbers": False}
    book = xlsxwriter.Workbook(data, options)
    book.set_properties({"title": "Device inventory", "created": now.replace(tzinfo=None)})
    sheet = book.add_worksheet("inventory")
    bold = book.add_format({"bold": True, "bottom": 1})
    for column, heading in enumerate(HEADINGS):
        sheet.write_string(0, column, heading, bold)
    for number, row in enumerate(rows, start=1):
        for column, cell in enumerate(row):
            if isinstance(cell, int | float) and not isinstance(cell, bool):
                sheet.write_number(number, column, cell)
            else:
                sheet.write_string(number, column, text_of(cell)[:32_000])
    sheet.freeze_panes(1, 2)
    sheet.autofilter(0, 0, max(1, len(rows)), len(HEADINGS) - 1)
    sheet.set_column(0, len(HEADINGS) - 1, 16)
    book.close()
    return data.getvalue()


def build() -> Inventory:
    """The plugin entry."""
    return Inventory()
