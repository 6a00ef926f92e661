"""`rmm init`: a configuration folder to start with."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from rmm.cli.options import Config
from rmm.errors import ConfigError

app = typer.Typer(rich_markup_mode=None)


@app.command()
def init(
    config: Config = None,
    site: Annotated[str, typer.Option(help="Id of the first site.")] = "hq",
    credential: Annotated[str, typer.Option(help="Name of the credential that the site uses.")] = "polling",
    no_input: Annotated[bool, typer.Option("--no-input", help="Ask nothing.")] = False,
) -> None:
    """Make a configuration folder: rmm.yaml with every setting explained, an endpoint list, a folder for rules."""
    from rmm.durable import replace_file
    from rmm.resources import shipped
    from rmm.settings.endpoints import ENDPOINTS, csv_of
    from rmm.settings.places import SETTINGS, is_enrolled
    from rmm.settings.sites import SAFE

    folder = config or Path("config")
    if (folder / SETTINGS).exists():
        raise ConfigError(
            f"{folder / SETTINGS}: exists already", hint="It is left alone. Name another folder with --config."
        )
    if is_enrolled(folder):
        raise ConfigError(
            f"{folder}: is that of a site, whose configuration comes from the hub",
            hint="`rmm site run` fetches it. Name another folder with --config for another installation.",
        )
    if sys.stdin.isatty() and not no_input:
        site = typer.prompt("Id of the first site", default=site)
        credential = typer.prompt("Name of its credential", default=credential)
    if not site or not set(site) <= SAFE:
        raise ConfigError(f"--site {site!r}: use a-z 0-9 - _", hint="It names files.")
    if not credential or not set(credential.lower()) <= SAFE:
        raise ConfigError(f"--credential {credential!r}: use letters, digits, - and _", hint="Choose another name.")
    template = (shipped("config") / "rmm.yaml").read_text(encoding="utf-8")
    text = template.replace("id: hq\n", f"id: {site}\n", 1).replace(
        "credential: polling\n", f"credential: {credential}\n", 1
    )
    replace_file(folder / SETTINGS, text.encode())
    if not (folder / ENDPOINTS).exists():
        replace_file(folder / ENDPOINTS, csv_of([]).encode())
    (folder / "rules").mkdir(exist_ok=True)
    print(f"made {folder.resolve()}")
    print("next:")
    print(f"  rmm endpoints import FILE --config {folder}")
    print(f"  rmm credentials set {credential} --username 'DOMAIN\\account' --config {folder}")
    print(f"  rmm doctor ENDPOINT --config {folder}")
    print(f"  rmm poll --config {folder}")
