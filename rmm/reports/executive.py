"""Executive summary: two pages on the whole fleet, for people who do not run commands."""

from __future__ import annotations

from collections import Counter

from rmm.core.availability import together
from rmm.core.health import HEALTHY_FROM, WARNING_FROM
from rmm.model.report import Asked, Document, Figure, Figures, Lines, Table
from rmm.reports.making import (
    EVERYONE,
    NAME,
    Asker,
    column,
    counted,
    dates,
    days_command,
    document,
    grouped,
    health_command,
    line,
    listed,
)
from rmm.reports.sources import Sources, command, scope, span

WORDS = {"Healthy": "good", "Warning": "warn", "Critical": "bad", "Offline": "off"}
MOODS = {**WORDS, "OK": "good", "PARTIAL": "warn", "None": "none"}
MOST_PROBLEMS, MOST_VOLUMES = 15, 10
ALERTS = command("alerts", "list", "--output", "json")


class Executive:
    """`sources.Report`."""

    name = "executive"
    title = "Executive summary"

    def compose(self, fleet: Sources, asked: Asked) -> Document:
        """The state now, and how it came to it over the report's time."""
        ask = Asker(fleet, asked, {
            "all": EVERYONE,
            "read": 'endpoint.status in ("OK", "PARTIAL")',
            **{word: f'endpoint.health_status == "{word}"' for word in WORDS},
            "Unknown": 'endpoint.health_status is null or endpoint.health_status == "Unknown"',
            "statuses": grouped(EVERYONE, "endpoint.status"),
            "systems": grouped(EVERYONE, "os.caption"),
            "full": listed("volumes.used_pct >= 80", "endpoint", "volumes.volume", "volumes.used_pct", "volumes.free_b",
                           sort=("-volumes.used_pct",)),
        })  # fmt: skip
        alerts = fleet.alerts(("firing", "acknowledged"))
        problems = sorted(alerts, key=lambda one: (one["severity"] != "critical", one["first_at"], one["key"]))
        rules = Counter(one["rule"].replace("_", " ") for one in alerts)
        return document(
            self, asked,
            Figures(items=_figures(fleet, asked, ask, Counter(one["severity"] for one in alerts))),
            _trend(fleet, asked),
            Figures(title="Health of endpoints", items=(
                *(ask.figure(word, word, mood if word != "Healthy" else "") for word, mood in WORDS.items()),
                ask.figure("Unknown", "Unknown"),
            )),
            _reasons(fleet, asked),
            ask.bars("statuses", "What became of the last poll", "endpoint.status", MOODS),
            ask.bars("systems", "Operating systems", "os.caption"),
            counted("Alerts by rule", rules, ALERTS, mood="warn"),
            Table(title="What needs attention first", columns=_PROBLEMS, command=ALERTS,
                  rows=tuple(tuple(one[c.key] for c in _PROBLEMS) for one in problems[:MOST_PROBLEMS]),
                  note=f"The first {MOST_PROBLEMS} of {len(problems)}." if len(problems) > MOST_PROBLEMS else ""),
            ask.table("full", "Fullest volumes", (
                NAME, column("volumes.volume", "Volume"), column("volumes.used_pct", "Used %", "number"),
                column("volumes.free_b", "Free", "bytes"),
            ), most=MOST_VOLUMES),
            _sites(fleet, asked),
        )  # fmt: skip


_PROBLEMS = (
    column("severity", "Severity", "mood"), column("name", "Endpoint"), column("site", "Site"),
    column("summary", "What"),
    column("first_at", "Since", "time"),
)  # fmt: skip


def _figures(fleet: Sources, asked: Asked, ask: Asker, severities: Counter[str]) -> tuple[Figure, ...]:
    ((_, health),) = fleet.health("fleet")
    percent = together(fleet.uptime(asked.since, asked.until, fleet.gap_s).values()).percent
    uptime = command("uptime", *span(asked), "--gap", f"{fleet.gap_s}s", *scope(asked))
    return (
        ask.figure("all", "endpoints"),
        Figure(label=f"health of 100, for the {health.known} of which something is known", value=health.score,
               mood=_mood(health.score), command=health_command(asked)),
        ask.figure("read", "gave readings at their last poll"),
        Figure(label="uptime of the time that was observed", value=None if percent is None else round(percent, 4),
               unit="%", command=uptime,
               mood="" if percent is None else "good" if percent >= fleet.target_pct else "bad"),
        Figure(label="critical alerts", value=severities["critical"], command=ALERTS,
               mood="bad" if severities["critical"] else "good"),
        Figure(label="warnings", value=severities["warning"], command=ALERTS,
               mood="warn" if severities["warning"] else "good"),
    )  # fmt: skip


def _mood(score: int | None) -> str:
    if score is None:
        return ""
    return "good" if score >= HEALTHY_FROM else "warn" if score >= WARNING_FROM else "bad"


def _trend(fleet: Sources, asked: Asked) -> Lines:
    days, found = dates(asked), fleet.health_days(asked.since, asked.until)
    lines = (line("mean score", days, {one.day: one.score for one in found}),) if found else ()
    return Lines(title="Health by day", days=tuple(days), lines=lines, top=100, command=days_command(asked))


def _reasons(fleet: Sources, asked: Asked) -> Table:
    ((_, health),) = fleet.health("fleet")
    columns = (
        column("what", "What takes points"), column("endpoints", "Endpoints", "number"),
        column("points", "Points of the mean", "number"),
    )  # fmt: skip
    rows = tuple((one.what.replace("_", " "), one.endpoints, one.points) for one in health.reasons[:10])
    return Table(title="What takes health", columns=columns, rows=rows, command=health_command(asked))


def _sites(fleet: Sources, asked: Asked) -> Table:
    columns = (
        column("name", "Site"), column("status", "Status", "mood"), column("score", "Health", "number"),
        column("endpoints", "Endpoints", "number"), column("offline", "Offline", "number"),
        column("critical", "Critical", "number"),
    )  # fmt: skip
    rows = tuple(
        (name, one.status, one.score, one.endpoints, one.words.get("Offline", 0), one.words.get("Critical", 0))
        for name, one in fleet.health("site")
    )
    return Table(title="Sites", columns=columns, rows=rows, command=health_command(asked, "--by", "site"))


def build() -> Executive:
    """The plugin entry."""
    return Executive()
