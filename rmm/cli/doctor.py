"""`rmm doctor ENDPOINT`: where it fails, and what to do."""

from __future__ import annotations

import contextlib
import json
import secrets
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rmm.cli.main import NOTHING, SOME_FAILED
from rmm.cli.options import Config, Output, PassphraseFile, checked_output, open_app
from rmm.cli.printing import clean, csv_text, show
from rmm.errors import ConfigError

if TYPE_CHECKING:
    from rmm.app import App
    from rmm.model.endpoint import Endpoint
    from rmm.poller.doctor import Step
    from rmm.poller.kit import Kit

app = typer.Typer(rich_markup_mode=None)

MARKS = {"ok": "ok     ", "warning": "warning", "failed": "FAILED ", "skipped": "skipped"}
COLOURS = {"ok": "32", "warning": "33", "failed": "31", "skipped": "2"}
CSV = ["name", "verdict", "ms", "detail", "fix", "code", "collector"]


@app.command()
def doctor(
    endpoint: Annotated[str, typer.Argument(help="Id or name.")],
    config: Config = None,
    passphrase_file: PassphraseFile = None,
    output: Output = "table",
    rights: Annotated[
        bool, typer.Option("--rights", help="Only say what this account can and cannot read there, and who grants it.")
    ] = False,
    record: Annotated[
        Path | None, typer.Option("--record", help="Write a scrubbed recording of the exchange to this file.")
    ] = None,
    replace_names: Annotated[
        bool,
        typer.Option("--replace-names", help="In the recording, replace names, addresses, SIDs and serials too."),
    ] = False,
) -> None:
    """Climb one endpoint's ladder, from its name to each collector, and explain the rung that breaks.

    The rungs: name, route, tcp, tls, http, authentication, shell, language (mode), quota, rights, and one for each
    collector; for SSH name, route, tcp, host_key, authentication, shell. Nothing on the endpoint is changed. Before
    them `store` says whether this machine's SQLite is sound.

    json, ndjson and csv give each step's name, verdict (ok, warning, failed, skipped), ms, detail, fix, code, and
    `collector`: true for a collector's step, as one may have the name of a rung (tcp). json and ndjson add facts.
    """
    checked_output(output)
    application = open_app(config, passphrase_file)
    wanted = application.targets.endpoint(endpoint)
    application.targets.target(wanted)  # a missing passphrase or credential is said before the first rung
    if rights and record is None:
        _rights(application, wanted, output)
        return
    if rights or (replace_names and record is None):
        raise ConfigError("--rights stands alone, and --replace-names belongs to --record", hint="See --help.")
    with application.recorded(wanted, record, names=replace_names) if record else contextlib.nullcontext():
        steps = _climb(application, wanted, output)
    if output == "json":
        document = {"endpoint": wanted.id, "steps": [_plain(step) for step in steps]}
        print(json.dumps(document, ensure_ascii=False, indent=1))
    elif output == "csv":
        print(csv_text([_plain(step) for step in steps], CSV), end="")
    failed = [step for step in steps if step.verdict == "failed"]
    # A collector that fails is a partial poll; any other rung ends it.
    raise typer.Exit(0 if not failed else SOME_FAILED if all(step.collector for step in failed) else NOTHING)


def _climb(application: App, wanted: Endpoint, output: str) -> list[Step]:
    from rmm.app import run

    steps: list[Step] = []
    waiting: list[Step] = []  # what is skipped for the same reason takes one line together
    alike: list[Step] = []  # a failure that was told, and those after it that say the same
    patience = Patience()

    async def climbing() -> None:
        async with application.kit(secrets.token_hex(8)) as kit:
            async for step in patience.over(_all(kit, wanted)):
                steps.append(step)
                if output == "table":
                    if waiting and (step.verdict, step.detail) != (waiting[0].verdict, waiting[0].detail):
                        _print_together(waiting)
                    if alike and _said(step) != _said(alike[0]):
                        _print_alike(alike)
                    if step.code == "needs":
                        waiting.append(step)
                    elif alike:
                        alike.append(step)
                    else:
                        _print(step)
                        if step.verdict == "failed":
                            alike.append(step)
                elif output == "ndjson":
                    print(json.dumps(_plain(step), ensure_ascii=False), flush=True)

    run(climbing())
    _print_together(waiting)
    _print_alike(alike)
    return steps


