"""`rmm collector`: what is collected."""

from __future__ import annotations

import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rmm.cli.main import NOTHING, SOME_FAILED, USAGE
from rmm.cli.options import Config, Output, PassphraseFile, checked_output, folder_of, open_app
from rmm.cli.printing import show
from rmm.errors import CatalogError

if TYPE_CHECKING:
    from rmm.app import App
    from rmm.model.collector import Collector
    from rmm.poller.single import Single

app = typer.Typer(rich_markup_mode=None, no_args_is_help=True, help="What is collected.")

COLUMNS = {
    "name": "NAME", "title": "TITLE", "interval": "EVERY S", "cost": "COST", "rights": "RIGHTS", "forms": "FORMS",
    "fields": "FIELDS", "rules": "RULES",
}  # fmt: skip

COSTS = {
    "name": "NAME", "declared": "DECLARED", "measured": "MEASURED", "endpoints": "ENDPOINTS", "gather_ms": "MS",
    "max_ms": "MOST MS", "bytes": "BYTES", "max_bytes": "MOST BYTES", "rows": "ROWS", "interval": "EVERY S",
    "share_pct": "SHARE %",
}  # fmt: skip


@app.command("list")
def list_collectors(config: Config = None, output: Output = "table") -> None:
    """Show every collector: its interval, cost class, rights and forms (PowerShell, WQL, shell)."""
    from rmm.catalog.load import load_catalog
    from rmm.resources import shipped
    from rmm.settings.load import SETTINGS

    checked_output(output)
    folder = folder_of(config)
    # Without a configuration the shipped ones are listed: that is what a new user wants to see.
    configured = config is not None or (folder / SETTINGS).is_file()
    catalog = open_app(config).catalog if configured else load_catalog([shipped("collectors")])
    rows = []
    for collector in catalog.values():
        manifest = collector.manifest
        forms = [("ps1", bool(collector.windows)), ("wql", collector.wql), ("sh", bool(collector.linux))]
        rows.append(
            {
                **{name: getattr(manifest, name) for name in ("name", "title", "interval", "cost", "rights")},
                "forms": " ".join(name for name, there in forms if there) or "poller",
                "fields": len(manifest.fields),
                "rules": len(manifest.rules),
            }
        )
    show(rows, COLUMNS, output)


@app.command()
def check(
    folders: Annotated[
        list[Path] | None, typer.Argument(help="Collector folders; without: the shipped and configured ones.")
    ] = None,
    config: Config = None,
) -> None:
    """Check manifests and scripts; what Windows PowerShell 5.1 lacks is refused with file, line and column."""
    from rmm.catalog.check import check_folders
    from rmm.catalog.powershell import VARIABLE, find_powershell
    from rmm.resources import shipped
    from rmm.settings.load import SETTINGS

    wanted = list(folders or [shipped("collectors")])
    if not folders and (config is not None or (folder_of(config) / SETTINGS).is_file()):
        wanted += [Path(name) for name in open_app(config).settings.collectors.folders]
    powershell = find_powershell()
    if not powershell:
        print(
            f"note: no PowerShell here ({VARIABLE} or pwsh on PATH), so its own parser was not asked", file=sys.stderr
        )
    findings = check_folders(wanted, powershell)
    for finding in findings:
        print(finding)
    print(f"{len(findings)} findings" if findings else "no findings")
    raise typer.Exit(USAGE if findings else 0)


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="a-z, 0-9 and _; the folder's name.")],
    folder: Annotated[Path, typer.Option(help="Folder of your collectors.")] = Path("collectors"),
    title: Annotated[str, typer.Option(help="What people call it.")] = "",
) -> None:
    """Make a collector's folder: manifest, script, sample, readings and page, ready to be filled in."""
    from rmm.catalog.scaffold import new_collector

    if (folder / name).exists():
        raise CatalogError(f"{folder / name}: exists already", hint="Choose another name.")
    for path in new_collector(folder, name, title=title):
        print(path)
    print(f"next: fill in {folder / name / 'collect.ps1'}, then rmm collector check {folder / name}")


@app.command()
def run(
    collector: Annotated[str, typer.Argument(help="Name of a collector, or path of a collector's folder.")],
    endpoint: Annotated[str, typer.Argument(help="Id or name.")],
    config: Config = None,
    passphrase_file: PassphraseFile = None,
    output: Output = "table",
) -> None:
    """Run one collector against one endpoint and show its raw document and its readings; nothing is stored.

    Rates are those since the last poll that was stored, and event logs are read on from its bookmarks.
    """
    from rmm.app import run as run_loop
    from rmm.cli.single import print_single
    from rmm.poller.single import run_single
    from rmm.tiers import hot_json

    checked_output(output)
    application = open_app(config, passphrase_file)
    wanted = application.targets.endpoint(endpoint)
    application.targets.target(wanted)  # a missing passphrase or credential is said at once
    chosen = _chosen(collector, application)
    state = hot_json.read_endpoint(application.data, wanted.site, wanted.id)

    async def running() -> Single:
        async with application.kit(secrets.token_hex(8)) as kit:
            return await run_single(kit, chosen, wanted, state)

    single = run_loop(running())
    print_single(chosen, single, output)
    if single.observation.fault is not None:
        raise typer.Exit(NOTHING)
    lacking = single.result is None or single.result.outcome not in ("ok", "partial")
    raise typer.Exit(SOME_FAILED if lacking else 0)


def _chosen(wanted: str, application: App) -> Collector:
    """A collector of the catalogue by its name, any other by its folder."""
    from rmm.catalog.load import MANIFEST, read_collector

    if wanted in application.catalog:
        return application.catalog[wanted]
    if not (Path(wanted) / MANIFEST).is_file():
        names = ", ".join(sorted(application.catalog))
        raise CatalogError(
            f"there is no collector {wanted!r}, nor a folder with {MANIFEST}", hint=f"There are {names}."
        )
    found, problems = read_collector(Path(wanted).resolve())
    if found is None:
        raise CatalogError(problems=tuple(problems))
    return found


@app.command()
def cost(config: Config = None, output: Output = "table") -> None:
    """Show what each collector costs, as the last polls measured it: time on the endpoint, bytes, rows, share of a day.

    The share is that of the time which all collectors together take on an endpoint within a day.
    """
    from rmm.fleet_view import FleetView

    checked_output(output)
    show(FleetView(open_app(config)).costs(), COSTS, output)


@app.command()
def jea(
    out: Annotated[Path, typer.Option(help="Folder for the profile.")],
    group: Annotated[str, typer.Option(help="Who may open a session, as the endpoint knows the group.")] = "",
    config: Config = None,
) -> None:
    """Write the JEA profile of all collectors: module, role and session configuration, to be copied to endpoints."""
    from rmm.catalog.jea import GROUP, profile, write_profile
    from rmm.catalog.load import load_catalog
    from rmm.resources import shipped
    from rmm.settings.load import SETTINGS

    configured = config is not None or (folder_of(config) / SETTINGS).is_file()
    catalog = open_app(config).catalog if configured else load_catalog([shipped("collectors")])
    for path in write_profile(out, profile(catalog.values(), group=group or GROUP)):
        print(path)
    print("next: copy the folder to an endpoint and follow docs/jea.md there")
