"""`rmm hub`: the hub of several sites: its keys, its brokers' configuration, who is invited and who is revoked."""

from __future__ import annotations

import json
import sys
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rmm.cli.main import SOME_FAILED
from rmm.cli.options import (
    Config,
    Output,
    PassphraseFile,
    checked_output,
    folder_of,
    open_app,
    passphrase_from,
    who,
)
from rmm.cli.printing import show
from rmm.errors import BusError, ConfigError, LeaseLost, TierError

if TYPE_CHECKING:
    from rmm.app import App
    from rmm.hub.authority import Authority

app = typer.Typer(
    rich_markup_mode=None,
    no_args_is_help=True,
    help="The hub of several sites: its keys, its brokers, and who is invited or revoked.",
)

SERVERS = {"name": "SERVER", "host": "HOST", "client": "PORT", "websocket": "WEBSOCKET", "config": "CONFIGURATION"}
PLACE = "/etc/nats"  # where the files of servers will be, as long as nobody says another place
REVOKED = {"site": "SITE", "collector": "COLLECTOR", "host": "MACHINE", "enrolled_at": "ENROLLED"}


@app.command()
def init(config: Config = None) -> None:
    """Make the hub's keys, once: its authority for certificates and logins, and the key with which it signs.

    They are in the folder `hub` of the configuration. Keep a copy where only you reach it: without them all sites
    have to be enrolled again.
    """
    from rmm.hub.authority import Authority
    from rmm.loop import SystemClock

    authority = Authority.create(folder_of(config), SystemClock().now())
    print(f"made {authority.folder}; keep a copy of it in a safe place, `rmm store backup` has none")
    print("next: `rmm hub config --out DIR` for the broker, then `rmm hub invite SITE`")


@app.command()
def run(
    config: Config = None,
    passphrase_file: PassphraseFile = None,
    workers: Annotated[
        int | None, typer.Option(help="Processes that share the sites; without: `hub: workers` of rmm.yaml, or 1.")
    ] = None,
    metrics: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS:PORT", help="Serve metrics for Prometheus there, without TLS; see `rmm metrics`."
        ),
    ] = "",
) -> int:
    """Take what sites send, keep it, raise and deliver alerts, make reports, until it is stopped.

    Without a broker it waits for one. A changed configuration is used as soon as it is a good one.
    """
    from rmm.app import run as run_loop
    from rmm.bus import available

    available()
    from rmm.hub_service import serve_hub

    folder = folder_of(config)
    secret = cache(lambda: passphrase_from(folder, passphrase_file))
    flags = {"hub.workers": workers}
    say = lambda text: print(text, flush=True)  # noqa: E731
    return int(run_loop(serve_hub(folder, secret, say, _sides(metrics), flags)))


def _sides(listen: str) -> Callable[[App], tuple[Callable[[], Awaitable[None]], ...]]:
    """What serves beside the hub."""
    if not listen:
        return lambda _: ()
    from rmm.metrics.access import check_exposure, place_of
    from rmm.metrics.exposition import available
    from rmm.metrics.gather import Gatherer
    from rmm.metrics.server import MetricsServer

    available()
    place = place_of(listen)
    check_exposure(place, tls=False, authentication=False, insecure=False)

    def of(application: App) -> tuple[Callable[[], Awaitable[None]], ...]:
        server = MetricsServer(Gatherer(application.settings).gather, None, None)
        return (lambda: server.serve(place, ready=lambda at: print(f"metrics: {at}", flush=True)),)

    return of


