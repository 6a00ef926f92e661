"""The coordinator of several sites, whose rounds end each at its own time: what `finish` does, in two halves."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from rmm.coordinator.keeping import grow_old, keep, take_acts
from rmm.coordinator.service import ROUND, Coordinator
from rmm.core.alerting import desk
from rmm.model.observation import Fault
from rmm.model.rule import Alert
from rmm.tiers.fleet_sqlite import retried


class SitesCoordinator(Coordinator):
    """`judge` is the end of some sites' rounds, `pass_time` is what concerns all; neither waits for channels."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._since: datetime | None = None  # the first observation since the health of the day was kept

    @property
    def seen(self) -> Mapping[str, datetime]:
        """Sites of which something was taken since they were judged, and its time."""
        return self._seen

    @property
    def of_none(self) -> Mapping[str, Alert]:
        """Live alerts of no endpoint, by key, as this process last knew them."""
        return self._desk.live.get("", {})

    @property
    def awaiting(self) -> set[str]:
        """Sites with alerts of which the end of a round is to show whose trouble they are."""
        waiting = (one for one in self._desk.all() if one.endpoint and one.suppressed is not None)
        return {one.site for one in waiting if one.suppressed is not None and one.suppressed.kind == desk.ROUND}

    def handed_on(self) -> tuple[dict[str, datetime], datetime | None]:
        """For the process whose `pass_time` is for all: `seen`, and the first of what was judged since."""
        since, self._since = self._since, None
        return dict(self._seen), since

    def others_saw(self, seen: Mapping[str, datetime], since: datetime | None) -> None:
        """What other processes say by `handed_on`, for the next `pass_time`; this one takes nothing itself."""
        self._seen = dict(seen)
        if since is not None:
            self._since = min(since, self._since or since)

    @retried
    async def judge(self, ended: Mapping[str, Sequence[Fault]], listed: Collection[str] = ()) -> None:
        """The rounds of these sites are over, with what the collectors found wrong with themselves.

        Alerts that waited for that are told or set aside; those of other sites go on waiting. `listed` are the ids of
        all endpoints that the configuration has now. Durable on return; raises TierError.
        """
        now = self._clock.now()
        firsts = {site: self._seen.get(site, now) for site in ended}
        async with self._turn():
            for site, faults in ended.items():
                await self._judge(site, min(firsts[site], now - ROUND), now, faults)
            self._desk.look_again(now, ended.keys(), listed)
            self._desk.reconcile(now)
            await keep(self._store, self._desk, now)
        for site, first in firsts.items():
            self._since = min(first, self._since or first)
            if self._seen.get(site) == first:  # nothing was taken while this was written
                del self._seen[site]
        self.delivery.start()

    @retried
    async def pass_time(self, listed: Collection[str] = ()) -> None:
        """What came late or did not come at all, doubles, the health of the day, reminders, acts, and what is old.

        Durable on return; raises TierError.
        """
        now = self._clock.now()
        since = min((*self._seen.values(), *([self._since] if self._since else [])), default=None)
        async with self._turn():
            await self._overdue(listed, now)
            if since is not None:
                await self._doubles(listed, now)
                await self._store.keep_health(min(since, now), now)
            self._desk.look_again(now, (), listed)
            await take_acts(self._store, self._desk)
            self._desk.reconcile(now)
            self._desk.remind(now)
            await keep(self._store, self._desk, now)
            await grow_old(self._store, self._settings, now)
        self._since = None
        self._counts = dict.fromkeys(self._counts, 0)
        self.delivery.start()
