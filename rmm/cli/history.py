"""`rmm history ENDPOINT METRIC`: what the cold tier has."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from rmm.cli.options import Config, Output, checked_output, open_app, time_of
from rmm.cli.printing import show
from rmm.errors import ConfigError

app = typer.Typer(rich_markup_mode=None)

_BARS = "▁▂▃▄▅▆▇█"
WIDTH = 60


@app.command()
def history(
    endpoint: Annotated[str, typer.Argument(help="Id or name.")],
    metric: Annotated[
        str, typer.Argument(help="collector.field or collector.field[row]; without: what there is.")
    ] = "",
    config: Config = None,
    since: Annotated[str, typer.Option(help="How far back (30m, 24h, 7d) or an ISO time.")] = "24h",
    until: Annotated[str, typer.Option(help="An ISO time; without: now.")] = "",
    output: Output = "table",
) -> None:
    """Show the samples of one metric of one endpoint, or the changes of a text or state."""
    from rmm.tiers.cold_sqlite import ColdReader

    checked_output(output)
    application = open_app(config)
    wanted = application.targets.endpoint(endpoint)
    end = time_of(until) if until else datetime.now(UTC)
    begin = time_of(since, end)
    reader = ColdReader(application.data, wanted.site)
    if not metric:
        names = reader.metrics(wanted.id, since=begin, until=end)
        show([{"metric": name} for name in names], {"metric": "METRIC"}, output, empty="no samples in this time")
        return
    try:
        found: list[tuple[datetime, Any]] = list(reader.history(wanted.id, metric, since=begin, until=end))
        numeric = bool(found)
        if not found:
            found = list(reader.values(wanted.id, metric, since=begin, until=end))
    except ValueError as error:
        raise ConfigError(str(error), hint=f"`rmm history {wanted.id}` lists the metrics.") from error
    rows = [{"at": at.isoformat(), "value": value} for at, value in found]
    if output == "table" and numeric and found:
        print(_sparkline([value for _, value in found]))
    empty = f"no samples of {metric} since {begin:%Y-%m-%d %H:%M} UTC; `rmm history {wanted.id}` lists the metrics"
    show(rows, {"at": "AT", "value": "VALUE"}, output, empty=empty)


def _sparkline(values: list[float]) -> str:
    step = max(1, len(values) // WIDTH)
    points = [sum(values[n : n + step]) / len(values[n : n + step]) for n in range(0, len(values), step)]
    low, high = min(points), max(points)
    scale = (len(_BARS) - 1) / (high - low) if high > low else 0.0
    bars = "".join(_BARS[round((point - low) * scale)] for point in points)
    mean = sum(values) / len(values)
    range_of = f"min {min(values):.4g}, mean {mean:.4g}, max {max(values):.4g}, last {values[-1]:.4g}"
    return f"{bars}  {len(values)} samples, {range_of}"
