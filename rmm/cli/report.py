"""`rmm report`: what a manager reads."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from rmm.cli.options import Config, open_app
from rmm.cli.printing import table
from rmm.errors import ConfigError

app = typer.Typer(rich_markup_mode=None)

_NOT_REPORTS = frozenset({"safe"})


@app.command()
def report(
    name: Annotated[str, typer.Argument(help="Which report; without: what there is.")] = "",
    config: Config = None,
    format: Annotated[str, typer.Option("--format", "-f", help="html, csv, xlsx; without: the report's first.")] = "",
    out: Annotated[Path | None, typer.Option("--out", help="File to write; - for standard output.")] = None,
) -> None:
    """Write a report of the fleet: executive (HTML), inventory (XLSX, CSV), alerts (HTML, CSV)."""
    from rmm.app import build
    from rmm.durable import replace_file
    from rmm.fleet_view import FleetView

    if not name:
        rows = [
            {"name": one, "title": (made := build("reports", one)).title, "formats": ", ".join(made.formats)}
            for one in names()
        ]
        table(rows, {"name": "NAME", "title": "TITLE", "formats": "FORMATS"})
        return
    application = open_app(config)
    if name not in names():
        raise ConfigError(
            f"there is no report {name!r}; there are {', '.join(names())}", hint="`rmm report` lists them."
        )
    made = build("reports", name)
    wanted = format or (out.suffix.removeprefix(".").lower() if out and out.suffix else made.formats[0])
    if wanted not in made.formats:
        raise ConfigError(
            f"{name} has no format {wanted}; it has {', '.join(made.formats)}", hint="Choose one with --format."
        )
    now = datetime.now(UTC)
    data = made.render(FleetView(application), wanted, now=now)
    if str(out) == "-":
        sys.stdout.buffer.write(data)
        return
    path = out or Path(f"{name}-{now:%Y-%m-%d}.{wanted}")
    replace_file(path, data)
    print(f"{made.title}: {path.resolve()}")


def names() -> list[str]:
    """All reports."""
    import pkgutil

    folder = Path(__file__).parent.parent / "reports"
    return sorted(item.name for item in pkgutil.iter_modules([str(folder)]) if item.name not in _NOT_REPORTS)
