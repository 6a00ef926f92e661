"""`rmm poll`: one round over the fleet."""

from __future__ import annotations

import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rmm.cli.main import NOTHING
from rmm.cli.options import Config, Output, PassphraseFile, checked_output, open_app
from rmm.cli.printing import clean, csv_text, table
from rmm.errors import ConfigError, RmmError

if TYPE_CHECKING:
    from rmm.app import App
    from rmm.model.observation import Fault, Observation
    from rmm.model.round import PollRequest, PollSummary

app = typer.Typer(rich_markup_mode=None)

_COLUMNS = {
    "endpoint": "ENDPOINT",
    "site": "SITE",
    "status": "STATUS",
    "duration_s": "SECONDS",
    "code": "FAULT",
    "hint": "WHAT TO DO",
}
GOOD: tuple[str, ...] = ("OK", "PARTIAL")  # statuses of endpoints that gave readings
_SHOWN = {**_COLUMNS, "hint": "WHAT, AND WHAT TO DO"}


@app.command()
def poll(
    config: Config = None,
    passphrase_file: PassphraseFile = None,
    shard: Annotated[str, typer.Option(help="I/N: only every N-th shard, starting with the I-th (from 1).")] = "",
    workers: Annotated[int | None, typer.Option(min=1, max=64, help="Processes.")] = None,
    concurrency: Annotated[int | None, typer.Option(min=1, max=500, help="Endpoints at once, per process.")] = None,
    timeout: Annotated[float | None, typer.Option(min=1, help="Seconds for one endpoint.")] = None,
    site: Annotated[list[str] | None, typer.Option(help="Only this site; may be repeated.")] = None,
    endpoint: Annotated[list[str] | None, typer.Option(help="Only this endpoint; may be repeated.")] = None,
    all_collectors: Annotated[bool, typer.Option("--all", help="Run every collector, whatever its interval.")] = False,
    due: Annotated[bool, typer.Option("--due", help="Strictly by intervals and back-off; for schedules.")] = False,
    output: Output = "table",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only errors.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be polled, and do nothing.")] = False,
) -> None:
    """Poll every endpoint once: read what is due, keep it, raise and resolve alerts.

    Polled is an endpoint that gave readings. Exit code 0: all endpoints polled; 3: some failed; 4: nothing could be
    polled; 2: wrong usage or configuration; 1: something could not be stored; 130, 143: stopped by Ctrl-C, by SIGTERM.
    """
    from rmm.app import run
    from rmm.model.round import PollRequest

    checked_output(output)
    flags = {"poll.workers": workers, "poll.concurrency": concurrency, "poll.timeout": timeout}
    application = open_app(config, passphrase_file, flags)
    request = PollRequest(
        mode="all" if all_collectors else "due" if due else "round",
        part=_part(shard),
        sites=tuple(site or ()),
        endpoints=tuple(endpoint or ()),
    )
    if dry_run:
        _plan(application, request)
        return
    work = application.work(request)
    total = sum(len(part.endpoints) for part in work)
    if not total:
        raise ConfigError(
            "there is no endpoint to poll",
            hint="Import some: `rmm endpoints import FILE`, or check --shard, --site, --endpoint.",
        )
    printer = _printer(output, quiet=quiet, total=total)
    with printer:
        summary = run(application.poll(request, on_observation=printer.add, config=Path(application.settings.folder)))
    printer.end(summary)
    sys.stdout.flush()
    application.archive()
    if application.settings.reports.schedules:
        _reports(application)
    raise typer.Exit(summary.exit_code)


def _reports(application: App) -> None:
    """Reports that are due; whatever becomes of them, the round was what it was."""
    from rmm.report_run import run_due

    try:
        run_due(application, datetime.now(UTC))
    except RmmError as error:
        print(f"reports that are due were not made: {error}", file=sys.stderr)


def _part(text: str) -> tuple[int, int] | None:
    if not text:
        return None
    first, slash, second = text.partition("/")
    if not slash or not first.isdigit() or not second.isdigit() or not 1 <= int(first) <= int(second):
        raise ConfigError(f"--shard {text}: write I/N with I from 1 to N, such as 1/4", hint="See `rmm poll --help`.")
    return int(first), int(second)


def _plan(application: App, request: PollRequest) -> None:
    work = application.work(request)
    names = ", ".join(application.intervals())
    total = sum(len(part.endpoints) for part in work)
    poll = application.settings.poll
    print(f"{total} endpoints in {len(work)} shards would be polled,")
    print(f"at most {poll.concurrency} at once in {poll.workers} process{'es' if poll.workers > 1 else ''}")
    for part in work:
        print(f"  site {part.site}, shard {part.shard}: {len(part.endpoints)} endpoints")
    print(f"collectors: {names}")


def document(observation: Observation) -> dict[str, Any]:
    """An observation as `--output ndjson` prints it."""
    import msgspec

    fault = observation.fault
    return {
        "endpoint": observation.endpoint,
        "name": observation.name,
        "site": observation.site,
        "shard": observation.shard,
        "observed_at": observation.observed_at.isoformat(),
        "duration_s": observation.duration_s,
        "status": observation.status,
        "fault": {"retry": fault.retry, "hint": fault.hint, **_fault(fault)} if fault else None,
        "identity": observation.identity,
        "refused": msgspec.to_builtins(observation.refused),
        "collectors": {
            name: {
                "outcome": result.outcome,
                "gather_ms": result.gather_ms,
                "bytes": result.bytes,
                "readings": list(result.readings),
                **({"notes": result.notes} if result.notes else {}),
                **({"fault": _fault(result.fault)} if result.fault else {}),
            }
            for name, result in observation.collectors.items()
        },
    }


