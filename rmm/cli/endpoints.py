"""`rmm endpoints`: the list of what is polled."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from rmm.cli import quarantine
from rmm.cli.main import SOME_FAILED
from rmm.cli.options import Config, Output, checked_output, open_app
from rmm.cli.printing import clean, show
from rmm.errors import ConfigError

app = typer.Typer(rich_markup_mode=None, no_args_is_help=True, help="The list of what is polled.")

COLUMNS = {
    "id": "ID",
    "name": "NAME",
    "address": "ADDRESS",
    "site": "SITE",
    "group": "GROUP",
    "tags": "TAGS",
    "enabled": "ENABLED",
}


@app.command("import")
def import_file(
    file: Annotated[Path, typer.Argument(help="CSV, JSON or XLSX with at least the column ComputerName.")],
    config: Config = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check and count, and change nothing.")] = False,
) -> None:
    """Add and update endpoints. Bad rows are reported with their number, the others are imported (exit code 3 then)."""
    from rmm.settings.endpoints import ENDPOINTS, merged, read_import, write_endpoints

    application = open_app(config)
    if application.settings.bundle and not dry_run:
        raise ConfigError(
            f"{application.settings.source}: the endpoint list is the hub's",
            hint="Import at the hub; `rmm site run` fetches the list from there.",
        )
    rows = read_import(file, application.settings.sites)
    result, counts = merged(application.settings.endpoints, rows)
    for row in rows:
        if row.problem:
            print(f"error: {file}:{row.number}: {clean(row.problem)}", file=sys.stderr)
    if not dry_run and (counts["added"] or counts["updated"]):
        write_endpoints(Path(application.settings.folder) / ENDPOINTS, result)
    bad = sum(bool(row.problem) for row in rows)
    words = ", ".join(f"{count} {word}" for word, count in counts.items())
    print(f"{'would be ' if dry_run else ''}{words}, {bad} bad; {len(result)} endpoints in all")
    raise typer.Exit(SOME_FAILED if bad else 0)


@app.command("export")
def export(
    file: Annotated[Path, typer.Argument(help="CSV, JSON or XLSX to write; - for CSV to standard output.")],
    config: Config = None,
) -> None:
    """Write the list with the columns that import reads."""
    from rmm.durable import replace_file
    from rmm.settings.endpoints import COLUMNS as COLUMN_NAMES
    from rmm.settings.endpoints import cells_of, csv_of, xlsx_of

    endpoints = open_app(config).settings.endpoints
    if str(file) == "-":
        print(csv_of(endpoints), end="")
        return
    kind = file.suffix.lower()
    if kind == ".csv":
        data = csv_of(endpoints).encode("utf-8-sig")  # the mark tells a spreadsheet that it is UTF-8
    elif kind == ".json":
        listed = [dict(zip(COLUMN_NAMES, cells_of(endpoint), strict=True)) for endpoint in endpoints]
        data = json.dumps(listed, ensure_ascii=False, indent=1).encode() + b"\n"
    elif kind == ".xlsx":
        data = xlsx_of(endpoints)
    else:
        raise ConfigError(f"{file}: {kind or 'no ending'} is not known", hint="Export .csv, .json or .xlsx.")
    replace_file(file, data)
    print(f"{len(endpoints)} endpoints written to {file}")


@app.command("list")
def list_endpoints(
    config: Config = None, site: Annotated[str, typer.Option(help="Only this site.")] = "", output: Output = "table"
) -> None:
    """Show the list."""
    import msgspec

    checked_output(output)
    application = open_app(config)
    if site:
        application.known_site(site)
    found = [endpoint for endpoint in application.settings.endpoints if site in ("", endpoint.site)]
    rows = [{field: getattr(endpoint, field) for field in type(endpoint).__struct_fields__} for endpoint in found]
    hint = "no endpoints; `rmm endpoints import FILE` adds some"
    show([msgspec.to_builtins(row) for row in rows], COLUMNS, output, empty=hint)


app.command()(quarantine.quarantined)
app.command()(quarantine.accept)
