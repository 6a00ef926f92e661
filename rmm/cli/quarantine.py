"""`rmm endpoints quarantined|accept`: endpoints for which another machine answers."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rmm.cli.main import SOME_FAILED
from rmm.cli.options import Config, Output, checked_output, open_app
from rmm.cli.printing import ago, clean, show, table
from rmm.errors import ConfigError

if TYPE_CHECKING:
    from rmm.app import App
    from rmm.model.identity import Acceptance
    from rmm.tiers.fleet_sqlite import Refused

EVIDENCE = {"name": "name", "uuid": "SMBIOS UUID", "serial": "serial number", "machine": "installation"}
COLUMNS = {
    "endpoint": "ENDPOINT", "site": "SITE", "since": "SINCE", "evidence": "EVIDENCE", "expected": "EXPECTED",
    "seen": "SEEN", "accepted": "ACCEPTED",
}  # fmt: skip


def quarantined(
    config: Config = None, site: Annotated[str, typer.Option(help="Only this site.")] = "", output: Output = "table"
) -> None:
    """Show the endpoints for which another machine answers (IDENTITY_MISMATCH): what was expected, what was seen.

    Nothing is stored for them. `accepted` says when it was accepted; the next poll stores then.
    """
    checked_output(output)
    application = open_app(config)
    if site:
        application.known_site(site)
    found = {name: one for name, one in _refused(application).items() if site in ("", _site(application, name))}
    accepted = _accepted(application)
    if output in ("json", "ndjson"):
        show([_object(application, one, accepted) for one in found.values()], COLUMNS, output)
        return
    rows = [row for one in found.values() for row in _rows(application, one, accepted)]
    if output == "table":
        rows = [{**row, "since": ago(row["since"]), "accepted": _ago(row["accepted"])} for row in rows]
    show(rows, COLUMNS, output, empty="no endpoint is answered for by another machine")


def accept(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Endpoints, by id or name.")],
    config: Config = None,
    reason: Annotated[str, typer.Option(help="Why; it is kept with the time and your account.")] = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Accept the machine that was seen as the endpoint's; the next poll stores its readings under the endpoint.

    Exactly the machine that `rmm endpoints quarantined` shows: yet another one is refused again. `rmm changes` tells
    who accepted what. Exit code 3: another machine was seen meanwhile, and was not accepted.
    """
    from rmm.app import run
    from rmm.coordinator.quarantine import accept as accept_refusals

    application = open_app(config)
    chosen = _chosen(application, names)
    rows = [row for one in chosen.values() for row in _rows(application, one, {})]
    table(rows, {name: heading for name, heading in COLUMNS.items() if name not in ("since", "accepted")})
    if not yes:
        if not sys.stdin.isatty():
            raise ConfigError("there is no terminal to ask on, and nothing was accepted", hint="Add --yes.")
        typer.confirm("Are these the right machines?", abort=True)
    shown = {name: one.refusal for name, one in chosen.items()}
    who, now = _who(), datetime.now(UTC)
    other = run(accept_refusals(application.fleet, shown, who=who, reason=clean(reason)[:500], now=now))
    for name in other:
        text = "something else was seen meanwhile, so nothing was accepted: look again"
        print(f"error: {_name(application, name)}: {text}", file=sys.stderr)
    print(f"{len(shown) - len(other)} accepted; the next poll stores what it reads")
    raise typer.Exit(SOME_FAILED if other else 0)


def _chosen(application: App, names: list[str]) -> dict[str, Refused]:
    refused = _refused(application)
    chosen = {}
    for name in names:
        endpoint = application.targets.endpoint(name)
        if endpoint.id not in refused:
            hint = "`rmm endpoints quarantined` lists those that can be accepted. If it fails, poll it again first."
            raise ConfigError(f"{endpoint.name}: no other machine answered at its newest polls", hint=hint)
        chosen[endpoint.id] = refused[endpoint.id]
    return chosen


def _refused(application: App) -> dict[str, Refused]:
    from rmm.tiers.fleet_sqlite import FleetFile

    listed = {endpoint.id for endpoint in application.settings.endpoints}
    return {one.endpoint: one for one in FleetFile(application.fleet).refused() if one.endpoint in listed}


def _accepted(application: App) -> dict[str, Acceptance]:
    from rmm.tiers.fleet_sqlite import FleetFile

    return {one.endpoint: one for one in FleetFile(application.fleet).acceptances()}


def _rows(application: App, one: Refused, accepted: Mapping[str, Acceptance]) -> Iterator[dict[str, Any]]:
    """One row for each evidence."""
    whole = _object(application, one, accepted)
    for kind, title in EVIDENCE.items():
        expected, seen = whole["expected"].get(kind, ""), whole["seen"].get(kind, "")
        if expected or seen:
            yield {**whole, "evidence": title, "expected": expected, "seen": seen}


def _object(application: App, one: Refused, accepted: Mapping[str, Acceptance]) -> dict[str, Any]:
    word = accepted.get(one.endpoint)
    return {
        "id": one.endpoint,
        "endpoint": _name(application, one.endpoint),
        "site": _site(application, one.endpoint),
        "since": one.since.isoformat(timespec="seconds"),
        "last": one.at.isoformat(timespec="seconds"),
        "expected": one.refusal.expected,
        "seen": one.refusal.seen,
        "accepted": word.at.isoformat(timespec="seconds") if word and word.refusal == one.refusal else None,
    }


def _name(application: App, identity: str) -> str:
    return application.targets.endpoint(identity).name


def _site(application: App, identity: str) -> str:
    return application.targets.endpoint(identity).site


def _ago(at: str | None) -> str:
    return ago(at) if at else ""


def _who() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # an account without a name
        return "unknown"
