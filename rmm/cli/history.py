"""`rmm history`: one metric of one endpoint, of some, or of the whole fleet."""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from rmm.cli.options import Config, Output, checked_output, open_app, time_of
from rmm.cli.printing import figure, show, sparkline
from rmm.errors import ConfigError

if TYPE_CHECKING:
    from rmm.app import App
    from rmm.fleet_view import FleetView
    from rmm.model.endpoint import Endpoint
    from rmm.model.rollup import Rollup

app = typer.Typer(rich_markup_mode=None)

WIDTH, NARROW = 60, 24  # of a trend alone, and beside others
MOST_POINTS = 1_000_000
SINGLY = 20  # endpoints; for more of them a pass over all files costs less than to ask for each
STEPS, BY = ("auto", "raw", "hour", "day"), ("mean", "max", "min", "last")
_ROW = "["
_METRIC = re.compile(r"[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*(\[.*\])?", re.DOTALL)
FIGURES = {"count": "COUNT", "min": "MIN", "mean": "MEAN", "max": "MAX", "last": "LAST"}
FORECAST = {"per_day": "PER DAY", "days_left": "DAYS LEFT", "fit": "FIT"}
WHO = {"endpoint": "ENDPOINT", "metric": "METRIC"}


class Span(NamedTuple):
    """From when to when, and in which steps."""

    since: datetime
    until: datetime
    step: str


class Series(NamedTuple):
    """The history of one metric of one endpoint, at least one point of it."""

    endpoint: Endpoint
    metric: str
    points: Sequence[Rollup]


@app.command()
def history(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            help="Endpoints (id, name, or with *: all that match; without: all), and last the metric: "
            "collector.field or collector.field[row], where * may stand in the row. Without a metric: what there is."
        ),
    ] = None,
    config: Config = None,
    since: Annotated[
        str, typer.Option("--since", "--last", help="How far back (30m, 24h, 7d) or an ISO time.")
    ] = "24h",
    until: Annotated[str, typer.Option(help="An ISO time; without: now.")] = "",
    step: Annotated[
        str, typer.Option(help="raw, hour or day; auto: raw up to 2 days, hours up to 60 days, else days.")
    ] = "auto",
    site: Annotated[str, typer.Option(help="Only endpoints of this site.")] = "",
    group: Annotated[str, typer.Option(help="Only endpoints of this group.")] = "",
    where: Annotated[str, typer.Option(help="Only endpoints of which this query is true: see docs/query.md.")] = "",
    top: Annotated[int, typer.Option(min=0, help="Only so many, those with the highest; implies --summary.")] = 0,
    by: Annotated[str, typer.Option(help="What --top looks at: mean, max, min or last.")] = "mean",
    summary: Annotated[
        bool, typer.Option("--summary", help="One line for each endpoint instead of the points.")
    ] = False,
    forecast: Annotated[
        str, typer.Option(help="Also when a straight line through the days reaches this value; implies --summary.")
    ] = "",
    output: Output = "table",
) -> None:
    """Show what a metric was: of one endpoint its points, of several a line each. Also what a text or state was.

    csv, json and ndjson have the points of several endpoints too.
    """
    from rmm.core.trends import together
    from rmm.fleet_view import FleetView

    _checked(output, step, by)
    application = open_app(config)
    view = FleetView(application)
    metric, endpoints = _asked(application, names or [], site, group)
    if where:
        asked = view.compiled(where, columns=["endpoint"])
        meeting = {endpoint.id for endpoint, _ in view.lines(asked, site=site)}
        endpoints = [endpoint for endpoint in endpoints if endpoint.id in meeting]
    span = _span(since, until, step)
    if not metric:
        _list(view, endpoints, span, output)
        return
    numeric, missing = _kind(application, metric, fleet=len(names or []) == 1)
    empty = f"no samples of {metric} since {span.since:%Y-%m-%d %H:%M} UTC; {missing}"
    found = _series(view, endpoints, metric, span) if numeric is not False else iter(())
    if top:
        found = iter(heapq.nlargest(top, found, key=lambda one: getattr(together(one.points), by)))
    limit = _limit(forecast) if forecast else None
    if top or summary or limit is not None or (output == "table" and (len(endpoints) != 1 or _rows_of(metric))):
        shown = _lines(found, output, rows=_rows_of(metric), limit=limit)
    else:
        shown = _points(found, span, output)
    if not shown and not numeric:
        _values(view, endpoints, metric, span, output, empty)
    elif not shown:
        show([], WHO | FIGURES, output, empty=empty)


