"""Executive summary: one page on the whole fleet, for people who do not run commands."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Any

from rmm.core.health import fleet_score
from rmm.ports import FleetReader
from rmm.reports.safe import html_page, when

COLOURS = {
    "Healthy": "#2e8b57", "Warning": "#d99a1c", "Critical": "#c8453b", "Offline": "#6a4c93", "Unknown": "#9aa7b3",
    "OK": "#2e8b57", "PARTIAL": "#d99a1c",
}  # fmt: skip
BAD, BLUE = "#c8453b", "#2f6fab"
MOST_BARS, MOST_PROBLEMS = 8, 15

Row = dict[str, Any]


class Executive:
    """`ports.Report`."""

    name = "executive"
    title = "Executive summary"
    formats = ("html",)

    def render(self, fleet: FleetReader, format: str, *, now: datetime) -> bytes:
        """The page."""
        rows, alerts = fleet.endpoints(), fleet.alerts()
        words = Counter(row["health_status"] for row in rows)
        severities = Counter(alert["severity"] for alert in alerts)
        statuses = Counter(row["status"] or "never polled" for row in rows)
        systems = Counter(str(row["facts"].get("os", "unknown")).removeprefix("Microsoft ") for row in rows)
        rules = Counter(alert["rule"] for alert in alerts)
        problems = sorted(alerts, key=lambda alert: (alert["severity"] != "critical", alert["first_at"]))
        return html_page(
            "executive.html.j2",
            title=self.title,
            made=when(now),
            scope="",
            total=len(rows),
            score=_score(rows),
            known=sum(row["health_status"] != "Unknown" for row in rows),
            reachable=sum(row["status"] in ("OK", "PARTIAL") for row in rows),
            critical=severities["critical"],
            warnings=severities["warning"],
            health=[
                (word, words[word], COLOURS[word]) for word in ("Healthy", "Warning", "Critical", "Offline", "Unknown")
            ],
            statuses=[(word, count, COLOURS.get(word, BAD)) for word, count in statuses.most_common(MOST_BARS)],
            systems=[(name, count, BLUE) for name, count in systems.most_common(MOST_BARS)],
            rules=[(name.replace("_", " "), count, "#d99a1c") for name, count in rules.most_common(MOST_BARS)],
            volumes=_top(rows, "volumes_max_pct"),
            processors=_top(rows, "cpu_pct"),
            problems=problems[:MOST_PROBLEMS],
            sites=_sites(rows, alerts),
        )


def _score(rows: list[Row]) -> int | None:
    return fleet_score(row["health"] for row in rows if row["health_status"] != "Unknown")


def _top(rows: list[Row], fact: str) -> list[tuple[str, float, str]]:
    found = [
        (row["name"], float(row["facts"][fact])) for row in rows if isinstance(row["facts"].get(fact), int | float)
    ]
    found.sort(key=lambda item: -item[1])
    return [
        (name, value, BAD if value >= 90 else "#d99a1c" if value >= 80 else BLUE) for name, value in found[:MOST_BARS]
    ]


def _sites(rows: list[Row], alerts: list[Row]) -> list[Row]:
    counts = Counter(alert["site"] for alert in alerts)
    listed = []
    for site in sorted({row["site"] for row in rows}):
        own = [row for row in rows if row["site"] == site]
        failed = sum(row["status"] not in ("OK", "PARTIAL") for row in own)
        listed.append({"site": site, "total": len(own), "score": _score(own), "failed": failed, "alerts": counts[site]})
    return listed


def build() -> Executive:
    """The plugin entry."""
    return Executive()
