"""`rmm alerts`: what is wrong now, and what was; who did what about it; why somebody was told or not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from rmm.cli.acting import COMMANDS, parsed
from rmm.cli.options import Config, Output, checked_output, open_app, time_of
from rmm.cli.printing import ago, clean, show
from rmm.errors import ConfigError

if TYPE_CHECKING:
    from rmm.app import App
    from rmm.model.rule import Alert

app = typer.Typer(rich_markup_mode=None, invoke_without_command=True, help="What is wrong now, and what was.")

COLUMNS = {
    "number": "NO", "severity": "SEVERITY", "state": "STATE", "name": "ENDPOINT", "summary": "WHAT", "count": "COUNT",
    "since": "SINCE", "last": "LAST", "incident": "INCIDENT", "note": "NOTE",
}  # fmt: skip
STATES = ("pending", "firing", "acknowledged", "resolved", "archived")

Number = Annotated[int, typer.Argument(help="The alert's number.")]


class Wanted(NamedTuple):
    """What a list shows."""

    state: str = ""
    severity: str = ""
    site: str = ""
    group: str = ""
    endpoint: str = ""
    rule: str = ""
    match: tuple[str, ...] = ()


@app.callback()
def alerts(context: typer.Context, config: Config = None) -> None:
    """What is wrong now, and what was. Without a command: the list."""
    if context.invoked_subcommand is None:
        _list(config, Wanted(), 0, "table")


@app.command("list")
def list_alerts(
    config: Config = None,
    state: Annotated[
        str,
        typer.Option(help="pending, firing, acknowledged, resolved or archived; without: firing and acknowledged."),
    ] = "",
    severity: Annotated[str, typer.Option(help="critical or warning.")] = "",
    site: Annotated[str, typer.Option(help="Only this site.")] = "",
    group: Annotated[str, typer.Option(help="Only endpoints of this group.")] = "",
    endpoint: Annotated[str, typer.Option(help="Only this endpoint.")] = "",
    rule: Annotated[str, typer.Option(help="Only this rule.")] = "",
    match: Annotated[
        list[str] | None,
        typer.Option("--match", metavar="LABEL=VALUE", help="Only what every matcher fits: = != =~ !~."),
    ] = None,
    most: Annotated[int, typer.Option(min=0, help="At most so many rows; 0: all.")] = 0,
    output: Output = "table",
) -> None:
    """List alerts, critical ones first."""
    _list(config, Wanted(state, severity, site, group, endpoint, rule, tuple(match or ())), most, output)


def _list(config: Path | None, wanted: Wanted, most: int, output: str) -> None:
    checked_output(output)
    if wanted.state and wanted.state not in STATES:
        raise ConfigError(f"--state {wanted.state}: there are {', '.join(STATES)}")
    if wanted.severity not in ("", "critical", "warning"):
        raise ConfigError(f"--severity {wanted.severity}: there are critical and warning")
    found = _found(open_app(config), wanted)
    found.sort(key=lambda alert: (alert["severity"] != "critical", alert["name"], alert["key"]))
    rows = [
        {**alert, "since": ago(alert["first_at"]), "last": ago(alert["last_at"]), "note": _note(alert)}
        for alert in found
    ]
    show(rows[:most] if most else rows, COLUMNS, output, empty="no alerts")
    if most and len(rows) > most and output == "table":
        print(f"... and {len(rows) - most} more; --most 0 shows all")


def _found(application: App, wanted: Wanted) -> list[dict[str, Any]]:
    from rmm.core.alerting.silences import all_fit, labels_of
    from rmm.tiers.fleet_sqlite import FleetFile

    if wanted.site:
        application.known_site(wanted.site)
    endpoint = application.targets.endpoint(wanted.endpoint).id if wanted.endpoint else ""
    file = FleetFile(application.fleet)
    found = file.alerts(states=(wanted.state,) if wanted.state else (), endpoint=endpoint)
    equal = {"severity": wanted.severity, "site": wanted.site, "rule": wanted.rule}
    found = [one for one in found if all(value in ("", one[name]) for name, value in equal.items())]
    if not wanted.group and not wanted.match:
        return found
    context, matchers = application.alert_context(), parsed(list(wanted.match))
    whole = file.numbered([one["number"] for one in found])

    def fits(alert: Alert) -> bool:
        place = context.place(alert)
        return wanted.group.casefold() in ("", place.group.casefold()) and all_fit(matchers, labels_of(alert, place))

    return [one for one in found if fits(whole[one["number"]])]


def _note(alert: Mapping[str, Any]) -> str:
    """Who is at it, or why nobody is told."""
    if alert["state"] == "acknowledged" and (ack := alert.get("ack")):
        return f"acknowledged by {ack['who']}" + (f": {ack['reason']}" if ack["reason"] else "")
    if alert["state"] in ("pending", "firing") and (why := alert.get("suppressed")):
        return f"not told: {why['reason']}"
    return str(alert.get("ended") or "")


@app.command("show")
def show_alert(number: Number, config: Config = None, output: Output = "table") -> None:
    """Show one alert."""
    from rmm.tiers.fleet_sqlite import FleetFile

    checked_output(output)
    alert = FleetFile(open_app(config).fleet).alert(number)
    if alert is None:
        raise _unknown(number)
    if output != "table":
        print(json.dumps(alert, ensure_ascii=False))
        return
    for name, value in alert.items():
        print(f"{name.ljust(12)} {clean(json.dumps(value) if isinstance(value, dict) else value)}")


@app.command()
def explain(number: Number, config: Config = None, output: Output = "table") -> None:
    """Say step by step why an alert fired, whom it was told to or why nobody was, and what it waits for."""
    from rmm.core.alerting.explain import Known, steps
    from rmm.tiers.fleet_sqlite import FleetFile

    checked_output(output)
    application = open_app(config)
    file = FleetFile(application.fleet)
    alert = file.numbered([number]).get(number)
    if alert is None:
        raise _unknown(number)
    rule = next((one for one in application.rules if one.id == alert.rule), None)
    until = alert.resolved_at or datetime.now(UTC)
    known = Known(
        alert, rule, file.incidents([alert.incident]).get(alert.incident),
        [one for one in file.suppressed(alert.first_at, key=alert.key) if one.at <= until],
        [one for one in file.acts(key=alert.key, since=alert.first_at) if one.at <= until],
        file.told_of(alert.incident) if alert.incident else [],
    )  # fmt: skip
    rows = [
        {"at": step.at.isoformat(timespec="seconds") if step.at else "now", "step": step.text}
        for step in steps(known, application.settings.alerts, datetime.now(UTC))
    ]
    show(rows, {"at": "AT", "step": "WHAT"}, output)


@app.command()
def log(
    config: Config = None,
    what: Annotated[
        str, typer.Option(help="told (to which channel, and what became of it), untold (and why), acts (who did what).")
    ] = "told",
    since: Annotated[str, typer.Option(help="Only what was not told since: 24h, 7d, or an ISO time.")] = "",
    most: Annotated[int, typer.Option(min=1, help="At most so many rows.")] = 50,
    output: Output = "table",
) -> None:
    """What was told, what was not told and why, or what people did; newest first."""
    checked_output(output)
    application = open_app(config)
    if what not in _LOGS:
        raise ConfigError(f"--what {what}: there are {', '.join(_LOGS)}")
    columns, empty = _LOGS[what]
    show(_logged(application, what, time_of(since) if since else None, most), columns, output, empty=empty)


_LOGS = {
    "told": (
        {"at": "AT", "channel": "CHANNEL", "id": "NOTIFICATION", "sent_at": "SENT", "attempts": "TRIES",
         "result": "RESULT"},
        "nothing was told yet",
    ),
    "untold": (
        {"at": "AT", "kind": "WHY", "severity": "SEVERITY", "site": "SITE", "endpoint": "ENDPOINT", "summary": "WHAT",
         "reason": "REASON", "until": "UNTIL"},
        "nothing was kept back",
    ),
    "acts": (
        {"at": "AT", "who": "WHO", "what": "DID", "key": "ALERT", "reason": "REASON", "detail": "DETAIL"},
        "nobody did anything yet",
    ),
}  # fmt: skip


def _logged(application: App, what: str, since: datetime | None, most: int) -> list[dict[str, Any]]:
    from rmm.tiers.fleet_sqlite import FleetFile

    file = FleetFile(application.fleet)
    if what == "told":
        return file.notifications(most)
    if what == "acts":
        return [
            {"at": one.at.isoformat(timespec="seconds"), "who": one.who, "what": one.what, "key": one.key,
             "reason": one.reason, "detail": one.detail}
            for one in file.acts(most=most)
        ]  # fmt: skip
    return [
        {"at": one.at.isoformat(timespec="seconds"), "kind": one.why.kind, "severity": one.severity, "site": one.site,
         "endpoint": one.endpoint, "rule": one.rule, "key": one.key, "summary": one.summary, "reason": one.why.reason,
         "until": one.why.until.isoformat(timespec="seconds") if one.why.until else ""}
        for one in file.suppressed(since, most=most)
    ]  # fmt: skip


def _unknown(number: int) -> ConfigError:
    return ConfigError(f"there is no alert {number}", hint="`rmm alerts list` shows their numbers.")


for _name, _command in COMMANDS.items():
    app.command(_name)(_command)