def _checked(output: str, step: str, by: str) -> None:
    checked_output(output)
    for option, word, words in (("--step", step, STEPS), ("--by", by, BY)):
        if word not in words:
            raise ConfigError(f"{option} {word}: there are {', '.join(words)}", hint="Choose one of them.")


def _asked(application: App, words: list[str], site: str, group: str) -> tuple[str, list[Endpoint]]:
    """(metric, or nothing; endpoints) of the command line. Raises ConfigError for what is neither."""
    if site:
        application.known_site(site)
    listed = {name for endpoint in application.settings.endpoints for name in (endpoint.id, endpoint.name.lower())}
    last = words[-1] if words else ""
    metric = last if _METRIC.fullmatch(last) and last.lower() not in listed else ""
    if not (words or site or group):
        raise ConfigError("name an endpoint or a metric", hint="Such as `rmm history SRV01 cpu.util_pct`.")
    if len(words) > 1 and not metric and "*" not in last and last.lower() not in listed:
        reason = f"{last!r} is neither an endpoint nor a metric: write collector.field or collector.field[row]"
        raise ConfigError(reason, hint=f"`rmm history {words[0]}` lists the metrics.")
    return metric, application.targets.matching(words[:-1] if metric else words, site=site, group=group)


def _span(since: str, until: str, step: str) -> Span:
    from rmm.core.trends import step_for

    end = time_of(until) if until else datetime.now(UTC)
    begin = time_of(since, end)
    return Span(begin, end, step_for(begin, end) if step == "auto" else step)


def _kind(application: App, metric: str, *, fleet: bool) -> tuple[bool | None, str]:
    """(whether a metric is a number; what to say where there is none of it). None: no manifest knows it any more."""
    from rmm.core.query import schema_of

    collector, _, field = metric.partition("[")[0].partition(".")
    known = application.catalog[collector].manifest.fields.get(field) if collector in application.catalog else None
    if known is None:
        reason = schema_of(one.manifest for one in application.catalog.values()).unknown(collector, field)
        if fleet:
            raise ConfigError(reason, hint="`rmm history ENDPOINT` lists the metrics.")
        return None, reason
    if known.kind == "now":
        return False, "it is kept in the last state alone: `rmm query`"
    rows = "" if _ROW in metric or not application.catalog[collector].manifest.key else f" ({metric}[*]: of every row)"
    return known.kind in ("gauge", "counter"), f"`rmm history ENDPOINT` lists the metrics{rows}"


def _rows_of(metric: str) -> bool:
    """Whether a metric stands for several rows."""
    return "*" in metric.partition(_ROW)[2]


def _series(view: FleetView, endpoints: Sequence[Endpoint], metric: str, span: Span) -> Iterator[Series]:
    from rmm.core.trends import points

    if span.step != "raw" and not _rows_of(metric) and len(endpoints) > SINGLY:
        wanted: Any = span.step
        every = view.everyones(metric, since=span.since, until=span.until, step=wanted)
        yield from (Series(one, metric, every[one.id]) for one in endpoints if one.id in every)
        return
    with view.kept_open():
        for endpoint in endpoints:
            for name in _expanded(view, endpoint, metric, span) if _rows_of(metric) else (metric,):
                if span.step == "raw":
                    found = points(view.history(endpoint.id, name, since=span.since, until=span.until))
                else:
                    step: Any = span.step
                    found = view.rollups(endpoint.id, name, since=span.since, until=span.until, step=step)
                if found:
                    yield Series(endpoint, name, found)


def _expanded(view: FleetView, endpoint: Endpoint, metric: str, span: Span) -> Iterator[str]:
    """The metrics of an endpoint that one with * in its row stands for."""
    from rmm.core.wildcards import pattern

    field, _, row = metric.partition(_ROW)
    fits = pattern(row[:-1])
    for name in view.metrics(endpoint.id, since=span.since, until=span.until):
        own, bracket, key = name.partition(_ROW)
        if own == field and bracket and fits(key[:-1]):
            yield name


