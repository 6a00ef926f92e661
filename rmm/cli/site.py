"""`rmm site`: a site collector, on its own machine."""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path
from typing import Annotated

import typer

from rmm.cli.options import Config, Output, checked_output, folder_of
from rmm.errors import ConfigError

app = typer.Typer(
    rich_markup_mode=None, no_args_is_help=True, help="A site collector: enrol this machine for a site of the hub."
)

_MOST = 1 << 16  # characters of a token


@app.command()
def enroll(
    token: Annotated[str, typer.Argument(help="From `rmm hub invite SITE`; - reads standard input, @FILE a file.")],
    config: Config = None,
    proxy: Annotated[
        str, typer.Option(metavar="URL", help="http://[USER:PASSWORD@]HOST:PORT of a proxy that allows CONNECT.")
    ] = "",
    output: Output = "table",
) -> None:
    """Make this machine a collector of a site: keys are made here, and the hub gives a certificate and a login.

    A token on the command line can be seen by everybody on this machine while the command runs: prefer - or @FILE.
    """
    from rmm.app import run
    from rmm.loop import SystemClock
    from rmm.model.enrolment import decode_token
    from rmm.site.enrolling import enroll as ask

    checked_output(output)
    folder = folder_of(config)
    given = decode_token(_text(token))
    identity = run(ask(given, folder, clock=SystemClock(), host=socket.gethostname(), proxy=proxy))
    if output != "table":
        row = {"site": identity.site, "collector": identity.collector, "folder": str(identity.folder)}
        print(json.dumps(row | {"expires_at": identity.expires_at.isoformat(timespec="seconds")}))
        return
    print(f"this machine is collector {identity.collector} of site {identity.site}; its keys are in {identity.folder}")
    print(f"certificate and login last until {identity.expires_at:%Y-%m-%d} and are renewed by `rmm site run`")
    print("next: `rmm credentials set NAME --username ...` for the site's accounts, then `rmm site run`")


def _text(token: str) -> str:
    """The token's text, from wherever it is."""
    if token == "-":  # noqa: S105 - a word of the command line
        return sys.stdin.read(_MOST + 1)
    if not token.startswith("@"):
        return token
    try:
        with Path(token[1:]).open(encoding="utf-8-sig") as file:
            return file.read(_MOST + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{token[1:]}: cannot be read: {error}", hint="Name a file with a token in it.") from error
