"""`rmm bundle`: what sites get of the hub's configuration."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from rmm.cli.options import Config, Output, checked_output, folder_of
from rmm.cli.printing import clean, show
from rmm.errors import ConfigError

app = typer.Typer(rich_markup_mode=None, no_args_is_help=True, help="What sites get of the hub's configuration.")

COLUMNS = {"file": "FILE", "bytes": "BYTES"}


@app.command("show")
def show_bundle(
    site: Annotated[str, typer.Argument(help="Id of the site.")],
    config: Config = None,
    file: Annotated[str, typer.Option("--file", help="Print this file of it, such as rmm.yaml.")] = "",
    out: Annotated[
        Path | None, typer.Option("--out", help="Write all files into this folder, which does not exist yet.")
    ] = None,
    output: Output = "table",
) -> None:
    """Show exactly what a site would get now: its files, and what of the configuration is left out. Nothing is sent."""
    from rmm.hub.bundle import preview
    from rmm.settings.unpacking import unpack

    checked_output(output)
    shared = preview(folder_of(config), site)
    if file:
        if file not in shared.files:
            raise ConfigError(f"there is no file {file!r} in it; there are {', '.join(sorted(shared.files))}")
        text = shared.files[file].decode("utf-8", "replace")
        print("\n".join(clean(line) for line in text.splitlines()))
        return
    if out is not None:
        if out.exists():
            raise ConfigError(f"{out}: exists already", hint="Name a folder that does not exist yet.")
        unpack(out.absolute(), shared.files)
        print(f"{len(shared.files)} files: {out}")
    else:
        rows = [{"file": name, "bytes": len(data)} for name, data in sorted(shared.files.items())]
        show(rows, COLUMNS, output)
    for text in shared.left_out:
        print(f"left out: {clean(text)}", file=sys.stderr)
