"""`rmm collector`: what is collected."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from rmm.cli.main import USAGE
from rmm.cli.options import Config, Output, checked_output, folder_of, open_app
from rmm.cli.printing import show
from rmm.errors import CatalogError

app = typer.Typer(rich_markup_mode=None, no_args_is_help=True, help="What is collected.")

COLUMNS = {
    "name": "NAME", "title": "TITLE", "interval": "EVERY S", "cost": "COST", "rights": "RIGHTS", "forms": "FORMS",
    "fields": "FIELDS", "rules": "RULES",
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