def _limit(text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise ConfigError(f"--forecast {text}: a number is expected", hint="Such as --forecast 100.") from error


def _forecast(points: Sequence[Rollup], limit: float) -> dict[str, Any]:
    """Growth per day, days until the limit, and how well the line fits; nothing of what cannot be said."""
    from rmm.core.capacity import capacity

    found = capacity([(point.at.timestamp() / 86_400, point.last) for point in points], limit)
    if found is None:
        return dict.fromkeys(FORECAST)
    days = None if found.days is None else round(found.days, 2)
    return {"per_day": round(found.per_day, 4), "days_left": days, "fit": round(found.fit, 3)}


def _lines(found: Iterator[Series], output: str, *, rows: bool, limit: float | None = None) -> bool:
    """Show each series as one line; whether there was any."""
    from rmm.core.trends import together

    table = output == "table"
    shown = []
    for one in found:
        figures = _figures(together(one.points), text=table)
        trend = {"trend": sparkline([point.mean for point in one.points], NARROW)} if table else {}
        ahead = _forecast(one.points, limit) if limit is not None else {}
        shown.append({"endpoint": one.endpoint.name, "metric": one.metric} | figures | ahead | trend)
    if shown:
        who = WHO if rows or not table else {"endpoint": "ENDPOINT"}
        more = FORECAST if limit is not None else {}
        show(shown, who | FIGURES | more | ({"trend": "TREND"} if table else {}), output)
    return bool(shown)


def _points(found: Iterator[Series], span: Span, output: str) -> bool:
    """Show the points of each series; whether there was any."""
    from rmm.core.trends import together

    columns = {"at": "AT"} | ({"value": "VALUE"} if span.step == "raw" else FIGURES)
    shown: list[dict[str, Any]] = []
    for one in found:
        who = {"endpoint": one.endpoint.name, "metric": one.metric}
        shown += [who | _point(point, span, text=output == "table") for point in one.points]
        if len(shown) > MOST_POINTS:
            hint = "Name fewer endpoints or a shorter time, or use --step day or --summary."
            raise ConfigError(f"there are more than {MOST_POINTS} points", hint=hint)
        if output == "table":
            total = together(one.points)
            print(f"{sparkline([point.mean for point in one.points], WIDTH)}  {_said(total)}")
    if shown:
        show(shown, columns if output == "table" else WHO | columns, output)
    return bool(shown)


def _point(point: Rollup, span: Span, *, text: bool) -> dict[str, Any]:
    at = point.at.isoformat()
    if span.step == "raw":
        return {"at": at, "value": figure(point.last) if text else point.last}
    return {"at": at, **_figures(point, text=text)}


def _figures(rollup: Rollup, *, text: bool) -> dict[str, Any]:
    figures = {"count": rollup.samples} | {name: getattr(rollup, name) for name in FIGURES if name != "count"}
    return {name: figure(value) for name, value in figures.items()} if text else figures


def _said(total: Rollup) -> str:
    figures = ", ".join(f"{name} {figure(getattr(total, name))}" for name in ("min", "mean", "max", "last"))
    return f"{total.samples} samples, {figures}"


def _list(view: FleetView, endpoints: Sequence[Endpoint], span: Span, output: str) -> None:
    found = {name for one in endpoints for name in view.metrics(one.id, since=span.since, until=span.until)}
    rows = [{"metric": name} for name in sorted(found)]
    show(rows, {"metric": "METRIC"}, output, empty="no samples in this time")


def _values(view: FleetView, endpoints: Sequence[Endpoint], metric: str, span: Span, output: str, empty: str) -> None:
    """Show what a text, state, boolean or time was, when it changed."""
    if _rows_of(metric):
        raise ConfigError(f"{metric}: * stands for rows of numbers only", hint="Name the row.")
    rows = [
        {"endpoint": endpoint.name, "metric": metric, "at": at.isoformat(), "value": value}
        for endpoint in endpoints
        for at, value in view.values(endpoint.id, metric, since=span.since, until=span.until)
    ]
    columns = {"at": "AT", "value": "VALUE"}
    if output != "table":
        columns = WHO | columns
    elif len(endpoints) != 1:
        columns = {"endpoint": "ENDPOINT"} | columns
    show(rows, columns, output, empty=empty)
