"""What people do to alerts: `rmm alerts ack`, `resolve`, `silence`, `silences`, `unsilence`."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rmm.cli.options import Config, Output, checked_output, coming, open_app, time_of, who
from rmm.cli.printing import clean, show
from rmm.errors import ConfigError

if TYPE_CHECKING:
    from rmm.app import App
    from rmm.coordinator.acts import By
    from rmm.model.incident import Matcher
    from rmm.model.rule import Alert

SOME_FAILED = 3  # exit code: some of them were not, or not any more, in a state for it
LONGEST_REASON = 500

Numbers = Annotated[list[int] | None, typer.Argument(metavar="[NUMBER...]", help="The alerts' numbers.")]
Match = Annotated[
    list[str] | None,
    typer.Option("--match", metavar="LABEL=VALUE", help="All that every matcher fits: = != =~ !~; may be repeated."),
]
Reason = Annotated[str, typer.Option(help="Why; it is kept with the time and the author.")]
Author = Annotated[str, typer.Option(help="Who does it; without: your account of the operating system.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Expect = Annotated[int, typer.Option(min=0, help="Do not ask, and act only when exactly so many match.")]
For = Annotated[str, typer.Option("--for", help="For how long: 30m, 4h, 7d.")]
Until = Annotated[str, typer.Option("--until", help="Until when: an ISO time such as 2026-11-24T12:00.")]


def ack(
    numbers: Numbers = None,
    config: Config = None,
    match: Match = None,
    reason: Reason = "",
    author: Author = "",
    lasts: For = "",
    until: Until = "",
    yes: Yes = False,
    expect: Expect = 0,
) -> None:
    """Acknowledge alerts: somebody is at it. There are no reminders until it is over, expires, or gets worse."""
    from rmm.app import run
    from rmm.coordinator.acts import acknowledge

    application, by = open_app(config), _by(author, reason)
    end = _end(lasts, until, by.at) if lasts or until else None
    chosen = _chosen(application, numbers, match, "Acknowledge", yes, expect)
    _done(len(chosen), run(acknowledge(application.fleet, list(chosen), by, end)), "acknowledged")


def resolve(
    numbers: Numbers = None,
    config: Config = None,
    match: Match = None,
    reason: Reason = "",
    author: Author = "",
    yes: Yes = False,
    expect: Expect = 0,
) -> None:
    """Resolve alerts by hand. One whose condition still holds fires anew at the next poll: silence that instead."""
    from rmm.app import run
    from rmm.coordinator.acts import resolve as resolve_alerts

    application, by = open_app(config), _by(author, reason)
    chosen = _chosen(application, numbers, match, "Resolve", yes, expect)
    _done(len(chosen), run(resolve_alerts(application.fleet, list(chosen), by)), "resolved")


def silence(
    matchers: Annotated[
        list[str], typer.Argument(metavar="LABEL=VALUE...", help="What every silenced alert fits: = != =~ !~.")
    ],
    config: Config = None,
    reason: Reason = "",
    lasts: For = "",
    until: Until = "",
    begins: Annotated[str, typer.Option("--from", help="When it begins: an ISO time, or 2h from now; now.")] = "",
    author: Author = "",
) -> None:
    """Tell nobody of alerts that fit, for a time. They still fire, and what fires at the end is told then."""
    from rmm.app import run
    from rmm.coordinator.acts import described
    from rmm.coordinator.acts import silence as add_silence
    from rmm.model.incident import Silence

    application, by = open_app(config), _by(author, reason)
    if not by.reason:
        raise ConfigError("say why, with --reason", hint="Whoever wonders about it later is shown the reason.")
    if not lasts and not until:
        raise ConfigError("say for how long, with --for or --until", hint="For ever is what `rules` are for.")
    start = coming(begins, by.at) if begins else by.at
    wanted = Silence(
        matchers=tuple(parsed(matchers)), author=by.who, reason=by.reason, starts_at=start,
        ends_at=_end(lasts, until, start),
    )  # fmt: skip
    number = run(add_silence(application.fleet, wanted, by.at))
    print(
        clean(f"silence {number}: {described(wanted)}; {len(_matching(application, wanted.matchers))} alerts fit now")
    )


def unsilence(
    numbers: Annotated[list[int], typer.Argument(metavar="NUMBER...", help="Numbers of silences.")],
    config: Config = None,
    reason: Reason = "",
    author: Author = "",
) -> None:
    """End silences now; what they kept back and still fires is told at the end of the next round."""
    from rmm.app import run
    from rmm.coordinator.acts import unsilence as end_silences

    missing = run(end_silences(open_app(config).fleet, numbers, _by(author, reason)))
    _done(len(set(numbers)), missing, "ended")


def silences(
    config: Config = None,
    since: Annotated[str, typer.Option(help="Also those that ended since: 7d, or an ISO time.")] = "",
    output: Output = "table",
) -> None:
    """List silences: what they are about, who made them and why, and until when they hold."""
    from rmm.tiers.fleet_sqlite import FleetFile

    checked_output(output)
    now = datetime.now(UTC)
    rows = [
        {
            "number": one.number,
            "matchers": " ".join(f"{m.label}{m.op}{m.value}" for m in one.matchers),
            "state": "ended" if one.ends_at <= now else "active" if one.starts_at <= now else "to come",
            "starts_at": one.starts_at.isoformat(timespec="seconds"),
            "ends_at": one.ends_at.isoformat(timespec="seconds"),
            "author": one.author,
            "reason": one.reason,
        }
        for one in FleetFile(open_app(config).fleet).silences(time_of(since) if since else now)
    ]
    columns = {"number": "NO", "state": "STATE", "matchers": "ALERTS", "starts_at": "FROM", "ends_at": "UNTIL",
               "author": "AUTHOR", "reason": "REASON"}  # fmt: skip
    show(rows, columns, output, empty="no silences")


def parsed(matchers: list[str]) -> list[Matcher]:
    """Matchers as they are typed. Raises ConfigError."""
    from rmm.core.alerting.silences import parse_matcher

    try:
        return [parse_matcher(text) for text in matchers]
    except ValueError as error:
        raise ConfigError(str(error), hint='Write rule=cpu_high, endpoint=~"SRV-.*" or site!=hq.') from error


def _by(author: str, reason: str) -> By:
    from rmm.coordinator.acts import By

    return By(clean(author)[:100].strip() or who(), datetime.now(UTC), clean(reason)[:LONGEST_REASON].strip())


def _end(lasts: str, until: str, start: datetime) -> datetime:
    if lasts and until:
        raise ConfigError("--for and --until say the same", hint="Give one of them.")
    return coming(lasts or until, start)


def _chosen(
    application: App, numbers: list[int] | None, match: list[str] | None, what: str, yes: bool, expect: int
) -> dict[int, Alert]:
    """The alerts that are named, or that match, which is asked for unless their number is as expected."""
    from rmm.tiers.fleet_sqlite import FleetFile

    if bool(numbers) is bool(match):
        raise ConfigError("name alerts by their numbers, or by --match", hint="`rmm alerts list` shows numbers.")
    if numbers:
        found = FleetFile(application.fleet).numbered(numbers)
        missing = [number for number in numbers if number not in found]
        if missing:
            raise ConfigError(f"there is no alert {missing[0]}", hint="`rmm alerts list` shows their numbers.")
        return found
    found = _matching(application, tuple(parsed(match or [])))
    if not found:
        raise ConfigError("no alert that fires fits", hint="`rmm alerts list` shows what fires.")
    if expect and len(found) != expect:
        raise ConfigError(f"{len(found)} alerts fit, not {expect}: nothing was done", hint="Look at them first.")
    if not yes and not expect:
        _ask(found, what)
    return found


def _ask(found: dict[int, Alert], what: str) -> None:
    for number, alert in list(found.items())[:20]:
        print(clean(f"{number}  {alert.severity}  {alert.name}  {alert.summary}"))
    if len(found) > 20:
        print(f"... and {len(found) - 20} more")
    if not sys.stdin.isatty():
        raise ConfigError("there is no terminal to ask on, and nothing was done", hint="Add --yes or --expect COUNT.")
    typer.confirm(f"{what} {len(found)} alerts?", abort=True)


def _matching(application: App, matchers: tuple[Matcher, ...]) -> dict[int, Alert]:
    """Firing and acknowledged alerts by number, as matchers see them."""
    from rmm.core.alerting.silences import all_fit, labels_of
    from rmm.tiers.fleet_sqlite import FleetFile

    context = application.alert_context()
    file = FleetFile(application.fleet)
    live = file.numbered([row["number"] for row in file.alerts()])
    return {
        number: alert for number, alert in live.items() if all_fit(matchers, labels_of(alert, context.place(alert)))
    }


def _done(asked: int, failed: list[int], word: str) -> None:
    for number in failed:
        print(f"error: {number}: it is over, or not in a state for this: nothing was done", file=sys.stderr)
    print(f"{asked - len(failed)} {word}")
    raise typer.Exit(SOME_FAILED if failed else 0)


COMMANDS: dict[str, Any] = {
    "ack": ack, "resolve": resolve, "silence": silence, "silences": silences, "unsilence": unsilence,
}  # fmt: skip
