"""Software and licences: what is installed on how many endpoints, and how Windows is licensed."""

from __future__ import annotations

from rmm.model.report import Asked, Document, Figures
from rmm.reports.making import NAME, SITE, Asker, column, document, grouped, listed
from rmm.reports.sources import Sources

ENDPOINTS = column("endpoints", "Endpoints", "number")
LACKING = 'os.activation is not null and os.activation not in ("licensed")'


class Software:
    """`sources.Report`."""

    name = "software"
    title = "Software and licences"

    def compose(self, fleet: Sources, asked: Asked) -> Document:
        """By program and version; endpoints are counted, not installations."""
        ask = Asker(fleet, asked, {
            "read": "any(software.id is not null)",
            "lacking": LACKING,
            "publishers": grouped("software.publisher is not null", "software.publisher"),
            "programs": grouped("software.name is not null", "software.name", "software.publisher"),
            "versions": grouped("software.name is not null", "software.name", "software.version", "software.publisher"),
            "licences": grouped("os.caption is not null", "os.caption", "os.licence_channel", "os.activation"),
            "unlicensed": listed(LACKING, "endpoint", "endpoint.site", "os.caption", "os.licence_channel",
                                 "os.activation", "os.partial_key"),
        })  # fmt: skip
        programs = ask.rows("programs")
        return document(
            self, asked,
            Figures(items=(
                ask.figure("read", "endpoints whose software is known"),
                ask.figure("lacking", "endpoints whose Windows is not activated", "bad"),
            )),
            ask.bars("publishers", "Publishers on the most endpoints", "software.publisher"),
            ask.table("licences", "Windows licences", (
                column("os.caption", "Operating system"), column("os.licence_channel", "Channel"),
                column("os.activation", "Activation"), ENDPOINTS,
            ), note="Empty where Windows says nothing, and on other systems."),
            ask.table("unlicensed", "Windows that is not activated", (
                NAME, SITE, column("os.caption", "Operating system"), column("os.licence_channel", "Channel"),
                column("os.activation", "Activation"), column("os.partial_key", "End of key"),
            )),
            ask.table("programs", "Programs", (
                column("software.name", "Program"), column("software.publisher", "Publisher"), ENDPOINTS,
            ), most=100, note=f"{len(programs)} programs." if programs else ""),
            ask.table("versions", "Programs by version", (
                column("software.name", "Program"), column("software.version", "Version"),
                column("software.publisher", "Publisher"), ENDPOINTS,
            ), main=True),
        )  # fmt: skip


def build() -> Software:
    """The plugin entry."""
    return Software()
