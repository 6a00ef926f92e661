"""`rmm collector`: what is collected."""

from __future__ import annotations

import json
import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rmm.cli.main import NOTHING, SOME_FAILED, USAGE
from rmm.cli.options import Config, Output, PassphraseFile, checked_output, folder_of, open_app
from rmm.cli.printing import clean, csv_text, show
from rmm.cli.show import print_readings, spent_on
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


MOST_LINES = 60  # of the raw document, for people


@app.command("list")
def list_collectors(config: Config = None, output: Output = "table") -> None:
    """Show every collector: its interval, cost class, rights and forms (PowerShell, WQL, shell)."""
    from rmm.catalog.load import load_catalog
    from rmm.catalog.pages import forms_of
    from rmm.resources import shipped
    from rmm.settings.places import has_settings

    checked_output(output)
    folder = folder_of(config)
    # Without a configuration the shipped ones are listed: that is what a new user wants to see.
    configured = config is not None or has_settings(folder)
    catalog = open_app(config).catalog if configured else load_catalog([shipped("collectors")])
    rows = []
    for collector in catalog.values():
        manifest = collector.manifest
        rows.append(
            {
                **{name: getattr(manifest, name) for name in ("name", "title", "interval", "cost", "rights")},
                "forms": forms_of(collector),
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
    from rmm.settings.places import has_settings

    wanted = list(folders or [shipped("collectors")])
    if not folders and (config is not None or has_settings(folder_of(config))):
        wanted += [Path(name) for name in open_app(config).settings.collectors.folders]
    powershell = find_powershell()
    if not powershell:
        print(
            f"note: no PowerShell here ({VARIABLE} or pwsh on PATH), so its own parser was not asked", file=sys.stderr
        )
    findings = check_folders(wanted, powershell)
    for finding in findings:
        print(finding)
    print(f"{len(findings)} finding{'s' * (len(findings) > 1)}" if findings else "no findings")
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
    print(f"next: fill in {folder / name / 'collect.ps1'}, then rmm collector check {folder / name},")
    print(f"and to try it: rmm collector run {folder / name} ENDPOINT")


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
    _print_single(chosen, single, output)
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


def _print_single(collector: Collector, single: Single, output: str) -> None:
    """As a page for people, as one document, or its readings as CSV."""
    if output in ("json", "ndjson"):
        document = _single_document(collector, single)
        print(json.dumps(document, ensure_ascii=False, indent=1 if output == "json" else None, default=str))
    elif output == "csv":
        rows = list(single.result.readings) if single.result else []
        print(csv_text(rows, list(collector.manifest.fields)), end="")
    else:
        _single_page(collector, single)


def _single_document(collector: Collector, single: Single) -> dict[str, Any]:
    seen, result = single.observation, single.result
    fault = seen.fault or (result.fault if result else None)
    return {
        "collector": collector.name,
        "endpoint": seen.endpoint,
        "outcome": result.outcome if result else None,
        "gather_ms": result.gather_ms if result else None,
        "bytes": result.bytes if result else None,
        "duration_s": seen.duration_s,
        "telemetry": seen.telemetry,
        "fault": {"code": fault.code, "message": fault.message, "hint": fault.hint} if fault else None,
        "notes": result.notes if result else {},
        "document": single.document,
        "readings": list(result.readings) if result else [],
    }


def _single_page(collector: Collector, single: Single) -> None:
    seen, result = single.observation, single.result
    outcome = result.outcome if result else seen.status
    print(clean(f"{collector.name} on {seen.name} ({seen.endpoint}): {outcome}"))
    fault = seen.fault or (result.fault if result else None)
    if fault is not None:
        print(clean(f"fault {fault.code}: {fault.message}"))
        print(clean(f"  fix: {fault.hint}"))
    if result is not None:
        print(f"{result.gather_ms:.0f} ms there, {result.bytes} bytes, {seen.duration_s:.2f} s in all")
    if spent := spent_on(seen.telemetry):
        print(spent)
    if single.document is not None:
        lines = json.dumps(single.document, ensure_ascii=False, indent=1).splitlines()
        print("\nraw document:")
        for line in lines[:MOST_LINES]:
            print(clean(line))
        if len(lines) > MOST_LINES:
            print(f"... and {len(lines) - MOST_LINES} more lines; --output json has all")
    if result is not None and result.readings:
        print("\nreadings:")
        print_readings(list(result.readings), whole=False)
        for field, note in result.notes.items():
            print(clean(f"  {field}: {note}"))


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
    from rmm.settings.places import has_settings

    configured = config is not None or has_settings(folder_of(config))
    catalog = open_app(config).catalog if configured else load_catalog([shipped("collectors")])
    for path in write_profile(out, profile(catalog.values(), group=group or GROUP)):
        print(path)
    print("next: copy the folder to an endpoint and follow docs/jea.md there")
