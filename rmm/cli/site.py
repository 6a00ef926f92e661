"""`rmm site`: the site collector of this machine."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rmm.cli import site_forms as forms
from rmm.cli.installing import (
    exec_start,
    is_root,
    kind_of,
    put,
    show,
    systemctl,
    units_folder,
)
from rmm.cli.options import Config, Output, PassphraseFile, checked_output, folder_of, passphrase_from
from rmm.cli.printing import show as print_rows
from rmm.cli.site_way import keep, way_of
from rmm.errors import ConfigError, RmmError

if TYPE_CHECKING:
    from rmm.site.control import Status

app = typer.Typer(
    rich_markup_mode=None, no_args_is_help=True, help="The site collector: polls this site and forwards to the hub."
)

NOT_ENDED, NOT_RUNNING = 3, 4
PATIENCE_S = 300.0  # for the end of a collector that drains
_MOST = 1 << 16  # characters of a token
Wait = Annotated[float, typer.Option(min=0, help="Seconds to wait until it has ended.")]


@app.command()
def enroll(
    token: Annotated[str, typer.Argument(help="From `rmm hub invite SITE`; - reads standard input, @FILE a file.")],
    config: Config = None,
    proxy: Annotated[
        str,
        typer.Option(
            metavar="URL",
            help="http://[USER@]HOST:PORT of a proxy that allows CONNECT; its password goes into the vault.",
        ),
    ] = "",
    url: Annotated[
        list[str] | None,
        typer.Option(help="How this machine reaches the broker, where it is another way than the hub names."),
    ] = None,
    passphrase_file: PassphraseFile = None,
    output: Output = "table",
) -> None:
    """Make this machine a collector of a site: keys are made here, and the hub gives a certificate and a login.

    A token on the command line can be seen by everybody on this machine while the command runs: prefer - or @FILE.
    """
    from rmm.app import run
    from rmm.bus import available

    available()
    from rmm.loop import SystemClock
    from rmm.model.enrolment import decode_token
    from rmm.site.enrolling import enroll as ask

    checked_output(output)
    folder = folder_of(config)
    given = decode_token(_text(token))
    way = way_of(folder, proxy, url or [], passphrase_file)
    identity = run(ask(given, folder, clock=SystemClock(), host=socket.gethostname(), proxy=way.address, urls=way.urls))
    noted = keep(folder, way)
    if output != "table":
        row = {"site": identity.site, "collector": identity.collector, "folder": str(identity.folder)}
        print(json.dumps(row | {"expires_at": identity.expires_at.isoformat(timespec="seconds")}))
        return
    print(f"this machine is collector {identity.collector} of site {identity.site}; its keys are in {identity.folder}")
    print(f"certificate and login last until {identity.expires_at:%Y-%m-%d} and are renewed by `rmm site run`")
    if noted:
        print(noted)
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


@app.command()
def run(
    config: Config = None,
    passphrase_file: PassphraseFile = None,
    service: Annotated[bool, typer.Option("--service", help="Started by the service manager of Windows.")] = False,
    kept: Annotated[
        bool, typer.Option("--kept", help="Started by what `rmm site install` set up: ends where it was stopped.")
    ] = False,
) -> int:
    """Poll the endpoints of this site and forward to the hub, until it is stopped.

    While the hub cannot be reached, polling goes on; what was observed waits in the data folder. Run by hand, it also
    ends what `rmm site stop` or `drain` has said.
    """
    from rmm.app import run as run_loop
    from rmm.bus import available
    from rmm.settings.load import load_own

    available()
    from rmm.site_run import run_site

    folder = folder_of(config)
    secret = cache(lambda: passphrase_from(folder, passphrase_file))

    def work() -> int:
        return int(run_loop(run_site(folder, secret, _say, kept=kept or service)))

    if not service:
        return work()
    from rmm.site.control import STOP, ask_to
    from rmm.site.windows_service import serve

    data = load_own(folder).data
    serve(forms.NAME, work, lambda: ask_to(data, STOP))
    return 0


def _say(text: str) -> None:
    print(text, flush=True)


@app.command()
def status(config: Config = None, output: Output = "table") -> int:
    """What the site collector of this folder is doing; exit code 4 when none runs."""
    from rmm.site.control import is_running, read_status, read_stopped

    checked_output(output)
    data = _data(config)
    known, running, stopped = read_status(data), is_running(data), read_stopped(data)
    row = {
        "running": running,
        "stopped": f"{stopped.how} at {_time(stopped.at)}, until `rmm site start`" if stopped else "",
        **(_row(known) if known else {}),
    }
    if output == "table":
        for name, value in row.items():
            print(f"{name.replace('_', ' '):<19}{'' if value is None else value}")
    else:
        print_rows([row], {name: name for name in row}, output)
    return 0 if running else NOT_RUNNING


def _row(known: Status) -> dict[str, Any]:
    beat, now = known.beat, datetime.now(UTC)
    return {
        "site": beat.site,
        "collector": beat.collector,
        "doing": known.doing,
        "version": beat.version,
        "configuration": beat.bundle,
        "config_refused": beat.refused,
        "endpoints": beat.endpoints,
        "shards": ", ".join(str(one) for one in beat.shards),
        "last_round": _time(beat.polled_at),
        "link": known.link,
        "link_since": _time(known.link_since),
        "trouble": known.trouble,
        "last_receipt": _time(known.acknowledged_at),
        "waiting": beat.spooled,
        "waiting_mb": round(beat.spool_bytes / 1e6, 1),
        "oldest": _time(beat.oldest),
        "dropped": beat.dropped,
        "certificate_until": _time(beat.expires_at),
        "problems": "; ".join(beat.problems),
        "written": f"{_time(beat.at)} ({max(0, round((now - beat.at).total_seconds()))} s ago)",
    }


def _time(at: datetime | None) -> str:
    return at.isoformat(sep=" ", timespec="seconds") if at else ""


@app.command()
def drain(config: Config = None, wait: Wait = PATIENCE_S) -> int:
    """Let the site collector end its round, hand over what waits for the hub, and end, until `rmm site start`."""
    from rmm.site.control import DRAIN

    return _ask(config, DRAIN, wait)


@app.command()
def stop(config: Config = None, wait: Wait = 30.0) -> int:
    """Stop the site collector until `rmm site start`; what it has not handed over waits until then.

    It stays stopped whatever keeps it running, also when the machine starts anew.
    """
    from rmm.site.control import STOP

    return _ask(config, STOP, wait)


def _ask(config: Path | None, what: str, wait_s: float) -> int:
    from rmm.settings.places import is_enrolled
    from rmm.site.control import ask_to, is_running, keep_stopped, read_status

    data = _data(config)
    enrolled = is_enrolled(folder_of(config))
    if enrolled:
        keep_stopped(data, what)  # first: one that starts just now sees it
    if not is_running(data):
        print("no site collector runs here" + (", and none is started until `rmm site start`" if enrolled else ""))
        return NOT_RUNNING
    ask_to(data, what)
    if not _ended(is_running, data, wait_s):
        return NOT_ENDED
    print(f"ended; {_waiting(read_status(data))}")
    return 0


def _ended(lasts: Callable[[Path], bool], data: Path, wait_s: float) -> bool:
    """Wait while this lasts; where that is too long, tell what the collector does."""
    from rmm.site.control import read_status

    end = time.monotonic() + wait_s
    while lasts(data):
        if time.monotonic() > end:
            known = read_status(data)
            print(f"it has not ended yet: {known.doing if known else 'unknown'}, {_waiting(known)}", file=sys.stderr)
            return False
        time.sleep(0.2)
    return True


Kind = Annotated[str, typer.Option(help="systemd, windows-service or windows-task; without: what fits this machine.")]


@app.command()
def start(config: Config = None, kind: Kind = "", wait: Wait = PATIENCE_S) -> int:
    """Let the site collector run again after `stop` or `drain`, and start what `rmm site install` has set up.

    Of one that still drains or stops, the end is waited for; exit code 3, and it stays stopped, when that takes longer.
    """
    from rmm.site.control import is_ending, is_running, let_start

    wanted = _kind(kind)
    data = _data(config)
    if not _ended(is_ending, data, wait):  # it would end all the same, and nothing would start it again
        return NOT_ENDED
    let_start(data)
    if is_running(data):
        print("it runs")
        return 0
    try:
        put({}, data, [forms.start_command(wanted)], dry_run=False)
    except RmmError as error:
        hint = "Is it set up? `rmm site install` does that; `rmm site run` runs it in a terminal."
        raise RmmError(f"it may start again, but was not started: {error}", code=error.code, hint=hint) from error
    return 0


def _kind(kind: str) -> str:
    return kind_of(kind, forms.KINDS, forms.SERVICE if sys.platform == "win32" else forms.SYSTEMD)


def _waiting(known: Status | None) -> str:
    count = known.beat.spooled if known else 0
    return f"{count} entries wait for the hub" if count else "nothing waits for the hub"


def _data(config: Path | None) -> Path:
    from rmm.settings.load import load_own

    return load_own(folder_of(config)).data


@app.command()
def install(
    config: Config = None,
    kind: Kind = "",
    passphrase_file: Annotated[
        Path | None,
        typer.Option(help="File with the vault's passphrase; readable by the account that runs the collector."),
    ] = None,
    account: Annotated[
        str, typer.Option(help="Account that runs it; a service of Windows gets its own where none is named.")
    ] = "",
    only_print: Annotated[bool, typer.Option("--print", help="Print what would be set up, and do nothing.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")] = False,
) -> int:
    """Keep the site collector running: a unit of systemd, a service of Windows, or a scheduled task."""
    from rmm.site.control import is_ending, let_start

    wanted = _kind(kind)
    if account and wanted == forms.SYSTEMD and not is_root():
        raise ConfigError("--account needs root", hint="Without it, the unit is one of your own account.")
    folder = folder_of(config).absolute()
    secret = str(passphrase_file.absolute()) if passphrase_file else ""
    files, place, commands = _form(
        wanted, folder, forms.words(str(folder), secret, service=wanted == forms.SERVICE), account
    )
    if only_print and files:
        show(files)
    else:
        if not (only_print or dry_run):
            data = _data(config)
            if not _ended(is_ending, data, PATIENCE_S):  # as `start` does
                return NOT_ENDED
            let_start(data)
        put(files, place, commands, dry_run=dry_run or only_print)
    return 0


def _form(
    kind: str, folder: Path, command: Sequence[str], account: str
) -> tuple[dict[str, str], Path, list[list[str]]]:
    """The files, where they go, and the commands that take them up."""
    if kind == forms.SYSTEMD:
        text = forms.unit(exec_start(command), account=account)
        return (
            {f"{forms.NAME}.service": text},
            units_folder(),
            [systemctl("daemon-reload"), systemctl("enable", "--now", f"{forms.NAME}.service")],
        )
    if kind == forms.SERVICE:
        program = subprocess.list2cmdline([sys.executable, *command])
        commands = forms.service_commands(program, account or f"NT SERVICE\\{forms.NAME}")
        return {}, folder, [*commands, forms.start_command(kind)]
    text = forms.task(account, command)
    file = str(folder / f"{forms.NAME}.xml")
    return (
        {f"{forms.NAME}.xml": text},
        folder,
        [["schtasks", "/Create", "/TN", forms.NAME, "/XML", file, "/F"], forms.start_command(kind)],
    )
