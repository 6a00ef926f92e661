"""`rmm alerts`: what is wrong now, and what was."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from rmm.cli.options import Config, Output, checked_output, open_app
from rmm.cli.printing import ago, clean, show
from rmm.errors import ConfigError

app = typer.Typer(rich_markup_mode=None, invoke_without_command=True, help="What is wrong now, and what was.")

COLUMNS = {
    "number": "NO", "severity": "SEVERITY", "state": "STATE", "name": "ENDPOINT", "summary": "WHAT", "count": "COUNT",
    "since": "SINCE", "last": "LAST",
}  # fmt: skip
STATES = ("pending", "firing", "acknowledged", "resolved")


@app.callback()
def alerts(context: typer.Context, config: Config = None) -> None:
    """What is wrong now, and what was. Without a command: the list."""
    if context.invoked_subcommand is None:
        _list(config, "", "", 0, "table")


@app.command("list")
def list_alerts(
    config: Config = None,
    state: Annotated[
        str, typer.Option(help="pending, firing, acknowledged or resolved; without: firing and acknowledged.")
    ] = "",
    endpoint: Annotated[str, typer.Option(help="Only this endpoint.")] = "",
    most: Annotated[int, typer.Option(min=0, help="At most so many rows; 0: all.")] = 0,
    output: Output = "table",
) -> None:
    """List alerts, critical ones first."""
    _list(config, state, endpoint, most, output)


def _list(config: object, state: str, endpoint: str, most: int, output: str) -> None:
    from rmm.tiers.fleet_sqlite import FleetFile

    checked_output(output)
    if state and state not in STATES:
        raise ConfigError(f"--state {state}: there are {', '.join(STATES)}")
    application = open_app(config)  # type: ignore[arg-type]
    wanted = application.targets.endpoint(endpoint).id if endpoint else ""
    found = FleetFile(application.data).alerts(states=(state,) if state else (), endpoint=wanted)
    found.sort(key=lambda alert: (alert["severity"] != "critical", alert["name"], alert["key"]))
    rows = [{**alert, "since": ago(alert["first_at"]), "last": ago(alert["last_at"])} for alert in found]
    show(rows[:most] if most else rows, COLUMNS, output, empty="no alerts")
    if most and len(rows) > most and output == "table":
        print(f"... and {len(rows) - most} more; --most 0 shows all")


@app.command("show")
def show_alert(
    number: Annotated[int, typer.Argument(help="The alert's number.")], config: Config = None, output: Output = "table"
) -> None:
    """Show one alert."""
    from rmm.tiers.fleet_sqlite import FleetFile

    checked_output(output)
    for alert in FleetFile(open_app(config).data).alerts(states=STATES):
        if alert["number"] == number:
            if output == "table":
                for name, value in alert.items():
                    print(f"{name.ljust(12)} {clean(value)}")
            else:
                print(json.dumps(alert, ensure_ascii=False))
            return
    raise ConfigError(f"there is no alert {number}", hint="`rmm alerts list` shows their numbers.")


@app.command()
def log(
    config: Config = None,
    most: Annotated[int, typer.Option(min=1, help="At most so many rows.")] = 50,
    output: Output = "table",
) -> None:
    """What was told to which channel, and what became of it; newest first."""
    from rmm.tiers.fleet_sqlite import FleetFile

    columns = {
        "at": "AT",
        "channel": "CHANNEL",
        "id": "NOTIFICATION",
        "sent_at": "SENT",
        "attempts": "TRIES",
        "result": "RESULT",
    }
    show(
        FleetFile(open_app(config).data).notifications(most),
        columns,
        checked_output(output),
        empty="nothing was told yet",
    )
