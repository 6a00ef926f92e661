"""`rmm notify`: who is told of what, whether that works, what was sent, and trying again."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rmm.cli.options import Config, Output, PassphraseFile, checked_output, open_app
from rmm.cli.printing import ago, clean, lines, show
from rmm.errors import ConfigError

if TYPE_CHECKING:
    from rmm.app import App
    from rmm.model.routing import Route
    from rmm.model.rule import Notification

app = typer.Typer(rich_markup_mode=None, no_args_is_help=True, help="Who is told of what, and whether it arrived.")

COLUMNS = {
    "channel": "CHANNEL",
    "type": "TYPE",
    "open": "WAITING",
    "failures": "FAILED",
    "last": "LAST",
    "result": "RESULT",
}
LOG = {
    "at": "AT", "channel": "CHANNEL", "kind": "KIND", "alerts": "ALERTS", "what": "WHAT", "attempts": "TRIES",
    "sent": "SENT", "result": "RESULT",
}  # fmt: skip


@app.command("list")
def list_channels(config: Config = None, output: Output = "table") -> None:
    """List channels, how they fare, and the routes that lead to them."""
    from rmm.tiers.fleet_sqlite import FleetFile

    checked_output(output)
    application = open_app(config)
    fared = FleetFile(application.fleet).channels()
    rows = [_channel_row(name, options, fared.get(name, {})) for name, options in application.channel_options.items()]
    show(rows, COLUMNS, output)
    if output == "table":
        print()
        lines([*(_route_line(one) for one in application.settings.routes), "otherwise: every channel, at once"])


def _channel_row(name: str, options: Mapping[str, Any], fared: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "channel": name,
        "type": options.get("type"),
        "open": fared.get("open", 0),
        "oldest": fared.get("oldest", ""),
        "failures": fared.get("failures", 0),
        "not_before": fared.get("not_before", ""),
        "last": ago(fared["sent_at"]) if fared.get("sent_at") else "",
        "result": fared.get("result", ""),
    }


def _route_line(route: Route) -> str:
    wanted = " and ".join(f"{label} {_any(value)}" for label, value in route.match.items()) or "everything"
    extra = [f"digest {route.digest}"] if route.digest else []
    extra += [f"grouped by {', '.join(route.group_by)}"] if route.group_by else []
    extra += [f"{key} {getattr(route, key):g} s" for key in ("group_wait", "group_interval", "repeat_interval")
              if getattr(route, key)]  # fmt: skip
    extra += [f"escalation {route.escalation}"] if route.escalation else []
    extra += ["and on"] if route.more else []
    return f"{route.name}: {wanted} -> {', '.join((', '.join(route.channels) or 'nobody', *extra))}"


def _any(value: Any) -> str:
    return " or ".join(map(str, value)) if isinstance(value, list) else str(value)


@app.command("test")
def test_channel(
    channel: Annotated[str, typer.Argument(help="The channel's name in rmm.yaml.")],
    config: Config = None,
    passphrase_file: PassphraseFile = None,
) -> int:
    """Send a marked test notification by the channel itself, and print its receipt or what to fix."""
    application = open_app(config, passphrase_file)
    from rmm.app import run

    receipt = run(_test(application, channel))
    print(f"{clean(channel)}: {clean(receipt)}")
    return 0


async def _test(application: App, name: str) -> str:
    from rmm.coordinator.delivery import deliver_once

    return await deliver_once(application.channel(name), test_notification(application.clock.now()))


def test_notification(now: datetime) -> Notification:
    """Marked as a test, of no endpoint; each has an id of its own."""
    from rmm.model.rule import Alert, Notification

    alert = Alert(
        key="rmm_test||", rule="rmm_test", endpoint="", name="rmm", site="", severity="warning", state="firing",
        summary="This is a test of the notification channel. Nothing is wrong.", value=None, first_at=now, last_at=now,
    )  # fmt: skip
    return Notification(id=f"test:{secrets.token_hex(8)}", kind="firing", at=now, alerts=(alert,), test=True)


@app.command()
def log(
    config: Config = None,
    most: Annotated[int, typer.Option(min=1, max=100_000, help="At most so many rows.")] = 50,
    channel: Annotated[str, typer.Option(help="Only this channel.")] = "",
    untold: Annotated[bool, typer.Option("--untold", help="What no channel was given, and why.")] = False,
    output: Output = "table",
) -> None:
    """Show what was sent to whom, when, after how many tries, with what result; newest first."""
    from rmm.tiers.fleet_sqlite import FleetFile

    checked_output(output)
    file = FleetFile(open_app(config).fleet)
    if untold:
        rows = [_decision_row(row) for row in file.decisions(100_000)]
        columns = {"at": "AT", "kind": "KIND", "what": "WHAT", "outcome": "OUTCOME"}
        show([row for row in rows if row["untold"]][:most], columns, output, empty="everything was told")
        return
    found = file.notifications(100_000 if channel else most)
    rows = [_log_row(row) for row in found if channel in ("", row["channel"])][:most]
    show(rows, LOG, output, empty="nothing was sent yet")


def _body(text: str) -> dict[str, Any]:
    try:
        body = json.loads(text)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _what(body: Mapping[str, Any]) -> str:
    alerts = body.get("alerts") or [{}]
    first = alerts[0]
    more = f" and {len(alerts) - 1} more" if len(alerts) > 1 else ""
    return f"{first.get('name', '')}: {first.get('summary', '')}"[:120] + more


def _log_row(row: Mapping[str, Any]) -> dict[str, Any]:
    body = _body(row["body"])
    state = "given up" if row["gave_up"] else "waits"
    return {
        **{key: row[key] for key in ("id", "at", "channel", "attempts", "result", "sent_at", "gave_up", "due_at")},
        "kind": body.get("kind", ""),
        "alerts": len(body.get("alerts") or ()),
        "what": _what(body),
        "sent": row["sent_at"][:19] if row["sent_at"] else state,
    }


def _decision_row(row: Mapping[str, Any]) -> dict[str, Any]:
    body, outcome = _body(row["body"]), row["outcome"]
    if row["held"]:
        outcome = f"held until the round of site {row['held']} is over"
    # What a channel was given is noted by its bare name.
    told = bool(outcome) and any(":" not in part for part in outcome.split("; ")) and not row["held"]
    return {
        "id": row["id"], "at": row["at"], "kind": body.get("kind", ""), "what": _what(body), "outcome": outcome,
        "untold": not told,
    }  # fmt: skip


@app.command()
def serve(
    config: Config = None,
    passphrase_file: PassphraseFile = None,
    token: Annotated[
        str,
        typer.Option(help="Credential of the vault whose secret is the token of who pushes; without: nobody may push."),
    ] = "",
    listen: Annotated[str, typer.Option(help="Address and port, on loopback.")] = "127.0.0.1:9093",
) -> None:
    """Deliver and escalate between rounds, and take alerts as Alertmanager does (API v2) where there is a --token."""
    host, _, port = listen.rpartition(":")
    if not port.isdigit() or not 0 <= int(port) <= 65_535:
        raise ConfigError(f"--listen {listen}: an address and a port are expected, such as 127.0.0.1:9093")
    application = open_app(config, passphrase_file)
    from rmm.app import run

    run(_serve(application, host.strip("[]"), int(port), token))


async def _serve(application: App, host: str, port: int, token: str) -> None:
    from rmm.coordinator.alert_api import AlertApi

    secret = application.credential(token).secret if token else None
    async with application.coordinator() as coordinator:
        if secret is None:
            print("delivering between rounds; nothing is listened to without --token", flush=True)
            await coordinator.delivery.run()
            return
        api = AlertApi(application.fleet, coordinator, secret, list(application.channel_options), application.clock)
        delivering = asyncio.create_task(coordinator.delivery.run())
        try:
            await api.serve(host, port, lambda address: print(f"listening on {address}", flush=True))
        finally:
            delivering.cancel()
            await asyncio.gather(delivering, return_exceptions=True)


@app.command()
def retry(
    config: Config = None,
    passphrase_file: PassphraseFile = None,
    channel: Annotated[str, typer.Option(help="Only this channel.")] = "",
) -> int:
    """Try again now what no channel took, also what was given up."""
    application = open_app(config, passphrase_file)
    from rmm.app import run

    if channel and channel not in application.channel_options:
        raise ConfigError(f"there is no channel {channel!r}; there are {', '.join(application.channel_options)}")
    count, left = run(_retry(application, channel))
    print(f"{count} to be tried again; {left} not taken" if left else f"{count} to be tried again; all were taken")
    return 3 if left else 0


async def _retry(application: App, channel: str) -> tuple[int, int]:
    from rmm.tiers.fleet_sqlite import FleetFile

    async with application.coordinator() as coordinator:
        count = await coordinator.delivery.try_again(channel)
        await coordinator.delivery.settle()
    fared = FleetFile(application.fleet).channels()
    return count, sum(row.get("open", 0) for name, row in fared.items() if channel in ("", name))
