"""`rmm maintenance`: the windows in which nothing is told."""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from typing import TYPE_CHECKING, Annotated, Any
from zoneinfo import ZoneInfo

import typer

from rmm.cli.options import Config, Output, checked_output, open_app
from rmm.cli.printing import show
from rmm.errors import ConfigError

if TYPE_CHECKING:
    from rmm.app import App
    from rmm.core.alerting.windows import Span
    from rmm.model.alerting import Window

app = typer.Typer(
    rich_markup_mode=None, no_args_is_help=True, help="Maintenance windows: when nothing is told of what."
)

COLUMNS = {
    "name": "WINDOW", "about": "ABOUT", "timezone": "TIME ZONE", "state": "STATE", "from": "FROM", "until": "UNTIL",
    "reason": "REASON",
}  # fmt: skip


@app.command("list")
def list_windows(config: Config = None, output: Output = "table") -> None:
    """List all windows: those that hold now, and when the others hold next."""
    checked_output(output)
    application, now = open_app(config), datetime.now(UTC)
    rows = [row for window in application.settings.windows for row in _rows(application, window, now)]
    show(rows, COLUMNS, output, empty="no maintenance windows; see docs/alerts.md")


@app.command()
def check(
    config: Config = None,
    at: Annotated[
        str, typer.Option(help="A time such as 2027-03-28T02:30, of this machine's clock or with an offset; now.")
    ] = "",
    endpoint: Annotated[str, typer.Option(help="Only windows that are about this endpoint.")] = "",
    output: Output = "table",
) -> None:
    """Show which windows hold at a time."""
    from rmm.core.alerting.scopes import ScopeIndex, place_of

    checked_output(output)
    application = open_app(config)
    windows = list(application.settings.windows)
    site = ""
    if endpoint:
        one = application.targets.endpoint(endpoint)
        windows, site = list(ScopeIndex([(each, each.scope) for each in windows]).find(place_of(one))), one.site
    rows = [
        row
        for window in windows
        for row in _rows(application, window, _moment(at), site)
        if row["state"] == "holds"
    ]  # fmt: skip
    show(rows, COLUMNS, output, empty="no window holds then")


def _moment(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text) if text else datetime.now(UTC)
    except ValueError as error:
        raise ConfigError(f"--at {text}: is no time", hint="Write 2027-03-28T02:30, or +01:00 behind it.") from error
    return at.astimezone(UTC)


def _rows(application: App, window: Window, at: datetime, site: str = "") -> list[dict[str, Any]]:
    """One row for each time zone in which the window may be read: its own, or those of the sites that it is about."""
    from rmm.core.alerting.windows import holding, upcoming

    rows = []
    for name, zone in _zones(application, window, site).items():
        span, state = holding(window, at, zone), "holds"
        if span is None:
            span, state = upcoming(window, at, zone), "to come"
        rows.append(_row(window, name, zone, span, state if span else "over"))
    return rows


def _zones(application: App, window: Window, site: str) -> dict[str, tzinfo]:
    if window.timezone:
        return {window.timezone: ZoneInfo(window.timezone)}
    sites = [site] if site else window.scope.site or application.settings.sites
    names = {application.settings.sites[one].timezone for one in sites}
    return {name: ZoneInfo(name) for name in sorted(names)}


def _row(window: Window, name: str, zone: tzinfo, span: Span | None, state: str) -> dict[str, Any]:
    scope = window.scope
    about = [f"{kind} {', '.join(getattr(scope, kind))}" for kind in scope.__struct_fields__ if getattr(scope, kind)]
    begins, ends = (at.astimezone(zone).isoformat(timespec="minutes") for at in span) if span else ("", "")
    return {
        "name": window.name, "about": "; ".join(about) or "everything", "timezone": name, "state": state,
        "from": begins, "until": ends, "reason": window.reason,
    }  # fmt: skip