@app.command("config")
def write_config(
    config: Config = None,
    servers: Annotated[int, typer.Option(help="1, or 3 for a cluster; 0: as many as hosts.")] = 0,
    hosts: Annotated[
        str, typer.Option(help="Names by which sites reach the servers, with commas; without: as in `hub: urls`.")
    ] = "",
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Make a folder there for each server; without: print.")
    ] = None,
    place: Annotated[
        str, typer.Option(help="Where DIR will be on the servers; without: where it is now, or /etc/nats.")
    ] = "",
    listen: Annotated[str, typer.Option(help="The address on which servers listen.")] = "0.0.0.0",  # noqa: S104
    port: Annotated[int, typer.Option(min=1, max=65535, help="For sites and the hub.")] = 4222,
    websocket_port: Annotated[int, typer.Option(min=1, max=65535, help="For sites that only reach the web.")] = 8443,
    cluster_port: Annotated[int, typer.Option(min=1, max=65535, help="Between servers.")] = 6222,
    monitor_port: Annotated[int, typer.Option(min=1, max=65535, help="Monitoring, on loopback alone.")] = 8222,
    store_gb: Annotated[float, typer.Option(min=0.1, help="Room for messages on each server's disk.")] = 20.0,
    connections: Annotated[int, typer.Option(min=10, help="At most so many clients per server.")] = 1000,
    output: Output = "table",
) -> None:
    """Print the configuration of one nats-server, or of three, or write it with certificates, ready to start.

    With --out there is a folder for each server that holds all it needs, private keys too. Run it again for new
    certificates (they last 825 days); sites need not be told. Without --out nothing is written and no key is made.
    """
    from rmm.hub.broker_config import Ports, Room, broker_texts, files_of, servers_of, write_brokers

    checked_output(output)
    application = open_app(config)
    authority = _authority(application)
    named = [host.strip() for host in hosts.split(",") if host.strip()] or _hosts(application)
    count = servers or len(named)
    if count not in (1, 3):
        raise ConfigError(f"{count} servers", hint="Choose 1 or 3: a cluster needs a majority that can fail one.")
    ports = Ports(port, websocket_port, cluster_port, monitor_port)
    made = servers_of(named, count, ports, listen)
    room, now = Room(store_gb, connections), application.clock.now()
    rows: list[dict[str, Any]] = [
        {"name": one.name, "host": one.host, "client": one.ports.client, "websocket": one.ports.websocket}
        for one in made
    ]
    if out is None:
        texts = broker_texts(authority, made, now, place=place or PLACE, room=room)
        _print_brokers(rows, texts, output)
        return
    files = files_of(count)
    for row, path in zip(rows, write_brokers(authority, made, out, now, place=place, room=room), strict=True):
        row |= {"config": str(path), "files": list(files)}
    show(rows, SERVERS, output)
    if output == "table":
        print("in each folder:")
        for name, what in files.items():
            print(f"  {name:<17} {what}")
        print(f"each has to be {place or out.absolute()}/SERVER on its server, owned by the account that runs it there")
        print("start each: nats-server -c CONFIGURATION (2.11 or later)")


def _print_brokers(rows: list[dict[str, Any]], texts: list[str], output: str) -> None:
    """The configurations alone."""
    if output != "table":
        show([{**row, "text": text} for row, text in zip(rows, texts, strict=True)], SERVERS | {"text": "TEXT"}, output)
        return
    for row, text in zip(rows, texts, strict=True):
        if len(rows) > 1:
            print(f"# {row['name']} on {row['host']}")
        print(text)
    print("nothing was written: --out DIR makes a folder for each server, with certificates and keys", file=sys.stderr)


