"""What reports ask of the fleet: `rmm.reports.sources.Sources`, for one site and group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rmm.changes_view import changed
from rmm.core import availability, baseline
from rmm.core.alerting.scopes import place_of
from rmm.core.availability import Except, Stretch, Uptime, excepting
from rmm.core.baseline import Baseline, Verdict
from rmm.core.change import is_inventory
from rmm.core.health import Summary, fleet_score, lost, summary
from rmm.core.query.answer import answer, totals
from rmm.errors import ConfigError
from rmm.fleet_view import FleetView
from rmm.model.endpoint import Endpoint
from rmm.model.report import Question
from rmm.model.rollup import Rollup
from rmm.reports.sources import HealthOfDay, Rows
from rmm.settings.baselines import read_baselines, shipped_baselines
from rmm.tiers.cold_sqlite import ColdReader, SiteHistory
from rmm.tiers.fleet_sqlite import FleetFile
from rmm.tiers.fleet_sqlite.escalation import EscalationFile

if TYPE_CHECKING:
    from rmm.app import App

MOST_LINES = 1_000_000
MOST_ALERTS = 100_000
# While one of these fires for a site, its endpoints look silent although nothing is known of them.
BLIND = frozenset({"site_down", "collector_dns", "collector_sockets", "collector_stalled"})
ENDED = ("resolved", "archived")
ACTS = {
    "ack": "alert acknowledged", "resolve": "alert resolved", "silence": "silence begun", "unsilence": "silence ended",
}  # fmt: skip


class ReportView:
    """`rmm.reports.sources.Sources` over an installation; what is asked again is remembered."""

    def __init__(self, app: App, *, site: str = "", group: str = "") -> None:
        self._app = app
        self._site, self._group = site, group
        self._view = FleetView(app)
        self._file = FleetFile(app.fleet)
        if site:
            app.known_site(site)
        self._chosen: list[Endpoint] = app.targets.matching([], site=site, group=group)
        self._ids = {one.id for one in self._chosen}

    @property
    def target_pct(self) -> float:
        """The uptime that is aimed at."""
        return self._app.settings.reports.target_pct

    @property
    def gap_s(self) -> int:
        """After how many seconds without an observation nothing is known any more."""
        return self._app.settings.reports.gap

    def names(self) -> Mapping[str, str]:
        """Endpoint id -> name."""
        return {one.id: one.name for one in self._chosen}

    def answers(self, questions: Sequence[Question]) -> list[Any]:
        """Each as `rmm query --output json` gives it; raises QueryError and TierError."""
        queries = [self._view.compiled(one.condition, columns=one.columns, sort=one.sort) for one in questions]
        found: list[list[Any]] = [[] for _ in questions]
        lines = self._view.several(queries, site=self._site, group=self._group)
        for number, endpoint, line in islice(lines, MOST_LINES * max(1, len(questions))):
            found[number].append((endpoint, line))
        made: list[Any] = []
        for query, question, own in zip(queries, questions, found, strict=True):
            if len(own) > MOST_LINES:
                raise ConfigError(f"there are more than {MOST_LINES} rows", hint="Ask for a site or a group.")
            if question.columns:
                made.append(answer(query, own, count=question.count, sorted_by=bool(question.sort)))
            else:
                made.append(totals(own))
        return made

    @cached_property
    def _rows(self) -> Rows:
        own = {one.id: one for one in self._chosen}
        rows = [row for row in self._view.endpoints(site=self._site) if row["endpoint"] in own]
        return [{**row, "group": own[row["endpoint"]].group} for row in rows]

    def alerts(self, states: Sequence[str]) -> Rows:
        """Alerts of these states, newest first; those of sites too, where no group was asked for."""
        found = self._file.alerts(states=states, most=MOST_ALERTS)
        sites = {one.site for one in self._chosen}
        return [
            one
            for one in found
            if one["endpoint"] in self._ids
            or (not one["endpoint"] and not self._group and (one["site"] in sites or not (one["site"] or self._site)))
        ]

    @cached_property
    def _taken(self) -> dict[str, dict[str, int]]:
        live: dict[str, Rows] = {}
        for alert in self.alerts(("firing", "acknowledged")):
            live.setdefault(alert["endpoint"], []).append(alert)
        rules = {rule.id: rule for rule in self._app.rules}
        return {row["endpoint"]: lost(row["status"], live.get(row["endpoint"], ()), rules) for row in self._rows}

    def health(self, by: str) -> list[tuple[str, Summary]]:
        """By `fleet`, `site`, `group` or `endpoint`: the health of each, by name."""
        parts: dict[str, Rows] = {}
        for row in self._rows:
            named = {"fleet": "fleet", "endpoint": row["name"]}
            parts.setdefault(named[by] if by in named else row[by] or "(none)", []).append(row)
        if by == "fleet":
            parts.setdefault("fleet", [])
        return [(name, summary(rows, self._taken)) for name, rows in sorted(parts.items())]

    def health_days(self, since: datetime, until: datetime) -> list[HealthOfDay]:
        """Day by day, oldest first."""
        days: dict[str, list[tuple[int, int]]] = {}
        for one in self._file.health_days(since, until):
            if one.endpoint in self._ids:
                days.setdefault(one.day, []).append((one.score, one.lowest))
        return [
            HealthOfDay(day, len(rows), fleet_score(score for score, _ in rows) or 0, min(low for _, low in rows))
            for day, rows in days.items()
        ]

    def days(self, metric: str, since: datetime, until: datetime) -> Mapping[str, Sequence[Rollup]]:
        """Days of one metric, by endpoint id."""
        found: dict[str, list[Rollup]] = {}
        for site in sorted({one.site for one in self._chosen}):
            found |= SiteHistory(self._app.data, site).everyones(metric, since=since, until=until, step="day")
        return {name: rollups for name, rollups in found.items() if name in self._ids}

    def uptime(self, since: datetime, until: datetime, limit_s: int) -> Mapping[str, Uptime]:
        """How long each endpoint was up, by id; in one pass over the files."""
        first, last, limit = _micros(since), _micros(until), limit_s * 1_000_000
        excepted = self._excepted(since, until)
        found: dict[str, Uptime] = {}
        for site in sorted({one.site for one in self._chosen}):
            parts: dict[str, list[Stretch]] = {}
            for endpoint, at, statuses in SiteHistory(self._app.data, site).outcomes(since=since, until=until):
                if endpoint in self._ids:
                    parts.setdefault(endpoint, []).append(availability.stretch(at, statuses, limit, excepted[endpoint]))
            for one in self._chosen:
                if one.site == site:
                    whole = self._whole(one, parts.get(one.id, []), since, until, limit, excepted[one.id])
                    found[one.id] = availability.uptime(whole, first, last, limit, excepted[one.id])
        return found

    def _whole(
        self, one: Endpoint, parts: list[Stretch], since: datetime, until: datetime, limit: int,
        excepted: Sequence[Except],
    ) -> Stretch | None:  # fmt: skip
        """All of an endpoint; where pieces overlap (something came late, or it moved), its observations in order."""
        if not parts:
            return None
        if whole := availability.joined(parts, limit, excepted):
            return whole
        seen = ColdReader(self._app.data, one.site).statuses(one.id, since=since, until=until)
        return availability.stretch(
            [_micros(row["at"]) for row in seen], [row["status"] for row in seen], limit, excepted
        )

    def _excepted(self, since: datetime, until: datetime) -> dict[str, list[Except]]:
        """By endpoint id, the times that do not count: maintenance of all that is on it, and what nobody could see."""
        context, blind = self._app.alert_context(), self._blind(_micros(since), _micros(until))
        made: dict[tuple[Any, ...], list[Except]] = {}  # most endpoints share theirs
        found = {}
        for one in self._chosen:
            spans = context.maintenance(place_of(one), since, until)
            key = (one.site, *spans)
            if key not in made:
                maintained = [(_micros(span.begins), _micros(span.ends)) for span in spans]
                made[key] = excepting(blind.get(one.site, ()), maintained)
            found[one.id] = made[key]
        return found

    def _blind(self, first: int, last: int) -> dict[str, list[tuple[int, int]]]:
        """By site, the times in which nothing could be seen of it: its trouble looks like that of each endpoint."""
        found: dict[str, list[tuple[int, int]]] = {}
        for alert in self._file.alerts(states=("firing", "acknowledged", *ENDED), most=MOST_ALERTS):
            if not alert["endpoint"] and alert["site"] and alert["rule"] in BLIND:
                begin = _micros(datetime.fromisoformat(alert["first_at"]))
                ended = alert["resolved_at"] if alert["state"] in ENDED else None
                end = _micros(datetime.fromisoformat(ended)) if ended else last
                if max(begin, first) < min(end, last):
                    found.setdefault(alert["site"], []).append((max(begin, first), min(end, last)))
        return {site: _disjoint(times) for site, times in found.items()}

    def changes(self, since: datetime, until: datetime) -> Rows:
        """What changed in inventories, oldest first."""
        wanted = {name: one for name, one in self._app.catalog.items() if is_inventory(one.manifest)}
        return changed(self._app.data, self._chosen, wanted, since, until, where=self._app.fleet)

    def audit(self, since: datetime, until: datetime) -> Rows:
        """What people did and what was told to whom, as far as the store knows it; oldest first."""
        names = self.names()
        rows: Rows = [
            {"at": one.at.isoformat(timespec="seconds"), "who": one.who, "what": "machine accepted",
             "about": names[one.endpoint], "why": one.reason}
            for one in self._file.acceptances(since)
            if one.at <= until and one.endpoint in names
        ]  # fmt: skip
        rows += self._acts(since, until)
        rows += self._on_call(since, until)
        rows += self._told(since, until)
        rows.sort(key=lambda row: (row["at"], row["what"], row["about"]))
        return rows

    def _acts(self, since: datetime, until: datetime) -> Rows:
        """What people did about alerts; silences are of the whole fleet."""
        whole = not (self._site or self._group)
        return [
            {"at": one.at.isoformat(timespec="seconds"), "who": one.who, "what": ACTS.get(one.what, one.what),
             "about": one.key or one.detail, "why": one.reason}
            for one in self._file.acts(most=MOST_ALERTS)
            if since <= one.at <= until and (whole or (one.key and one.key.split("|", 2)[1] in self._ids))
        ]  # fmt: skip

    def _on_call(self, since: datetime, until: datetime) -> Rows:
        """Who took a rota by command, and who ended that; rotas are of the whole fleet."""
        found: Rows = []
        for one in [] if self._site or self._group else EscalationFile(self._file).overrides(since, removed=True):
            span = "from {} until {}".format(*(at.isoformat(timespec="minutes") for at in (one.since, one.until)))
            about = f"{one.rota}: {one.person} {span}"
            for at, who, what, why in (
                (one.made_at, one.author, "on call taken over", one.reason),
                (one.removed_at, one.removed_by, "taking over ended", ""),
            ):
                if at is not None and since <= at <= until:
                    found.append(
                        {"at": at.isoformat(timespec="seconds"), "who": who, "what": what, "about": about, "why": why}
                    )
        return found

    def _told(self, since: datetime, until: datetime) -> Rows:
        if self._site or self._group:  # who was told of what is not kept by site
            return []
        found = []
        for one in self._file.notifications(MOST_ALERTS):
            if since <= datetime.fromisoformat(one["at"]) <= until:
                told = f"sent {one['sent_at']}" if one["sent_at"] else f"not sent after {one['attempts']} tries"
                found.append(
                    {"at": one["at"], "who": "rmm", "what": f"told to {one['channel']}", "about": one["id"],
                     "why": f"{told}; {one['result']}" if one["result"] else told}
                )  # fmt: skip
        return found

    def baselines(self) -> Sequence[Baseline]:
        """The shipped ones and the configuration's own, which replace others of the same id."""
        return list(self._baselines.values())

    @cached_property
    def _baselines(self) -> dict[str, Baseline]:
        settings = self._app.settings
        own = read_baselines(Path(settings.source) / "baselines", lenient=bool(settings.bundle))
        if own.problems:
            raise ConfigError(problems=tuple(own.problems))
        found = {one.id: one for one in (*shipped_baselines(), *own.baselines)}
        if wrong := [text for one in found.values() for text in self._wrong(one, own.places)]:
            raise ConfigError(problems=tuple(wrong))
        return found

    def _wrong(self, one: Baseline, places: Mapping[tuple[str, str], str]) -> list[str]:
        keys = {name: known.manifest.key for name, known in self._app.catalog.items()}
        found = []
        for check in one.checks:
            asked = self._app.settings.collectors.disable
            place = places.get((one.id, check.id), f"baseline {one.id}: {check.id}")
            try:
                query = self._view.compiled(baseline.conditions(one, check).passed, columns=["endpoint"])
            except ConfigError as error:
                if not any(f"{name}." in check.condition for name in asked):
                    found.append(f"{place}: {error}")
                continue
            found += [
                f"{place}: {name} has several rows: ask any(...), all(...) or count(...) of them"
                for name in baseline.ambiguous(query, keys)
            ]
        return found

    def verdicts(self, baselines: Sequence[Baseline]) -> list[list[Verdict]]:
        """Of each baseline what became of its checks, in one pass over the fleet."""
        places = [(one, check) for one in baselines for check in one.checks if self._asks(one, check)]
        texts = [text for one, check in places for text in baseline.conditions(one, check)]
        queries = [self._view.compiled(text, columns=["endpoint"]) for text in texts]
        met: list[set[str]] = [set() for _ in texts]
        for number, endpoint, _ in self._view.several(queries, site=self._site, group=self._group):
            met[number].add(endpoint.id)
        found: dict[str, list[Verdict]] = {one.id: [] for one in baselines}
        for number, (one, check) in enumerate(places):
            concerned, passed, failed = (frozenset(ids) for ids in met[3 * number : 3 * number + 3])
            found[one.id].append(Verdict(check, passed, failed, concerned - passed - failed))
        return [found[one.id] for one in baselines]

    def _asks(self, one: Baseline, check: baseline.Check) -> bool:
        """Whether a check can be asked: not where it is about a collector that the configuration disables."""
        try:
            self._view.compiled(baseline.conditions(one, check).passed, columns=["endpoint"])
        except ConfigError:
            return False
        return True


def _disjoint(times: list[tuple[int, int]]) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for begin, end in sorted(times):
        if found and begin <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((begin, end))
    return found


def _micros(at: datetime) -> int:
    whole = at.astimezone(UTC)
    return int(whole.timestamp()) * 1_000_000 + whole.microsecond
