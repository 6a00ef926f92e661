"""Makes what `rmm.core.alerting` decides with out of rmm.yaml: hours of a site, rosters at a moment."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from rmm.calendars.events import read_calendar
from rmm.calendars.holidays import holiday_of
from rmm.core.alerting.hours import OpenHours
from rmm.core.alerting.oncall import Roster, Span
from rmm.errors import ConfigError
from rmm.model.endpoint import Site
from rmm.model.escalation import Escalation, Override, Rota

log = logging.getLogger(__name__)

WINDOW = timedelta(days=2)  # of a calendar, around the moment that is asked for
MOST_UNKNOWN = 3  # events that name nobody, in a note


class Lookup:
    """Hours and rosters of one configuration; reads calendar files each time it is asked for rosters."""

    def __init__(self, settings: Escalation, sites: Mapping[str, Site]) -> None:
        self._settings = settings
        self._sites = sites
        self._hours: dict[tuple[str, tuple[str, ...]], dict[str, OpenHours]] = {}

    def hours(self, site: str) -> Mapping[str, OpenHours]:
        """All hours by name; those without a time zone or holidays have those of the site."""
        found = self._sites.get(site)
        return self._of(found.timezone, found.holidays) if found else self._of("UTC", ())

    def _of(self, timezone: str, holidays: tuple[str, ...]) -> Mapping[str, OpenHours]:
        if (timezone, holidays) not in self._hours:
            self._hours[timezone, holidays] = {
                one.id: OpenHours(
                    ZoneInfo(one.timezone or timezone), one.week, holiday_of(one.holidays or holidays, one.closed)
                )
                for one in self._settings.hours.values()
            }
        return self._hours[timezone, holidays]

    def rosters(
        self, overrides: Iterable[Override], since: datetime, until: datetime, *, strict: bool = False
    ) -> dict[str, Roster]:
        """All rotas by name, with what calendars say from `since` until `until`.

        A calendar that cannot be read leaves its rota to `otherwise`, with a note: alerts reach somebody all the same.
        When `strict` it is a ConfigError.
        """
        made = list(overrides)
        found = {}
        for rota in self._settings.rotas.values():
            spans, note = self._calendar(rota, since - WINDOW, until + WINDOW, strict) if rota.calendar else ((), "")
            own = tuple(one for one in made if one.rota == rota.id and one.person in self._settings.people)
            hours = self._of(rota.timezone, ())
            found[rota.id] = Roster(rota, ZoneInfo(rota.timezone), hours, own, spans, note)
        return found

    def _calendar(self, rota: Rota, since: datetime, until: datetime, strict: bool) -> tuple[tuple[Span, ...], str]:
        path = Path(rota.calendar)
        try:
            found = read_calendar(path, self._settings.people, ZoneInfo(rota.timezone), since, until)
        except ConfigError as error:
            if strict:
                raise
            log.warning("on-call rota %s: %s", rota.id, error)
            return (), f"{path.name} cannot be used"
        shown = ", ".join(repr(name) for name in found.unknown[:MOST_UNKNOWN])
        return found.spans, f"{path.name}: nobody of `people` is called {shown}" if shown else ""