@app.command()
def invite(
    site: Annotated[str, typer.Argument(help="The site, as the hub's rmm.yaml has it.")],
    config: Config = None,
    hours: Annotated[float, typer.Option(min=0.01, max=168, help="For how long the token is good.")] = 1.0,
    name: Annotated[str, typer.Option(metavar="COLLECTOR", help="Its name; without: from the machine's.")] = "",
    url: Annotated[
        list[str] | None,
        typer.Option(help="How it reaches the broker, if not as in `hub: urls`; may be repeated."),
    ] = None,
    output: Output = "table",
) -> None:
    """Print a token with which one machine can become a collector of the site, once: `rmm site enroll TOKEN` there.

    Treat it as a password until it is used or has expired. `rmm hub run` has to be at work when it is used.
    """
    from rmm.app import run
    from rmm.hub.invitations import invite as make
    from rmm.model.enrolment import encode_token

    checked_output(output)
    application = open_app(config)
    authority = _authority(application)
    settings, now = application.settings, application.clock.now()
    lasts = timedelta(hours=hours)
    token = make(
        authority,
        site,
        sites=settings.sites,
        urls=settings.hub.urls,
        lasts=lasts,
        now=now,
        name=name,
        own_urls=tuple(url or ()),
    )
    run(_noted(application, "invite", f"{site}: invitation {token.invitation} until {token.expires_at:%Y-%m-%d %H:%M}"))
    if output == "table":
        print(encode_token(token))
        print(f"for one collector of {site}, until {token.expires_at:%Y-%m-%d %H:%M} UTC", file=sys.stderr)
        return
    row = {"token": encode_token(token), "site": site, "invitation": token.invitation}
    print(json.dumps(row | {"expires_at": token.expires_at.isoformat(timespec="seconds"), "urls": token.urls}))


@app.command()
def revoke(
    site: Annotated[str, typer.Argument(help="The site.")],
    config: Config = None,
    collector: Annotated[str, typer.Option(metavar="ID", help="Only this collector; without: all of the site.")] = "",
    reason: Annotated[str, typer.Option(help="Why; it is kept with the time and the author.")] = "",
    output: Output = "table",
) -> None:
    """Revoke a site's collectors, and its open invitations: what they send is refused, and the broker throws them out.

    The hub refuses at once, whatever the broker does. Exit code 3 when no broker could be told: `rmm hub run` does it
    when it is back.
    """
    from rmm.app import run
    from rmm.hub.revocation import revoke as record

    checked_output(output)
    application = open_app(config)
    authority = _authority(application)
    revoked = record(authority, site, collector, application.clock.now())
    failed = run(_push(application, authority))
    names = ", ".join(one.id for one in revoked) or "nobody new"
    run(_noted(application, "revoke", f"{site}: {names}", reason))
    rows = [
        {"site": one.site, "collector": one.id, "host": one.host,
         "enrolled_at": one.enrolled_at.isoformat(timespec="minutes")}
        for one in revoked
    ]  # fmt: skip
    show(rows, REVOKED, output, empty="none that was not revoked before; open invitations are void")
    if failed is not None:
        print(f"warning: the broker was not told: {failed}", file=sys.stderr)
        print(
            "  fix: the hub refuses them already; `rmm hub run`, or this command once more, tells it.", file=sys.stderr
        )
    raise typer.Exit(0 if failed is None else SOME_FAILED)


def _authority(application: App) -> Authority:
    from rmm.hub.authority import Authority

    return Authority.open(Path(application.settings.folder))


def _hosts(application: App) -> list[str]:
    """The hosts of the brokers' URLs, each once."""
    from rmm.bus.login import place

    return list(dict.fromkeys(place(url)[1] for url in application.settings.hub.urls))


async def _push(application: App, authority: Authority) -> BusError | None:
    """Tell the broker who is revoked; what went wrong, if it did."""
    from rmm.hub.revocation import tell_brokers

    try:
        await tell_brokers(authority, application.settings.hub.urls, application.clock.now())
    except BusError as error:
        return error
    return None


async def _noted(application: App, what: str, detail: str, reason: str = "") -> None:
    """Into the audit log; that it is busy or full is no reason to undo what was done."""
    from rmm.coordinator.acts import note
    from rmm.model.incident import Act

    act: Any = Act(at=application.clock.now(), who=who(), what=what, reason=reason, detail=detail)
    try:
        await note(application.data, act)
    except (LeaseLost, TierError) as error:
        print(f"warning: not in the audit log: {error}", file=sys.stderr)
