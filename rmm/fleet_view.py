"""Read access to all tiers at once: `ports.FleetReader`, and queries."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from rmm.core.cost import Declared, costs
from rmm.core.query import ENDPOINT, Part, Query, compile_query, schema_of
from rmm.model.endpoint import Endpoint
from rmm.model.rollup import Rollup
from rmm.tiers import hot_json, hot_rows
from rmm.tiers.cold_sqlite import ColdReader, SiteHistory
from rmm.tiers.fleet_sqlite import FleetFile

if TYPE_CHECKING:
    from rmm.app import App

_OF_HEALTH = {"health", "health_status"}  # fields that the coordinator knows, and the hot tier does not


class FleetView:
    """What reports and commands may ask of the fleet."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._file = FleetFile(app.fleet)
        self._readers: dict[str, ColdReader] = {}  # by site
        self._open: ExitStack | None = None  # of `kept_open`

    def endpoints(self, *, site: str = "") -> list[dict[str, Any]]:
        """One row per endpoint, worst health first; endpoints that were never polled are among them."""
        rows = self._file.endpoints(site=site)
        polled = {row["endpoint"] for row in rows}
        for endpoint in self._app.settings.endpoints:
            if endpoint.enabled and endpoint.id not in polled and site in ("", endpoint.site):
                rows.append(_never_polled(endpoint.id, endpoint.name, endpoint.site))
        return rows

    def alerts(self, *, states: Sequence[str] = (), endpoint: str = "") -> list[dict[str, Any]]:
        """Alerts, newest first; without `states` those that are firing or acknowledged."""
        return self._file.alerts(states=states, endpoint=endpoint)

    def costs(self) -> list[dict[str, Any]]:
        """What each collector costs, as the last polls of all endpoints measured it: see `rmm.core.cost`."""
        intervals = self._app.intervals()
        declared = {
            name: Declared(one.manifest.cost, intervals[name], one.session_free)
            for name, one in self._app.catalog.items()
        }
        places = [
            (site, shard) for site in self._app.settings.sites for shard in hot_json.shards_of(self._app.data, site)
        ]
        states = (hot_json.load(self._app.data, site, shard, owner=False) for site, shard in places)
        return costs(declared, (state for shard in states for state in shard.values()))

    def compiled(self, query: str, *, columns: Sequence[str] = (), sort: Sequence[str] = ()) -> Query:
        """A query over this fleet. Raises QueryError."""
        schema = schema_of(one.manifest for one in self._app.catalog.values())
        return compile_query(query, schema, columns=columns, sort=sort, now=self._app.clock.now())

    def lines(self, query: Query, *, site: str = "") -> Iterator[tuple[Endpoint, tuple[Any, ...]]]:
        """The answer of a query: for each endpoint its lines, the values of the query's columns; in no certain order.

        All endpoints of the list that are enabled take part, polled or not. Raises QueryError and TierError.
        """
        wanted = {name: fields for name, fields in query.fields.items() if name != ENDPOINT}
        listed: dict[str, dict[str, Endpoint]] = {}
        for endpoint in self._app.settings.endpoints:
            if endpoint.enabled and site in ("", endpoint.site):
                listed.setdefault(endpoint.site, {})[endpoint.id] = endpoint
        for place, waiting in sorted(listed.items()):
            told = self._health(query, place)
            for known in hot_rows.last_states(self._app.data, place, wanted):
                if one := waiting.pop(known.endpoint, None):
                    row = _asked(query, one, {**known.state, **told.get(one.id, {})})
                    yield from ((one, line) for line in query.lines(row, known.parts))
            nothing = {name: Part(None, (None,) * len(fields)) for name, fields in wanted.items()}
            for one in waiting.values():
                yield from ((one, line) for line in query.lines(_asked(query, one, {}), nothing))

    def several(
        self, queries: Sequence[Query], *, site: str = "", group: str = ""
    ) -> Iterator[tuple[int, Endpoint, tuple[Any, ...]]]:
        """The answers of several queries in one pass: each line with the number of its query and its endpoint."""
        wanted: dict[str, list[str]] = {}
        for query in queries:
            for name, fields in query.fields.items():
                known = wanted.setdefault(name, [])
                known += [field for field in fields if field not in known]
        wanted.pop(ENDPOINT, None)
        chosen = [
            one
            for one in self._app.settings.endpoints
            if one.enabled and group.casefold() in ("", one.group.casefold())
        ]
        pickers = [_pickers(query, wanted) for query in queries]
        for place in sorted({one.site for one in chosen if site in ("", one.site)}):
            waiting = {one.id: one for one in chosen if one.site == place}
            told = max((self._health(query, place) for query in queries), key=len, default={})
            for known_state in hot_rows.last_states(self._app.data, place, wanted):
                if one := waiting.pop(known_state.endpoint, None):
                    state = {**known_state.state, **told.get(one.id, {})}
                    for number, (query, picked) in enumerate(zip(queries, pickers, strict=True)):
                        parts = {name: pick(known_state.parts[name]) for name, pick in picked.items()}
                        yield from ((number, one, line) for line in query.lines(_asked(query, one, state), parts))
            for one in waiting.values():
                for number, query in enumerate(queries):
                    nothing = {n: Part(None, (None,) * len(f)) for n, f in query.fields.items() if n != ENDPOINT}
                    yield from ((number, one, line) for line in query.lines(_asked(query, one, {}), nothing))

    def _health(self, query: Query, site: str) -> dict[str, dict[str, Any]]:
        if _OF_HEALTH.isdisjoint(query.fields.get(ENDPOINT, ())):
            return {}
        return {row["endpoint"]: {name: row[name] for name in _OF_HEALTH} for row in self._file.endpoints(site=site)}

    def readings(self, endpoint: str) -> dict[str, Any]:
        """The last reading of each collector of one endpoint."""
        wanted = self._app.targets.endpoint(endpoint)
        state = hot_json.read_endpoint(self._app.data, wanted.site, wanted.id)
        if state is None:
            return {}
        return {
            name: {**(msgspec.json.decode(bytes(known.result)) or {}), "at": known.at}
            for name, known in state.collectors.items()
        }

    def metrics(self, endpoint: str, *, since: datetime, until: datetime) -> list[str]:
        """Names of all metrics that have samples in this time."""
        return self._cold(one := self._endpoint(endpoint)).metrics(one.id, since=since, until=until)

    def history(self, endpoint: str, metric: str, *, since: datetime, until: datetime) -> list[tuple[datetime, float]]:
        """Samples of one metric, oldest first."""
        return self._cold(one := self._endpoint(endpoint)).history(one.id, metric, since=since, until=until)

    def rollups(
        self, endpoint: str, metric: str, *, since: datetime, until: datetime, step: Literal["hour", "day"]
    ) -> list[Rollup]:
        """Whole hours or days of one metric, oldest first."""
        return self._cold(one := self._endpoint(endpoint)).rollups(one.id, metric, since=since, until=until, step=step)

    def everyones(
        self, metric: str, *, since: datetime, until: datetime, step: Literal["hour", "day"]
    ) -> dict[str, list[Rollup]]:
        """Whole hours or days of one metric of all endpoints that have any, by endpoint; in one pass over the files."""
        found: dict[str, list[Rollup]] = {}
        for site in self._app.settings.sites:
            found |= SiteHistory(self._app.data, site).everyones(metric, since=since, until=until, step=step)
        return found

    def values(self, endpoint: str, metric: str, *, since: datetime, until: datetime) -> list[tuple[datetime, Any]]:
        """What a text, state, boolean or time was: the value that stood at `since`, then each that differs."""
        return self._cold(one := self._endpoint(endpoint)).values(one.id, metric, since=since, until=until)

    def _endpoint(self, name: str) -> Endpoint:
        """An endpoint by id, or by what else names it. Raises ConfigError."""
        return self._by_id.get(name) or self._app.targets.endpoint(name)

    @cached_property
    def _by_id(self) -> dict[str, Endpoint]:
        return {endpoint.id: endpoint for endpoint in self._app.settings.endpoints}

    @contextmanager
    def kept_open(self) -> Iterator[None]:
        """Files of history stay open while this lasts: for many questions, one after the other."""
        with ExitStack() as self._open:
            self._readers = {}  # those of before keep nothing open
            try:
                yield
            finally:
                self._readers, self._open = {}, None

    def _cold(self, endpoint: Endpoint) -> ColdReader:
        if endpoint.site not in self._readers:
            reader = self._readers[endpoint.site] = ColdReader(self._app.data, endpoint.site)
            if self._open is not None:
                self._open.enter_context(reader.kept_open())
        return self._readers[endpoint.site]


