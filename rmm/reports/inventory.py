"""Device inventory: one row per endpoint."""

from __future__ import annotations

from rmm.model.report import Asked, Document, Figures
from rmm.reports.making import EVERYONE, NAME, SITE, Asker, column, document, grouped, listed
from rmm.reports.sources import Sources

COLUMNS = (
    NAME,
    SITE,
    column("endpoint.group", "Group", paper=False),
    column("endpoint.tags", "Tags", paper=False),
    column("endpoint.address", "Address", paper=False),
    column("endpoint.status", "Status", "mood"),
    column("endpoint.health", "Health", "number"),
    column("os.caption", "Operating system"),
    column("os.feature_release", "Release", paper=False),
    column("os.build", "Build", "number", paper=False),
    column("os.architecture", "Architecture", paper=False),
    column("os.domain", "Domain", paper=False),
    column("hardware.manufacturer", "Manufacturer", paper=False),
    column("hardware.model", "Model"),
    column("hardware.serial", "Serial number"),
    column("hardware.asset_tag", "Asset tag", paper=False),
    column("hardware.uuid", "UUID", paper=False),
    column("hardware.chassis", "Chassis", paper=False),
    column("hardware.cpu_model", "Processor", paper=False),
    column("hardware.cpu_cores", "Cores", "number"),
    column("hardware.memory_b", "Memory", "bytes"),
    column("hardware.disk_b", "Disks", "bytes", paper=False),
    column("hardware.bios_version", "Firmware", paper=False),
    column("os.install_date", "Installed", "time", paper=False),
    column("endpoint.observed_at", "Observed", "time", paper=False),
)


class Inventory:
    """`sources.Report`."""

    name = "inventory"
    title = "Device inventory"

    def compose(self, fleet: Sources, asked: Asked) -> Document:
        """All endpoints of the list, polled or not."""
        ask = Asker(fleet, asked, {
            "all": EVERYONE,
            "never": "endpoint.status is null",
            "virtual": 'hardware.model ~ "virtual" or hardware.model ~ "vmware" or hardware.model ~ "kvm"',
            "systems": grouped(EVERYONE, "os.caption"),
            "models": grouped("hardware.model is not null", "hardware.model"),
            "list": listed(EVERYONE, *(one.key for one in COLUMNS), sort=("endpoint.site", "endpoint.name")),
        })  # fmt: skip
        return document(
            self, asked,
            Figures(items=(
                ask.figure("all", "endpoints"), ask.figure("never", "never polled", "warn"),
                ask.figure("virtual", "virtual machines"),
            )),
            ask.bars("systems", "Operating systems", "os.caption"),
            ask.bars("models", "Models", "hardware.model"),
            ask.table("list", "Endpoints", COLUMNS, main=True),
        )  # fmt: skip


def build() -> Inventory:
    """The plugin entry."""
    return Inventory()
