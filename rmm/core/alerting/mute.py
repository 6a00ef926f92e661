"""Is anybody told of an alert at a moment? The reasons why not, in the order in which they are looked for. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from typing import Any

from rmm.core.alerting.dependencies import Dependencies, Fires
from rmm.core.alerting.scopes import Place, ScopeIndex
from rmm.core.alerting.silences import Silences
from rmm.core.alerting.windows import Span, holding, spans
from rmm.model.alerting import Dependency, Window
from rmm.model.incident import Silence, Suppression
from rmm.model.rule import Alert


class Context:
    """What there is beside an alert that decides. Windows are worked out once for each moment and time zone.

    Args:
        windows, dependencies: of the configuration; `zones` has the time zones of sites and of what windows name.
        places: endpoint id -> where it stands.
    """

    def __init__(
        self, windows: Sequence[Window] = (), dependencies: Sequence[Dependency] = (),
        zones: Mapping[str, tzinfo] | None = None, places: Mapping[str, Place] | None = None,
    ) -> None:  # fmt: skip
        self._windows = ScopeIndex([(one, one.scope) for one in windows])
        self._some = bool(windows)
        self._zones = zones or {}
        self.dependencies = Dependencies(dependencies)
        self.places = places or {}
        self.silences = Silences()
        self._whole: dict[tuple[Any, ...], list[Span]] = {}
        self._spans: dict[tuple[str, str], Span | None] = {}
        self._at: datetime | None = None

    def place(self, alert: Alert) -> Place:
        """Where it is; of an endpoint that is no longer listed, what the alert says."""
        return self.places.get(alert.endpoint) or Place(alert.endpoint, alert.name, alert.site)

    def with_silences(self, silences: Sequence[Silence]) -> None:
        """Those that are stored now."""
        self.silences = Silences(silences)

    def window(self, alert: Alert, at: datetime) -> tuple[Window, Span] | None:
        """The maintenance window that holds for longest."""
        if not self._some:
            return None
        if at != self._at:
            self._spans, self._at = {}, at
        found = None
        for one in self._windows.find(self.place(alert), alert.rule):
            span = self._span(one, alert.site, at)
            if span is not None and (found is None or span.ends > found[1].ends):
                found = (one, span)
        return found

    def maintenance(self, place: Place, since: datetime, until: datetime) -> list[Span]:
        """When windows hold for all that is at a place, cut to a time; they neither overlap nor touch."""
        if not self._some:
            return []
        zone = f"site:{place.site}"
        found = [one for one in self._windows.find(place) if not one.scope.rule]
        key = (since, until, tuple((one.name, one.timezone or zone) for one in found))
        if key not in self._whole:
            listed = [
                span for one in found for span in spans(one, since, until, self._zones.get(one.timezone or zone, UTC))
            ]
            self._whole[key] = _merged(listed, since, until)
        return self._whole[key]

    def _span(self, window: Window, site: str, at: datetime) -> Span | None:
        zone = window.timezone or f"site:{site}"
        key = (window.name, zone)
        if key not in self._spans:
            self._spans[key] = holding(window, at, self._zones.get(zone, UTC))
        return self._spans[key]


def _merged(listed: Sequence[Span], since: datetime, until: datetime) -> list[Span]:
    found: list[Span] = []
    for one in sorted(listed):
        begins, ends = max(one.begins, since), min(one.ends, until)
        if found and begins <= found[-1].ends:
            found[-1] = Span(found[-1].begins, max(found[-1].ends, ends))
        else:
            found.append(Span(begins, ends))
    return found


def muted(alert: Alert, at: datetime, context: Context, fires: Fires) -> Suppression | None:
    """Why nobody is told of this alert at a moment, None where somebody is. `fires` finds other alerts."""
    if found := context.dependencies.find(alert, context.place(alert), fires):
        return found
    if held := context.window(alert, at):
        window, span = held
        why = f"maintenance {window.name}" + (f": {window.reason}" if window.reason else "")
        return Suppression("window", window.name, why, span.ends)
    if silence := context.silences.find(alert, context.place(alert), at):
        return Suppression(
            "silence", str(silence.number), f"silenced by {silence.author}: {silence.reason}", silence.ends_at
        )
    kept = alert.suppressed
    if kept is not None and kept.kind == "starting" and kept.until is not None and at < kept.until:
        return kept
    return None
