"""`rmm doctor ENDPOINT`: where it fails, and what to do."""

from __future__ import annotations

import json
import secrets
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from rmm.cli.main import NOTHING, SOME_FAILED
from rmm.cli.options import Config, Output, PassphraseFile, checked_output, open_app
from rmm.cli.printing import clean, csv_text

if TYPE_CHECKING:
    from rmm.poller.doctor import Step

app = typer.Typer(rich_markup_mode=None)

MARKS = {"ok": "ok     ", "failed": "FAILED ", "skipped": "skipped"}


@app.command()
def doctor(
    endpoint: Annotated[str, typer.Argument(help="Id or name.")],
    config: Config = None,
    passphrase_file: PassphraseFile = None,
    output: Output = "table",
) -> None:
    """Climb one endpoint's ladder (name, TCP, TLS, HTTP, logon, shell, collectors); explain the rung that breaks."""
    from rmm.app import run
    from rmm.poller.doctor import Step, ladder

    checked_output(output)
    application = open_app(config, passphrase_file)
    wanted = application.endpoint(endpoint)
    application.target(wanted)  # a missing passphrase or credential is said before the first rung
    steps: list[Step] = []

    async def climb() -> None:
        async with application.kit(secrets.token_hex(8)) as kit:
            async for step in ladder(kit, wanted):
                steps.append(step)
                if output == "table":
                    _print(step)
                elif output == "ndjson":
                    print(json.dumps(_plain(step), ensure_ascii=False), flush=True)

    run(climb())
    if output == "json":
        print(
            json.dumps({"endpoint": wanted.id, "steps": [_plain(step) for step in steps]}, ensure_ascii=False, indent=1)
        )
    elif output == "csv":
        print(csv_text([_plain(step) for step in steps], list(Step.__struct_fields__)), end="")
    failed = [step.name for step in steps if step.verdict == "failed"]
    # A collector that fails is a partial poll; any other rung ends it.
    raise typer.Exit(0 if not failed else SOME_FAILED if set(failed) <= application.catalog.keys() else NOTHING)


def _plain(step: Step) -> dict[str, object]:
    return {name: getattr(step, name) for name in step.__struct_fields__}


def _print(step: Step) -> None:
    mark = MARKS[step.verdict]
    if sys.stdout.isatty():
        colour = {"ok": "32", "failed": "31", "skipped": "2"}[step.verdict]
        mark = f"\x1b[{colour}m{mark}\x1b[0m"
    print(f"{mark} {step.name.ljust(15)} {step.ms:8.1f} ms  {clean(step.detail)}", flush=True)
    if step.fix:
        print(f"        fix: {clean(step.fix)}")
