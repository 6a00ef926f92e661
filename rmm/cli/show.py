"""`rmm show ENDPOINT`: everything known of one endpoint."""

from __future__ import annotations

import json
from typing import Annotated, Any

import msgspec
import typer

from rmm.cli.options import Config, Output, checked_output, open_app
from rmm.cli.printing import ago, clean, csv_text, table
from rmm.errors import ConfigError

app = typer.Typer(rich_markup_mode=None)

MOST_ROWS = 20


@app.command()
def show(
    endpoint: Annotated[str, typer.Argument(help="Id or name.")],
    config: Config = None,
    collector: Annotated[str, typer.Option(help="Only this collector, with all of its rows.")] = "",
    output: Output = "table",
) -> None:
    """Show the last reading of every collector of one endpoint, its alerts and its faults."""
    from rmm.tiers import hot_json
    from rmm.tiers.fleet_sqlite import FleetFile

    checked_output(output)
    application = open_app(config)
    wanted = application.targets.endpoint(endpoint)
    if collector and collector not in application.catalog:
        raise ConfigError(f"there is no collector {collector!r}", hint="See `rmm collector list`.")
    state = hot_json.read_endpoint(application.data, wanted.site, wanted.id)
    alerts = FleetFile(application.fleet).alerts(endpoint=wanted.id)
    if state is None:
        document: dict[str, Any] = {"endpoint": wanted.id, "name": wanted.name, "site": wanted.site, "status": None}
    else:
        document = _document(msgspec.json.decode(msgspec.json.encode(state)))
    document["alerts"] = alerts
    if collector:
        document["collectors"] = {k: v for k, v in document.get("collectors", {}).items() if k == collector}
    if output in ("json", "ndjson"):
        print(json.dumps(document, ensure_ascii=False, indent=1 if output == "json" else None, default=str))
    elif output == "csv":
        _csv(document)
    else:
        _people(document, whole=bool(collector))


def _document(state: dict[str, Any]) -> dict[str, Any]:
    """The stored state without what only the next poll needs."""
    for name, known in state["collectors"].items():
        result = known["result"] or {}
        state["collectors"][name] = {
            "at": known["at"], "attempted_at": known["attempted_at"], "fault": known["fault"],
            "deferred_at": known["deferred_at"], "gather_ms": result.get("gather_ms"), "bytes": result.get("bytes"),
            "outcome": result.get("outcome"), "readings": result.get("readings", []), "notes": result.get("notes", {}),
        }  # fmt: skip
    return state


def _csv(document: dict[str, Any]) -> None:
    rows = [
        {"collector": name, "row": number, "field": field, "value": value}
        for name, part in document.get("collectors", {}).items()
        for number, row in enumerate(part["readings"])
        for field, value in row.items()
    ]
    print(csv_text(rows, ["collector", "row", "field", "value"]), end="")


def _people(document: dict[str, Any], *, whole: bool) -> None:
    print(clean(f"{document['name']} ({document['endpoint']}), site {document['site']}"))
    if document["status"] is None:
        print("never polled; `rmm poll --endpoint` polls it alone")
        return
    print(clean(f"{document['status']}, {ago(document['observed_at'])}, in {document['duration_s']:.2f} s"))
    if document.get("fault"):
        fault = document["fault"]
        print(clean(f"fault {fault['code']}: {fault.get('message', '')}"))
        print(clean(f"  fix: {fault.get('hint', '')}"))
        _sample(fault)
    if spent := spent_on(document["telemetry"]):
        print(clean(spent))
    for alert in document["alerts"]:
        print(clean(f"{alert['severity']}: {alert['summary']}"))
    _collectors(document.get("collectors", {}), whole=whole)


def _collectors(parts: dict[str, Any], *, whole: bool) -> None:
    """Each with its readings; those that the endpoint lacks in one line, unless one was asked for."""
    lacking = []
    for name, part in sorted(parts.items()):
        if part["outcome"] == "unsupported" and not part["readings"] and not whole:
            lacking.append(name)
            continue
        print()
        cost = f", {part['gather_ms']:.0f} ms there, {part['bytes']} bytes" if part["bytes"] else ""
        print(clean(f"[{name}] {part['outcome'] or 'no reading yet'}, {ago(part['at'])}{cost}"))
        if part["deferred_at"]:
            print(clean(f"  did not fit into the poll {ago(part['deferred_at'])}; it comes first in the next one"))
        if part["fault"]:
            print(clean(f"  fault {part['fault']['code']}: {part['fault'].get('message', '')}"))
            _sample(part["fault"])
        print_readings(part["readings"], whole=whole)
        for field, note in part["notes"].items():
            print(clean(f"  {field}: {note}"))
    if lacking:
        print(f"\nnot on this endpoint: {', '.join(lacking)} (--collector NAME says why)")


def _sample(fault: dict[str, Any]) -> None:
    if fault.get("sample"):
        print(clean(f"  it begins, scrubbed: {fault['sample']}"))


def spent_on(telemetry: dict[str, float]) -> str:
    """What a poll cost, in one line; empty where nothing was measured."""
    sums = [("requests", "requests", 1), ("bytes_in", "kB in", 1000), ("bytes_out", "kB out", 1000)]
    steps = [("connect_ms", "connect"), ("auth_ms", "logon"), ("open_ms", "shell")]
    told = [f"{telemetry[key] / by:.0f} {what}" for key, what, by in sums if key in telemetry]
    told += [f"{what} {telemetry[key]:.0f} ms" for key, what in steps if key in telemetry]
    return ", ".join(told)


def print_readings(rows: list[dict[str, Any]], *, whole: bool) -> None:
    """Rows as a table, one row as a list."""
    if len(rows) == 1:
        width = max(len(field) for field in rows[0])
        for field, value in rows[0].items():
            print(clean(f"  {field.ljust(width)}  {clean(value)}"))
    elif rows:
        shown = rows if whole else rows[:MOST_ROWS]
        table(shown, {field: field for field in rows[0]})
        if len(shown) < len(rows):
            print(f"  ... and {len(rows) - len(shown)} more; --collector shows all")