def _pickers(query: Query, wanted: Mapping[str, Sequence[str]]) -> dict[str, Callable[[Part], Part]]:
    """By collector, what takes a query's own fields out of parts that have more."""
    return {
        name: _picker([wanted[name].index(field) for field in fields], len(wanted[name]))
        for name, fields in query.fields.items()
        if name != ENDPOINT
    }


def _picker(places: Sequence[int], width: int) -> Callable[[Part], Part]:
    if list(places) == list(range(width)):
        return lambda part: part

    def picked(row: Sequence[Any]) -> tuple[Any, ...]:
        return tuple([row[place] for place in places])

    def pick(part: Part) -> Part:
        return Part(None if part.rows is None else [picked(row) for row in part.rows], picked(part.blank))

    return pick


def _asked(query: Query, endpoint: Endpoint, state: Mapping[str, Any]) -> tuple[Any, ...]:
    """What a query needs of the endpoint itself; empty settings are unknown."""
    return tuple(
        state[name] if name in state else getattr(endpoint, name, None) or None
        for name in query.fields.get(ENDPOINT, ())
    )


def _never_polled(identity: str, name: str, site: str) -> dict[str, Any]:
    texts = dict.fromkeys(("status", "fault_code", "hint", "message"), "")
    return {
        "endpoint": identity, "name": name, "site": site, "shard": None, **texts, "observed_at": None,
        "duration_s": None, "health": None, "health_status": "Unknown", "reasons": ["never polled"], "facts": {},
    }  # fmt: skip
