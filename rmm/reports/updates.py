"""Update compliance: how old the installed updates are, and what is missing."""

from __future__ import annotations

from rmm.model.report import Asked, Bar, Bars, Document, Figures, Text
from rmm.reports.making import EVERYONE, NAME, SITE, Asker, column, document, grouped, listed
from rmm.reports.sources import Sources

CURRENT, OLD = 35, 65  # days: one monthly update may be missing, two may not
AGES = (
    ("fresh", f"up to {CURRENT} days", f"updates.lcu_age_d <= {CURRENT}", "good"),
    ("late", f"{CURRENT} to {OLD} days", f"updates.lcu_age_d > {CURRENT} and updates.lcu_age_d <= {OLD}", "warn"),
    ("old", f"more than {OLD} days", f"updates.lcu_age_d > {OLD}", "bad"),
    ("unread", "not known", "updates.lcu_age_d is null", "none"),
)
COLUMNS = (
    NAME,
    SITE,
    column("os.caption", "Operating system"),
    column("updates.build", "Build", "number", paper=False),
    column("updates.ubr", "Revision", "number", paper=False),
    column("updates.last_lcu", "Newest cumulative update", "time"),
    column("updates.lcu_age_d", "Its age, days", "number"),
    column("missing_updates.missing", "Missing", "number"),
    column("missing_updates.security_updates", "Security", "number"),
    column("missing_updates.critical", "Critical", "number"),
    column("missing_updates.oldest_security_age_d", "Oldest security, days", "number", paper=False),
    column("pending_reboot.pending", "Reboot pending"),
    column("updates.last_scan", "Last search", "time", paper=False),
    column("updates.scan_failed", "Search failed", paper=False),
    column("updates.install_failed", "Installation failed", paper=False),
    column("updates.wsus_server", "Update server", paper=False),
)


class Updates:
    """`sources.Report`."""

    name = "updates"
    title = "Update compliance"

    def compose(self, fleet: Sources, asked: Asked) -> Document:
        """The state of the last readings: the span of the report plays no part."""
        ask = Asker(fleet, asked, {
            **{key: condition for key, _, condition, _ in AGES},
            "security": "missing_updates.security_updates > 0 or missing_updates.critical > 0",
            "pending": "pending_reboot.pending",
            "failed": "updates.install_failed",
            "search": "updates.scan_failed",
            "off": "updates.automatic_off",
            "releases": grouped("updates.build is not null", "os.caption", "updates.feature_release", "updates.build"),
            "list": listed(EVERYONE, *(one.key for one in COLUMNS), sort=("-updates.lcu_age_d",)),
        })  # fmt: skip
        ages = tuple(Bar(label=label, value=ask.count(key), mood=mood) for key, label, _, mood in AGES)
        return document(
            self, asked,
            Figures(title="How old the newest cumulative update is",
                    items=tuple(ask.figure(key, label, mood if key == "old" else "") for key, label, _, mood in AGES)),
            Figures(title="What needs attention", items=(
                ask.figure("security", "endpoints that lack security updates", "bad"),
                ask.figure("pending", "endpoints that wait for a restart", "warn"),
                ask.figure("failed", "endpoints whose last installation failed", "bad"),
                ask.figure("search", "endpoints whose last search failed", "warn"),
                ask.figure("off", "endpoints with automatic updates off by policy"),
            )),
            Bars(title="The same as bars", bars=ages, unit="endpoints"),
            ask.table("releases", "Releases", (
                column("os.caption", "Operating system"), column("updates.feature_release", "Release"),
                column("updates.build", "Build", "number"), column("endpoints", "Endpoints", "number"),
            )),
            ask.table("list", "Endpoints, oldest first", COLUMNS, main=True),
            Text(text="What is missing is known where the scan of missing updates is set up (docs/missing-updates.md); "
                      "an empty cell is not known, and never counted as good."),
        )  # fmt: skip


def build() -> Updates:
    """The plugin entry."""
    return Updates()
