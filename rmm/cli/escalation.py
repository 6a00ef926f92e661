"""`rmm escalation`: who would be told when, and who was."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple
from zoneinfo import ZoneInfo

import typer

from rmm.cli.oncall import kept, lookup_of, moment_of
from rmm.cli.options import Config, Output, checked_output, open_app
from rmm.cli.printing import clean, show
from rmm.errors import ConfigError

if TYPE_CHECKING:
    from rmm.app import App
    from rmm.core.alerting.escalation import Step
    from rmm.model.escalation import Course, Policy, Taken

app = typer.Typer(rich_markup_mode=None, no_args_is_help=True, help="Who would be told when, and who was.")

STEPS = {"round": "ROUND", "step": "STEP", "due": "DUE", "tells": "TELLS", "state": "STATE", "note": "NOTE"}
COURSES = {
    "incident": "INCIDENT", "what": "WHAT", "policy": "POLICY", "fired": "SINCE", "steps": "STEPS TAKEN",
    "ended": "ENDED", "told": "TOLD",
}  # fmt: skip


class _Case(NamedTuple):
    """What the table is about: a policy, from when, and what was taken of it."""

    policy: Policy
    fired_at: datetime
    site: str
    course: Course | None = None
    taken: Sequence[Taken] = ()


@app.command("list")
def list_courses(
    config: Config = None,
    all_: Annotated[bool, typer.Option("--all", help="Those that are over as well.")] = False,
    output: Output = "table",
) -> None:
    """List the incidents that escalate, newest first."""
    from rmm.tiers.fleet_sqlite import FleetFile

    checked_output(output)
    application = open_app(config)
    file = kept(application)
    courses = [one for one in file.courses() if all_ or not one.ended]
    incidents = FleetFile(application.fleet).incidents([one.key for one in courses])
    rows = []
    for course in courses:
        taken = file.steps(course)
        told = sorted({name for one in taken for name in one.told})
        title = clean(incidents[course.key].title) if course.key in incidents else None
        rows.append(
            {
                "incident": course.key, "what": title, "policy": course.policy, "fired": _local(course.fired_at, "UTC"),
                "steps": len(taken), "ended": course.ended or None, "told": told,
            }
        )  # fmt: skip
    show(rows, COURSES, output, empty="nothing escalates")


@app.command("show")
def show_steps(
    name: Annotated[
        str, typer.Argument(metavar="POLICY|ALERT|INCIDENT", help="A policy, an alert's number, or an incident's id.")
    ],
    config: Config = None,
    at: Annotated[str, typer.Option(help="Of a policy: when the alert fires; else: the time. Without: now.")] = "",
    site: Annotated[str, typer.Option(help="Of a policy: the site of the alert, for its time zone and holidays.")] = "",
    output: Output = "table",
) -> None:
    """Dry run: every step of a policy, when it is due and whom it tells; of an incident, also what was taken already.

    Nobody is told anything. Who is on call is worked out for the moment of each step.
    """
    checked_output(output)
    application = open_app(config)
    moment = moment_of(at)
    if site:
        application.known_site(site)
    if name.isdigit():
        cases = _of_alert(application, int(name))
    elif courses := kept(application).courses(name):
        cases = _of_courses(application, courses)
    else:
        cases = [_of_policy(application, name, moment, site)]
    rows = [row for case in cases for row in _rows(application, case, moment)]
    show(rows, STEPS, output)


def _of_policy(application: App, name: str, at: datetime, site: str) -> _Case:
    policies = application.settings.escalation.policies
    if name not in policies:
        raise ConfigError(f"there is no policy {name!r}; there are {', '.join(sorted(policies)) or 'none'}", hint="")
    return _Case(policies[name], at, site or next(iter(application.settings.sites)))


def _of_alert(application: App, number: int) -> list[_Case]:
    from rmm.tiers.fleet_sqlite import FleetFile

    states = ("pending", "firing", "acknowledged", "resolved")
    listed = FleetFile(application.fleet).alerts(states=states)
    alert = next((one for one in listed if one["number"] == number), None)
    if alert is None:
        raise ConfigError(f"there is no alert {number}", hint="`rmm alerts list` shows their numbers.")
    first = datetime.fromisoformat(alert["first_at"])
    courses = kept(application).courses(alert["incident"] or alert["key"])
    cases = _of_courses(application, [one for one in courses if alert["incident"] or one.first_at == first])
    if not cases:
        hint = "`rmm escalation show POLICY` shows what a policy would do. A route names the policy of its alerts."
        raise ConfigError(f"alert {number} does not escalate", hint=hint)
    return cases


def _of_courses(application: App, courses: Iterable[Course]) -> list[_Case]:
    file, policies = kept(application), application.settings.escalation.policies
    known = [one for one in courses if one.policy in policies]
    return [_Case(policies[one.policy], one.fired_at, one.site, one, file.steps(one)) for one in known]


def _rows(application: App, case: _Case, now: datetime) -> Iterable[dict[str, Any]]:
    from rmm.core.alerting.escalation import calls_of, steps

    settings, lookup = application.settings.escalation, lookup_of(application)
    plan = steps(case.policy, case.fired_at, lookup.hours(case.site))
    last = max((step.due_at for step in plan if step.due_at), default=case.fired_at)
    rosters = lookup.rosters(kept(application).overrides(case.fired_at), case.fired_at, last, strict=True)
    zone = application.settings.sites[case.site].timezone if case.site in application.settings.sites else "UTC"
    for step in plan:
        done = next((one for one in case.taken if (one.repeat, one.step) == step.identity), None)
        names: tuple[str, ...] = done.told if done else ()
        note = done.note if done else step.passed_over
        if done is None and step.due_at and not step.passed_over:
            at = max(step.due_at, now) if case.course else step.due_at
            found = calls_of([(one, step.tier.via) for one in step.tier.tell], settings.people, rosters, at)
            names, note = found.names, found.note
        yield {
            "policy": case.policy.id, "round": step.repeat + 1, "step": step.number,
            "due": _local(step.due_at, zone) if step.due_at else None, "tells": list(names),
            "state": _state(case, step, done, now, zone), "note": clean(note),
        }  # fmt: skip


def _state(case: _Case, step: Step, done: Taken | None, now: datetime, zone: str) -> str:
    if done is not None:
        return f"taken {_local(done.at, zone)}"
    if case.course is not None and case.course.ended:
        return f"stopped: {case.course.ended}"
    if step.due_at is None:
        return "never"
    return "due" if case.course is not None and step.due_at <= now else "planned"


def _local(at: datetime, zone: str) -> str:
    return at.astimezone(ZoneInfo(zone) if zone != "UTC" else UTC).isoformat(sep=" ", timespec="minutes")
