"""`rmm metrics`: the fleet and rmm itself as metrics of Prometheus."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rmm.cli.options import Config, Output, PassphraseFile, checked_output, open_app
from rmm.cli.printing import show
from rmm.errors import ConfigError

if TYPE_CHECKING:
    from rmm.app import App
    from rmm.metrics.access import Password
    from rmm.metrics.gather import Gatherer

app = typer.Typer(
    rich_markup_mode=None, no_args_is_help=True, help="Fleet and rmm as metrics of Prometheus, and a dashboard."
)

PerEndpoint = Annotated[
    list[str] | None,
    typer.Option(help="Metric of single endpoints, such as up or cpu_ratio, or all; may be repeated. Without: none."),
]
MostEndpoints = Annotated[
    int, typer.Option("--per-endpoint-limit", min=1, max=100_000, help="Endpoints with series of their own, at most.")
]
OpenMetrics = Annotated[bool, typer.Option("--openmetrics", help="In the format OpenMetrics 1.0.")]


@app.command()
def serve(
    config: Config = None,
    listen: Annotated[str, typer.Option(help="ADDRESS:PORT; port 0 is a free one.")] = "127.0.0.1:9182",
    tls_cert: Annotated[Path | None, typer.Option(help="PEM file: certificate and chain.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="PEM file: its key, where --tls-cert has none.")] = None,
    basic_auth: Annotated[str, typer.Option(help="Credential of the vault that a client must give.")] = "",
    basic_auth_file: Annotated[Path | None, typer.Option(help="The same from a file: USER:PASSWORD.")] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Also for other machines without TLS and password.")
    ] = False,
    per_endpoint: PerEndpoint = None,
    per_endpoint_limit: MostEndpoints = 1000,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Serve the metrics over HTTP at /metrics until Ctrl-C or SIGTERM."""
    from rmm.loop import run
    from rmm.metrics.access import check_exposure, place_of, tls_of
    from rmm.metrics.exposition import available

    available()
    place = place_of(listen)
    tls = tls_of(tls_cert, tls_key)
    warning = check_exposure(place, tls=tls is not None, authentication=_asked(basic_auth, basic_auth_file),
                             insecure=insecure)  # fmt: skip
    application = open_app(config, passphrase_file)
    password = _password(application, basic_auth, basic_auth_file)
    gatherer = _gatherer(application, per_endpoint, per_endpoint_limit)
    if warning:
        print(f"warning: {warning}", file=sys.stderr)
    from rmm.metrics.server import MetricsServer

    server = MetricsServer(gatherer.gather, tls, password)
    run(server.serve(place, ready=lambda address: print(address, flush=True)))


def _asked(name: str, file: Path | None) -> bool:
    if name and file is not None:
        raise ConfigError("--basic-auth and --basic-auth-file do not go together", hint="Give one of them.")
    return bool(name) or file is not None


def _password(application: App, name: str, file: Path | None) -> Password | None:
    from rmm.metrics.access import Password, password_from

    if file is not None:
        return password_from(file)
    if not name:
        return None
    credential = application.credential(name)
    if credential.kind != "password" or ":" in credential.username:
        raise ConfigError(f"--basic-auth {name}: this credential is no user name and password")
    return Password(credential.username, credential.secret)


def _gatherer(application: App, wanted: list[str] | None, most: int) -> Gatherer:
    from rmm.metrics.gather import Gatherer, PerEndpoint
    from rmm.metrics.table import PER_ENDPOINT

    names = list(PER_ENDPOINT) if "all" in (wanted or ()) else list(dict.fromkeys(wanted or ()))
    unknown = [name for name in names if name not in PER_ENDPOINT]
    if unknown:
        raise ConfigError(f"--per-endpoint {unknown[0]}: there are {', '.join(PER_ENDPOINT)}, and all")
    return Gatherer(application.settings, PerEndpoint([PER_ENDPOINT[name] for name in names], most), application.fleet)


def _text(config: Path | None, wanted: list[str] | None, most: int, *, openmetrics: bool) -> bytes:
    from rmm.metrics.exposition import available, text

    available()
    return text(_gatherer(open_app(config), wanted, most).gather(), openmetrics=openmetrics)


@app.command("print")
def print_metrics(
    config: Config = None,
    per_endpoint: PerEndpoint = None,
    per_endpoint_limit: MostEndpoints = 1000,
    openmetrics: OpenMetrics = False,
) -> None:
    """Print the metrics as they are now."""
    print(_text(config, per_endpoint, per_endpoint_limit, openmetrics=openmetrics).decode(), end="")


@app.command()
def write(
    file: Annotated[Path, typer.Argument(help="Such as /var/lib/prometheus/node-exporter/rmm.prom.")],
    config: Config = None,
    per_endpoint: PerEndpoint = None,
    per_endpoint_limit: MostEndpoints = 1000,
) -> None:
    """Write the metrics into a file, atomically: for the textfile collector of node_exporter or windows_exporter."""
    from rmm.durable import replace_file

    if file.is_dir():
        raise ConfigError(f"{file} is a folder", hint="Name a file in it that ends with .prom.")
    replace_file(file, _text(config, per_endpoint, per_endpoint_limit, openmetrics=False))


@app.command("list")
def list_metrics(output: Output = "table") -> None:
    """List all metrics: name, type, labels and meaning."""
    from rmm.metrics.table import METRICS

    columns = {"name": "METRIC", "kind": "TYPE", "labels": "LABELS", "meaning": "MEANING"}
    show([{**one._asdict(), "labels": ", ".join(one.labels)} for one in METRICS], columns, checked_output(output))


@app.command()
def dashboard() -> None:
    """Print a dashboard for Grafana, to be imported there; it asks for the Prometheus data source."""
    from importlib.resources import files

    text = (files("rmm.metrics") / "dashboard.json").read_text(encoding="utf-8")
    json.loads(text)
    print(text, end="")