async def _all(kit: Kit, wanted: Endpoint) -> AsyncIterator[Step]:
    from rmm.poller.doctor import climb

    yield _store()
    async for step in climb(kit, wanted):
        yield step


def _store() -> Step:
    """What this machine's store is kept with; of the endpoint it says nothing."""
    import sqlite3

    from rmm.poller.doctor import Step
    from rmm.tiers.migrations import verdict

    why = verdict()
    if not why:
        return Step("store", "ok", detail=f"SQLite {sqlite3.sqlite_version}")
    return Step("store", "warning", detail=f"SQLite {sqlite3.sqlite_version} has the WAL-reset bug", fix=why)


def _rights(application: App, wanted: Endpoint, output: str) -> None:
    import asyncio

    from rmm.app import run
    from rmm.core.rights import DENIED, EMPTY, READABLE, Survey
    from rmm.poller.rights import survey

    async def ask() -> Survey:
        async with application.kit(secrets.token_hex(8)) as kit:
            return await survey(kit, wanted, asyncio.get_running_loop().time() + max(20.0, kit.poll.timeout))

    found = run(ask())
    rows = [{name: getattr(row, name) for name in row.__struct_fields__} for row in found.rows]
    if output == "table":
        rows = [row | {"error": row["error"].partition(",")[0]} for row in rows]
    columns = {
        "verdict": "Verdict", "kind": "Kind", "source": "Source", "needed_by": "Needed by", "missing": "Stays empty",
        "grant": "Granted by", "error": "Error",
    }  # fmt: skip
    show(rows, columns, output, empty="no collector reads anything here")
    bad = len(found.having(DENIED)) + len(found.having(EMPTY))
    if output == "table":
        account = application.targets.target(wanted).credential.username
        print(
            f"\n{account} on {wanted.name}, tried by {found.way}: {len(found.having(READABLE))} of {len(rows)} sources "
            f"are readable, {bad} are denied"
        )
    raise typer.Exit(SOME_FAILED if bad else 0)


def _plain(step: Step) -> dict[str, object]:
    return {name: getattr(step, name) for name in step.__struct_fields__}


def _print_together(waiting: list[Step]) -> None:
    if waiting:
        names = ", ".join(step.name for step in waiting)
        print(f"{_mark('skipped')} {waiting[0].detail}: {names}", flush=True)
        waiting.clear()


def _said(step: Step) -> tuple[str, str, str]:
    return step.verdict, step.detail, step.fix


def _print_alike(alike: list[Step]) -> None:
    if len(alike) > 1:
        print(f"{_mark('failed')} as {alike[0].name}: {', '.join(step.name for step in alike[1:])}", flush=True)
    alike.clear()


class Patience:
    """On a terminal, how long the rung takes that is climbed now; nothing in a pipe."""

    def __init__(self, every_s: float = 1.0) -> None:
        self._every_s = every_s
        self._began = 0.0
        self._shown = False

    async def over(self, steps: AsyncIterator[Step]) -> AsyncIterator[Step]:
        """The same steps; the line is gone before each."""
        import asyncio

        self._began = time.monotonic()
        ticking = asyncio.create_task(self._tick()) if sys.stdout.isatty() and sys.stderr.isatty() else None
        try:
            async for step in steps:
                self._wipe()
                yield step
                self._began = time.monotonic()
        finally:
            if ticking is not None:
                ticking.cancel()
            self._wipe()

    async def _tick(self) -> None:
        import asyncio

        while True:
            await asyncio.sleep(self._every_s)
            if (seconds := time.monotonic() - self._began) >= self._every_s:
                self._shown = True
                print(f"\r        no answer yet, {seconds:.0f} s\x1b[K", end="", file=sys.stderr, flush=True)

    def _wipe(self) -> None:
        if self._shown:
            self._shown = False
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _mark(verdict: str) -> str:
    mark = MARKS[verdict]
    return f"\x1b[{COLOURS[verdict]}m{mark}\x1b[0m" if sys.stdout.isatty() else mark


def _print(step: Step) -> None:
    print(f"{_mark(step.verdict)} {step.name.ljust(15)} {step.ms:8.1f} ms  {clean(step.detail)}", flush=True)
    if step.fix:
        print(f"        fix: {clean(step.fix)}")
