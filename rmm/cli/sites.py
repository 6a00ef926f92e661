"""`rmm sites`: what the hub knows of sites: their collectors, what waits there, what is missing, what was refused."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rmm.cli.options import Config, Output, checked_output, open_app
from rmm.cli.printing import ago, show, table

if TYPE_CHECKING:
    from rmm.app import App
    from rmm.model.sites import Contact, EpochMarks, Refused

app = typer.Typer(rich_markup_mode=None, no_args_is_help=True, help="Sites, their collectors and links, at the hub.")

LIST = {
    "site": "SITE", "state": "STATE", "endpoints": "ENDPOINTS", "collectors": "COLLECTORS", "heard": "HEARD",
    "lag_s": "LAG S", "spooled": "WAITING", "missing": "GAPS", "refused": "REFUSED", "alerts": "ALERTS",
}  # fmt: skip
COLLECTOR = {
    "site": "SITE", "collector": "COLLECTOR", "heard": "HEARD", "lag_s": "LAG S", "spooled": "WAITING",
    "spool_mb": "MB", "dropped": "GIVEN UP", "offset_s": "CLOCK S", "certificate_days": "CERT DAYS",
    "bundle": "CONFIG", "config_refused": "CONFIG REFUSED", "version": "VERSION",
}  # fmt: skip
EPOCHS = {"epoch": "EPOCH", "high": "UP TO", "missing": "GAPS", "at": "GREW"}
FENCES = {"shard": "SHARD", "fence": "LEASE", "collector": "COLLECTOR", "since": "SINCE"}
REFUSED = {"reason": "REASON", "number": "TIMES", "at": "LAST"}
ALERTS = {"severity": "SEVERITY", "rule": "RULE", "summary": "WHAT", "first_at": "SINCE"}

HEARD, SILENT, NEVER = "heard", "silent", "never heard"
Rows = list[dict[str, Any]]


@app.command("list")
def list_sites(config: Config = None, output: Output = "table") -> None:
    """List all sites: is it heard, what waits there, what is missing here, what was refused."""
    checked_output(output)
    known = _Known(open_app(config))
    rows = [known.site(site) for site in known.sites]
    show([_shown(row) for row in rows] if output == "table" else rows, LIST, output, empty="there are no sites")


@app.command()
def lag(
    config: Config = None,
    site: Annotated[str, typer.Option(help="Only this site.")] = "",
    output: Output = "table",
) -> None:
    """Show how far each collector is behind, the furthest first."""
    checked_output(output)
    application = open_app(config)
    if site:
        application.known_site(site)
    rows = _Known(application).collectors([site] if site else None)
    rows.sort(key=lambda row: (-row["lag_s"], row["site"], row["collector"]))
    show([_shown(row) for row in rows] if output == "table" else rows, COLLECTOR, output, empty="nothing was heard yet")


@app.command("show")
def show_site(
    site: Annotated[str, typer.Argument(help="The site's id.")], config: Config = None, output: Output = "table"
) -> None:
    """Show all that is known of a site: collectors, epochs of what they sent, leases, what was refused, alerts."""
    checked_output(output)
    application = open_app(config)
    application.known_site(site)
    known = _Known(application)
    row = {**known.site(site), **known.details(site)}
    if output != "table":
        show([row], LIST, output)
        return
    table([_shown(known.site(site))], LIST)
    for title, columns in (
        ("collectors", COLLECTOR), ("epochs", EPOCHS), ("leases", FENCES), ("refusals", REFUSED), ("trouble", ALERTS),
    ):  # fmt: skip
        if row[title]:
            print(f"\n{title}")
            table([_shown(one) for one in row[title]], columns)
    for one in row["collectors"]:
        for problem in one["problems"]:
            print(f"\n{one['collector']}: {problem}")


class _Known:
    """What the database has, read once."""

    def __init__(self, application: App) -> None:
        from rmm.tiers.fleet_sqlite import FleetFile
        from rmm.tiers.fleet_sqlite.sites import RECENT, SitesFile

        file = FleetFile(application.fleet)
        database = SitesFile(file)
        self._now = datetime.now(UTC)
        self.sites = list(application.settings.sites)
        self._silent_after = application.settings.hub.silent_after
        self._endpoints = [one.site for one in application.settings.endpoints if one.enabled]
        self._contacts: dict[str, list[Contact]] = _by_site(database.contacts(), lambda one: one.beat.site)
        self._marks: dict[str, list[EpochMarks]] = _by_site(database.marks(self._now - RECENT), lambda one: one.site)
        self._refused: dict[str, list[Refused]] = _by_site(database.refused(), lambda one: one.site)
        self._fences = _by_site(database.fences(), lambda one: one.site)
        self._alerts = [one for one in file.alerts() if not one["endpoint"] and one["site"]]

    def site(self, site: str) -> dict[str, Any]:
        """One row of the list."""
        contacts = self._contacts.get(site, [])
        heard = max((one.heard_at for one in contacts), default=None)
        silent = heard is not None and (self._now - heard).total_seconds() > self._silent_after
        return {
            "site": site,
            "state": NEVER if heard is None else SILENT if silent else HEARD,
            "endpoints": self._endpoints.count(site),
            "collectors": len(contacts),
            "heard": heard.isoformat(timespec="seconds") if heard else None,
            "lag_s": round(max((one.lag_s for one in contacts), default=0.0)),
            "spooled": sum(one.beat.spooled for one in contacts),
            "missing": sum(_missing(one) for one in self._marks.get(site, [])),
            "refused": sum(one.number for one in self._refused.get(site, [])),
            "alerts": sum(one["site"] == site for one in self._alerts),
        }

    def collectors(self, sites: Sequence[str] | None = None) -> Rows:
        """One row for each collector."""
        wanted = self._contacts if sites is None else {site: self._contacts.get(site, []) for site in sites}
        return [self._collector(one) for own in wanted.values() for one in own]

    def _collector(self, one: Contact) -> dict[str, Any]:
        beat = one.beat
        days = (beat.expires_at - self._now).total_seconds() / 86_400 if beat.expires_at else None
        return {
            "site": beat.site,
            "collector": beat.collector,
            "heard": one.heard_at.isoformat(timespec="seconds"),
            "lag_s": round(one.lag_s),
            "spooled": beat.spooled,
            "spool_mb": round(beat.spool_bytes / 1e6, 1),
            "oldest": beat.oldest.isoformat(timespec="seconds") if beat.oldest else None,
            "dropped": beat.dropped,
            "offset_s": round(one.offset_s, 1),
            "certificate_days": round(days, 1) if days is not None else None,
            "bundle": beat.bundle,
            "config_refused": beat.refused,
            "version": beat.version,
            "started": beat.started_at.isoformat(timespec="seconds"),
            "polled": beat.polled_at.isoformat(timespec="seconds") if beat.polled_at else None,
            "shards": list(beat.shards),
            "endpoints": beat.endpoints,
            "problems": list(beat.problems),
        }

    def details(self, site: str) -> dict[str, Rows]:
        """What else there is of a site."""
        newest = reversed(self._marks.get(site, []))
        return {
            "collectors": self.collectors([site]),
            "epochs": [
                {"epoch": one.epoch, "high": one.marks.high, "missing": _missing(one), "at": _text(one.at)}
                for one in newest
            ],
            "leases": [
                {"shard": one.shard, "fence": one.fence, "collector": one.collector, "since": _text(one.since)}
                for one in {one.shard: one for one in self._fences.get(site, [])}.values()  # the newest of each
            ],
            "refusals": [
                {"reason": one.reason, "number": one.number, "at": _text(one.at)} for one in self._refused.get(site, [])
            ],
            "trouble": [{key: one[key] for key in ALERTS} for one in self._alerts if one["site"] == site],
        }  # fmt: skip


def _by_site(items: Iterable[Any], site_of: Any) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for one in items:
        found.setdefault(site_of(one), []).append(one)
    return found


def _missing(one: EpochMarks) -> int:
    """How many numbers are missing below the newest that came."""
    from rmm.core.marks import gaps

    return sum(last - first + 1 for first, last in gaps(one.marks))


def _text(at: datetime) -> str:
    return at.isoformat(timespec="seconds")


def _shown(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row as people read it."""
    ages = {key: ago(row[key]) for key in ("heard", "at", "since", "first_at") if key in row}
    return {**row, **ages}
