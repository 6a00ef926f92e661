"""`rmm status`: the fleet, worst first."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from rmm.cli.options import Config, Output, checked_output, open_app
from rmm.cli.printing import ago, show
from rmm.core.health import fleet_score

app = typer.Typer(rich_markup_mode=None)

COLUMNS = {
    "name": "ENDPOINT", "site": "SITE", "status": "STATUS", "health": "HEALTH", "seen": "OBSERVED",
    "cpu": "CPU %", "memory": "MEM %", "disk": "DISK %", "os": "SYSTEM", "why": "WHY",
}  # fmt: skip


@app.command()
def status(
    config: Config = None,
    site: Annotated[str, typer.Option(help="Only this site.")] = "",
    problems: Annotated[bool, typer.Option("--problems", help="Only endpoints that are not healthy.")] = False,
    most: Annotated[int, typer.Option(min=0, help="At most so many rows in a table; 0: all.")] = 0,
    output: Output = "table",
) -> None:
    """Show the last known state of every endpoint, worst health first."""
    from rmm.tiers.fleet_sqlite import FleetFile

    checked_output(output)
    application = open_app(config)
    if site:
        application.known_site(site)
    rows = FleetFile(application.fleet).endpoints(site=site)
    polled = {row["endpoint"] for row in rows}
    rows += [
        {"endpoint": e.id, "name": e.name, "site": e.site, "status": "", "health": None, "health_status": "Unknown",
         "observed_at": None, "fault_code": "", "hint": "", "reasons": ["never polled"], "facts": {}}
        for e in application.settings.endpoints
        if e.id not in polled and e.enabled and site in ("", e.site)
    ]  # fmt: skip
    summary = summary_of(rows)
    if problems:
        rows = [row for row in rows if row["health_status"] != "Healthy"]
    shown = [line(row) for row in rows]
    if output != "table":
        show(rows if output != "csv" else shown, COLUMNS, output)
        return
    print(summary)
    left = len(shown) - most if most else 0
    show(shown[:most] if most else shown, COLUMNS, output, empty="")
    if left > 0:
        print(f"... and {left} more; --most 0 shows all", file=sys.stderr if not sys.stdout.isatty() else sys.stdout)


def summary_of(rows: list[dict[str, Any]]) -> str:
    """One line on the whole fleet."""
    words: dict[str, int] = {}
    for row in rows:
        words[row["health_status"]] = words.get(row["health_status"], 0) + 1
    score = fleet_score(row["health"] for row in rows if row["health_status"] not in ("Unknown",))
    listed = ", ".join(f"{count} {word}" for word, count in sorted(words.items()))
    text = f"{len(rows)} endpoints: {listed or 'none'}; fleet health {score if score is not None else '-'} of 100"
    unknown = words.get("Unknown", 0)
    return f"{text}, for the {len(rows) - unknown} of which something is known" if unknown else text


def line(row: dict[str, Any]) -> dict[str, Any]:
    """The row as people read it."""
    facts = row["facts"]
    reasons = [row["fault_code"]] if row["fault_code"] else row["reasons"]
    return {
        "name": row["name"],
        "site": row["site"],
        "status": row["status"] or "never polled",
        "health": f"{row['health']} {row['health_status']}" if row["health"] is not None else "Unknown",
        "seen": ago(row["observed_at"]),
        "cpu": _percent(facts.get("cpu_pct")),
        "memory": _percent(facts.get("memory_pct")),
        "disk": _percent(facts.get("volumes_max_pct")),
        "os": str(facts.get("os", "")).removeprefix("Microsoft "),
        "why": "; ".join(reasons[:2])[:90],
    }


def _percent(value: Any) -> str:
    return f"{value:.0f}" if isinstance(value, int | float) else ""
