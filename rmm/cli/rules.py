"""`rmm rules`: which alert rules there are, whether they are right, and when one would have fired."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rmm.cli.options import Config, Output, checked_output, open_app, time_of
from rmm.cli.printing import figure, show
from rmm.errors import ConfigError

if TYPE_CHECKING:
    from rmm.app import App
    from rmm.core.alerting.trial import Fired
    from rmm.model.endpoint import Endpoint
    from rmm.model.rule import Rule, Scope

app = typer.Typer(rich_markup_mode=None, no_args_is_help=True, help="Alert rules: list, check and try them.")

RULES = {
    "rule": "RULE", "tests": "TESTS", "warning": "WARNING", "critical": "CRITICAL", "for": "FOR", "only": "ONLY",
    "source": "SOURCE", "overridden": "OVERRIDDEN",
}  # fmt: skip
FIRED = {
    "endpoint": "ENDPOINT", "row": "ROW", "severity": "SEVERITY", "began": "BEGAN", "fired": "FIRED", "ended": "ENDED",
    "lasted": "LASTED", "peak": "PEAK",
}  # fmt: skip
MOST_SHOWN = 50


@app.command("list")
def list_rules(
    config: Config = None,
    endpoint: Annotated[str, typer.Option(help="As they are on this endpoint: scopes and overrides applied.")] = "",
    collector: Annotated[str, typer.Option(help="Only rules of this collector.")] = "",
    output: Output = "table",
) -> None:
    """List the rules: what they test, with which thresholds, and where they come from."""
    checked_output(output)
    application = open_app(config)
    rules = {rule.id: rule for rule in application.rules}
    own = _of_endpoint(application, endpoint) if endpoint else rules
    rows = [
        _listed(application, own[name], rules[name], endpoint=endpoint)
        for name in sorted(own)
        if collector in ("", rules[name].collector)
    ]
    columns = RULES if any(row["overridden"] for row in rows) else {k: v for k, v in RULES.items() if k != "overridden"}
    show(rows, columns, output, empty="no rules")


def _of_endpoint(application: App, name: str) -> Mapping[str, Rule]:
    from rmm.tiers.fleet_sqlite import FleetFile

    one = application.targets.endpoint(name)
    known = {row["endpoint"]: row["facts"] for row in FleetFile(application.fleet).endpoints(site=one.site)}
    system = str(known.get(one.id, {}).get("os") or "")
    return application.rulebook.of(one.id, one.name, one.site, system).rules


def _listed(application: App, rule: Rule, before: Rule, *, endpoint: str) -> dict[str, Any]:
    changed = [
        f"{key} {_text(getattr(before, key))} -> {_text(getattr(rule, key))}"
        for key in rule.__struct_fields__
        if getattr(rule, key) != getattr(before, key)
    ]
    overrides = [one for one in application.settings.overrides if _concerns(one.rule, rule.id)]
    told = "; ".join(changed) if endpoint else f"{len(overrides)} times" if overrides else ""
    return {
        "rule": rule.id, "tests": _tests(rule), "warning": _level(rule, rule.warning),
        "critical": _level(rule, rule.critical), "for": _span(rule.for_s), "only": _only(rule.only, rule.between),
        "source": _source(application, rule), "overridden": told,
    }  # fmt: skip


def _concerns(wanted: str, rule: str) -> bool:
    from rmm.core.rulebook import like

    return like(wanted, rule)


def _tests(rule: Rule) -> str:
    if rule.when:
        return rule.when
    field = f"{rule.collector}.{rule.field}".strip(".") if rule.collector else rule.field or "any good poll"
    field = f"sum of {field}" if rule.over else field
    measures = {
        "rate": f"rate of {field} per {rule.per}",
        "forecast": f"hours until {field} is {rule.reach}",
        "fleet": f"{field} against {rule.against} of {rule.peers}",
        "absence": f"seconds without {field}",
    }
    return measures.get(rule.measure, field)


def _level(rule: Rule, level: Any) -> str:
    if level is None:
        return ""
    if rule.when:
        return "yes"
    return rule.op if level is True and rule.op.isalpha() and rule.op != "in" else f"{rule.op} {_text(level)}"


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _only(scope: Scope, between: str | tuple[str, ...]) -> str:
    said = [f"{key} {_text(value)}" for key in scope.__struct_fields__ if (value := getattr(scope, key))]
    return "; ".join(said + ([_text(between)] if between else []))


def _source(application: App, rule: Rule) -> str:
    if places := application.settings.rule_places.get(rule.id):
        return places[""].rpartition(": ")[0]
    if any(rule.id == other.id for one in application.catalog.values() for other in one.manifest.rules):
        return f"collector {rule.collector}"
    return "shipped"


@app.command()
def check(config: Config = None) -> None:
    """Check the rules and overrides of rules/*.yaml: each problem with its file, line and what to write instead."""
    application = open_app(config)
    rules = application.rules  # raises what is wrong
    settings = application.settings
    for note in _notes(application):
        print(f"note: {note}")
    own, every = len(settings.rules), len(rules)
    print(f"{every} rules, {own} of them yours, and {len(settings.overrides)} overrides: nothing is wrong")


def _notes(application: App) -> list[str]:
    """What is right and concerns nobody. Systems count only where a poll has told them."""
    from rmm.core.rulebook import fits
    from rmm.model.rule import Scope

    settings, book = application.settings, application.rulebook
    known = {one.id: _system(application).get(one.id, "") for one in settings.endpoints}
    places = [book.place(one.id, os=known[one.id]) for one in settings.endpoints]
    scopes: list[tuple[str, Any]] = [(rule.id, rule.only) for rule in settings.rules if rule.only != Scope()]
    scopes += [(f"override {number}", one) for number, one in enumerate(settings.overrides)]
    return [
        f"{settings.rule_places[name]['']}: no endpoint of the list is concerned"
        for name, scope in scopes
        if places and not any(fits(scope, place) for place in places)
    ]


def _system(application: App) -> dict[str, str]:
    from rmm.tiers.fleet_sqlite import FleetFile

    return {row["endpoint"]: str(row["facts"].get("os") or "") for row in FleetFile(application.fleet).endpoints()}


@app.command()
def test(
    rule: Annotated[str, typer.Argument(help="The rule's id; see `rmm rules list`.")],
    config: Config = None,
    days: Annotated[int, typer.Option(min=1, max=730, help="How far back.")] = 30,
    until: Annotated[str, typer.Option(help="An ISO time; without: now.")] = "",
    site: Annotated[str, typer.Option(help="Only endpoints of this site.")] = "",
    group: Annotated[str, typer.Option(help="Only endpoints of this group.")] = "",
    endpoint: Annotated[str, typer.Option(help="Only this endpoint, or those like it with *.")] = "",
    most: Annotated[int, typer.Option(min=0, help="At most so many lines of the table; 0: all.")] = MOST_SHOWN,
    output: Output = "table",
) -> None:
    """Run a rule over the stored history: when it would have fired, with overrides and scopes as they are now."""
    from rmm.rule_trial import RuleTrial, Span

    checked_output(output)
    application = open_app(config)
    wanted = {one.id: one for one in application.rules}.get(rule)
    if wanted is None:
        from difflib import get_close_matches

        near = get_close_matches(rule, [one.id for one in application.rules], 3)
        hint = f"Near: {', '.join(near)}." if near else "See `rmm rules list`."
        raise ConfigError(f"there is no rule {rule!r}", hint=hint)
    if site:
        application.known_site(site)
    endpoints = application.targets.matching([endpoint] if endpoint else [], site=site, group=group)
    end = time_of(until) if until else datetime.now(UTC)
    found = RuleTrial(application, wanted).run(endpoints, Span(end - timedelta(days=days), end))
    rows = [_fired(one, alert, end, people=output == "table") for one, alert in found]
    shown = rows[-most:] if most and output == "table" else rows
    show(shown, FIRED, output, empty=f"{rule} would not have fired in {days} days on {len(endpoints)} endpoints")
    if output == "table" and rows:
        if len(shown) < len(rows):
            print(f"... and {len(rows) - len(shown)} earlier ones; --most 0 shows all")
        print(_totals(found, days, len(endpoints)))


def _fired(endpoint: Endpoint, fired: Fired, until: datetime, *, people: bool) -> dict[str, Any]:
    lasted = ((fired.ended or until) - fired.began).total_seconds()
    peak = figure(fired.peak) if people and isinstance(fired.peak, float) else fired.peak
    ended = _moment(fired.ended, people=people) if fired.ended else "" if people else None
    return {
        "endpoint": endpoint.name, "row": fired.alert.row, "severity": fired.alert.severity,
        "began": _moment(fired.began, people=people), "fired": _moment(fired.fired, people=people), "ended": ended,
        "lasted": _span(int(lasted)) if people else round(lasted), "peak": peak,
        **({} if people else {"rule": fired.alert.rule, "summary": fired.alert.summary}),
    }  # fmt: skip


def _moment(at: datetime, *, people: bool) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M}" if people else at.isoformat()


def _totals(found: Sequence[tuple[Endpoint, Fired]], days: int, looked_at: int) -> str:
    who = len({one.id for one, _ in found})
    critical = sum(alert.alert.severity == "critical" for _, alert in found)
    still = sum(alert.ended is None for _, alert in found)
    rate = len(found) / days
    return (
        f"{len(found)} alerts in {days} days ({rate:.1f} a day), {critical} of them critical, on {who} of {looked_at} "
        f"endpoints; {still} would fire still. Times are UTC."
    )


def _span(seconds: int) -> str:
    if not seconds:
        return ""
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size or seconds == size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds} s"
