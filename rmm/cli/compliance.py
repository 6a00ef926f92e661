"""`rmm compliance`: what became of the checks of baselines, by the last readings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rmm.cli.options import Config, Output, checked_output, open_app
from rmm.cli.printing import show
from rmm.errors import ConfigError

if TYPE_CHECKING:
    from rmm.core.baseline import Baseline, Verdict

app = typer.Typer(rich_markup_mode=None)

COUNTS = {"passed": "PASSED", "failed": "FAILED", "unknown": "NOT KNOWN", "share": "PASSED %"}
BASELINES = {"baseline": "BASELINE", "title": "TITLE", "endpoints": "ENDPOINTS", **COUNTS}
CHECKS = {"check": "CHECK", "title": "WHAT IS DEMANDED", "severity": "SEVERITY", **COUNTS}
ENDPOINTS = {"baseline": "BASELINE", "endpoint": "ENDPOINT", **COUNTS}
FAILED = {
    "baseline": "BASELINE", "endpoint": "ENDPOINT", "check": "CHECK", "title": "WHAT IS DEMANDED",
    "severity": "SEVERITY", "fix": "WHAT TO DO",
}  # fmt: skip


@app.command()
def compliance(
    baseline: Annotated[str, typer.Argument(help="A baseline's id, for its checks; without: all baselines.")] = "",
    config: Config = None,
    endpoints: Annotated[bool, typer.Option("--endpoints", help="By endpoint, those that fail most first.")] = False,
    failed: Annotated[bool, typer.Option("--failed", help="Each check that an endpoint fails, and the fix.")] = False,
    site: Annotated[str, typer.Option(help="Only endpoints of this site.")] = "",
    group: Annotated[str, typer.Option(help="Only endpoints of this group.")] = "",
    output: Output = "table",
) -> None:
    """Show how the fleet stands to baselines. What was not read is not known: neither passed nor failed."""
    from rmm.report_view import ReportView

    checked_output(output)
    if endpoints and failed:
        raise ConfigError("--endpoints and --failed at once", hint="Ask for one of them.")
    view = ReportView(open_app(config), site=site, group=group)
    chosen = [one for one in view.baselines() if baseline in ("", one.id)]
    if not chosen:
        known = ", ".join(one.id for one in view.baselines()) or "none"
        raise ConfigError(f"there is no baseline {baseline!r}; there are {known}", hint="")
    told = list(zip(chosen, view.verdicts(chosen), strict=True))
    if failed:
        show(list(_failed(told, view.names())), FAILED, output, empty="nothing fails")
    elif endpoints:
        rows = [row for one, verdicts in told for row in _by_endpoint(one, verdicts, view.names())]
        show(rows, ENDPOINTS, output, empty="the baselines are about no endpoint")
    elif baseline:
        ((_, verdicts),) = told
        show([_check(one) for one in verdicts], CHECKS, output, empty="none of its checks can be asked here")
    else:
        show([_whole(one, verdicts) for one, verdicts in told], BASELINES, output, empty="there is no baseline")


def _counts(passed: int, failed: int, unknown: int) -> dict[str, Any]:
    from rmm.core.baseline import share

    return {"passed": passed, "failed": failed, "unknown": unknown, "share": share(passed, failed)}


def _whole(one: Baseline, verdicts: Sequence[Verdict]) -> dict[str, Any]:
    from rmm.core.baseline import concerned, totals

    return {
        "baseline": one.id, "title": one.title, "endpoints": len(concerned(verdicts)), **_counts(*totals(verdicts)),
    }  # fmt: skip


def _check(one: Verdict) -> dict[str, Any]:
    counts = _counts(len(one.passed), len(one.failed), len(one.unknown))
    return {"check": one.check.id, "title": one.check.title, "severity": one.check.severity, **counts}


def _by_endpoint(one: Baseline, verdicts: Sequence[Verdict], names: Mapping[str, str]) -> list[dict[str, Any]]:
    from rmm.core.baseline import by_endpoint

    return [
        {"baseline": one.id, "endpoint": names[endpoint], **_counts(*counts)}
        for endpoint, counts in by_endpoint(verdicts, names)
    ]


def _failed(told: Iterable[tuple[Baseline, Sequence[Verdict]]], names: Mapping[str, str]) -> Iterable[dict[str, Any]]:
    from rmm.core.baseline import failures

    for one, endpoint, check in failures(told, names):
        yield {
            "baseline": one.title, "endpoint": names[endpoint], "check": check.id, "title": check.title,
            "severity": check.severity, "fix": check.fix,
        }  # fmt: skip