def _fault(fault: Fault) -> dict[str, Any]:
    return {"code": fault.code, "message": fault.message, **({"sample": fault.sample} if fault.sample else {})}


class _Quiet:
    """Prints nothing but errors; the other printers build on it."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.done = 0

    def __enter__(self) -> _Quiet:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def add(self, observation: Observation) -> None:
        self.done += 1

    def end(self, summary: PollSummary) -> None:
        if summary.exit_code == NOTHING and summary.tried:
            print(f"error: none of {summary.tried} endpoints could be polled", file=sys.stderr)


class _Lines(_Quiet):
    """ndjson: one object per observation, as it arrives."""

    def add(self, observation: Observation) -> None:
        super().add(observation)
        print(json.dumps(document(observation), ensure_ascii=False), flush=True)


class _Whole(_Quiet):
    """json and csv: everything at the end."""

    def __init__(self, total: int, output: str) -> None:
        super().__init__(total)
        self._output = output
        self._rows: list[dict[str, Any]] = []

    def add(self, observation: Observation) -> None:
        super().add(observation)
        self._rows.append(document(observation))

    def end(self, summary: PollSummary) -> None:
        if self._output == "json":
            print(json.dumps(self._rows, ensure_ascii=False, indent=1))
        else:
            flat = [
                {**row, **{name: (row["fault"] or {}).get(name) for name in ("code", "hint", "message")}}
                for row in self._rows
            ]
            print(csv_text(flat, [*_COLUMNS, "observed_at", "message"]), end="")


class _People(_Quiet):
    """A progress bar on a terminal, a line now and then in a pipe, failures and a summary at the end."""

    def __init__(self, total: int) -> None:
        super().__init__(total)
        self._failed: list[dict[str, Any]] = []
        self._bar: Any = None
        self._task: Any = None
        self._next_line = time.monotonic() + 5.0

    def __enter__(self) -> _People:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

            columns = (
                TextColumn("polling"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("{task.fields[bad]}"),
            )
            self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
            self._bar.start()
            self._task = self._bar.add_task("polling", total=self.total, bad="")
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def add(self, observation: Observation) -> None:
        super().add(observation)
        if observation.fault is not None:
            fault = observation.fault
            told = f"{fault.message.rstrip('.')}. {fault.hint}"
            self._failed.append(
                {"endpoint": observation.name, "site": observation.site, "status": observation.status,
                 "duration_s": observation.duration_s, "code": fault.code, "hint": told}
            )  # fmt: skip
        if self._bar is not None:
            bad = f"{len(self._failed)} failed" if self._failed else ""
            self._bar.update(self._task, completed=self.done, bad=bad)
        elif time.monotonic() > self._next_line:
            self._next_line = time.monotonic() + 5.0
            polled = self.done - len(self._failed)
            print(f"{polled} of {self.total} polled, {len(self._failed)} without readings", flush=True)

    def end(self, summary: PollSummary) -> None:
        if self._failed:
            shown = _together(sorted(self._failed, key=lambda row: (row["status"], row["endpoint"])))[:40]
            table(shown, _SHOWN)
            left = len(self._failed) - sum(row["count"] for row in shown)
            if left:
                print(f"... and {left} more: `rmm status`")
        print(clean(summary_line(summary)))
        if summary.unknown_messages:
            print(f"{summary.unknown_messages} PowerShell messages of unknown types were skipped: a newer PowerShell?")
        for fault in summary.faults:
            print(clean(f"this site collector: {fault.message} ({fault.code}). {fault.hint}"))


def summary_line(summary: PollSummary) -> str:
    """One line on the round. Polled is who gave readings; the others are told apart by why they gave none."""
    good: dict[str, int] = {status: summary.statuses[status] for status in GOOD if status in summary.statuses}
    bad = {status: count for status, count in sorted(summary.statuses.items()) if status not in good}
    text = f"{summary.polled} of {summary.planned} endpoints polled in {summary.duration_s:.1f} s"
    if good:
        text += f": {_counted(good)}"
    if bad:
        text += f"; {summary.failed} without readings: {_counted(bad)}"
    if summary.skipped:
        text += f"; {summary.skipped} not tried: not due, or resting after a fault"
    if summary.firing or summary.resolved:
        text += f"; {summary.firing} alerts new, {summary.resolved} resolved"
    return text


def _counted(statuses: dict[str, int]) -> str:
    return ", ".join(f"{count} {status}" for status, count in statuses.items())


def _together(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of which more than three say the same become one, so that a held account does not fill the screen."""
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in ("site", "status", "code", "hint")), []).append(row)
    found: list[dict[str, Any]] = []
    for group in groups.values():
        if len(group) > 3:
            name = f"{group[0]['endpoint']} and {len(group) - 1} more"
            found.append({**group[0], "endpoint": name, "duration_s": None, "count": len(group)})
        else:
            found += [{**row, "count": 1} for row in group]
    return found


def _printer(output: str, *, quiet: bool, total: int) -> _Quiet:
    if quiet:
        return _Quiet(total)
    if output == "ndjson":
        return _Lines(total)
    return _People(total) if output == "table" else _Whole(total, output)
