"""The stages' shell: reads what concerns them, asks `rmm.core.alerting.pipeline`, stores its plan."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta

import msgspec

from rmm.coordinator.escalation import Escalations
from rmm.core.alerting import group, retry
from rmm.core.alerting import site as site_trouble
from rmm.core.alerting.inhibit import inhibited, sources
from rmm.core.alerting.lifecycle import FIRING
from rmm.core.alerting.pipeline import Known, admit, plan
from rmm.core.alerting.route import DEFAULT, Context, muted, policies
from rmm.model.rule import Alert, Notification
from rmm.tiers.fleet_sqlite import FleetStore

BATCH = 2000  # notifications per transaction: the lock is not held for a whole storm
GIVEN_UP = "channel_given_up"


class Stages:
    """One per coordinator; `alone` is its transaction."""

    def __init__(
        self,
        store: FleetStore,
        context: Context,
        alone: Callable[[], AbstractAsyncContextManager[None]],
        escalations: Escalations | None = None,
    ) -> None:
        self._store = store
        self._context = context
        self._alone = alone
        self._escalations = escalations
        self._routes = {one.name: one for one in (*context.routing.routes, DEFAULT)}
        self._intervals = [one.name for one in self._routes.values() if one.group_interval]
        self._tidied: datetime | None = None

    async def run(self, now: datetime) -> datetime | None:
        """Everything that is new or due becomes messages; returns when the next thing is due."""
        outbox = self._store.outbox
        while True:
            async with self._alone():
                fresh = await outbox.fresh(BATCH)
                await outbox.keep(plan(fresh, await self._known(fresh, now), self._context, now), self._intervals)
                await self._begin(fresh, now)
                if len(fresh) < BATCH:
                    await self._again(now)
                    await self._tidy(now)
                    return min(filter(None, [await outbox.soonest(), await self._escalate(now)]), default=None)

    async def _begin(self, fresh: Sequence[Notification], now: datetime) -> None:
        """What begins to fire begins to climb the policies of its routes."""
        if self._escalations is None:
            return
        fired = [alert for one in fresh if one.kind == FIRING for alert in one.alerts if alert.state == FIRING]
        await self._escalations.begin([(alert, policies(alert, self._context)) for alert in fired], now)

    async def _escalate(self, now: datetime) -> datetime | None:
        """Take the steps that are due; returns when the next one is."""
        if self._escalations is None:
            return None
        found = sources(await self._store.live_alerts(), self._context.routing) if self._context.routing.inhibit else []

        def quiet(alert: Alert) -> str:
            if source := inhibited(alert, found, self._context.routing):
                return f"inhibited by {source}"
            silence = muted(alert, now, self._context)
            return f"{silence.kind}: {silence.reason}" if silence else ""

        await self._escalations.advance(now, quiet, lambda alert: policies(alert, self._context))
        return await self._escalations.soonest()

    async def _known(self, fresh: Sequence[Notification], now: datetime) -> Known:
        outbox = self._store.outbox
        known = await outbox.known(fresh, (), now)
        units = {(one.channel, one.group) for one in admit(fresh, known, self._context)}
        if units:  # now that it is clear which groups are concerned
            known = await outbox.known(fresh, units, now)
        if not self._context.routing.inhibit:
            return known
        return known._replace(live={alert.key: alert for alert in await self._store.live_alerts()})

    async def _again(self, now: datetime) -> None:
        """What fires still and was told long ago."""
        outbox = self._store.outbox
        for route in self._routes.values():
            if not route.repeat_interval:
                continue
            stale = await outbox.stale(route.name, now - timedelta(seconds=route.repeat_interval))
            live = await outbox.alerts({one.alert for one in stale})
            loud = {
                name: [one for one in found if muted(one, now, self._context) is None] for name, found in live.items()
            }
            told = group.repeats(stale, loud, self._routes, now)
            await outbox.post((one.channel, one.message) for one in told)
            await outbox.remember(heard for one in told for heard in one.heard)

    def _loud(self, alerts: Sequence[Alert], now: datetime) -> list[Alert]:
        return [one for one in alerts if muted(one, now, self._context) is None]

    async def _tidy(self, now: datetime) -> None:
        """Give up, tell of it by other channels, forget; once in a while."""
        if self._tidied is not None and now - self._tidied < timedelta(minutes=1):
            return
        self._tidied = now
        outbox = self._store.outbox
        given = await outbox.give_up(now, now - retry.KEEP, retry.MOST_OPEN)
        for channel in sorted(set(given)):
            alert = given_up(channel, given.count(channel), now)
            one = Notification(id=f"{alert.key}@{now:%Y%m%dT%H%M%S%f}", kind="firing", at=now, alerts=(alert,))
            others = [name for name in self._context.channels if name != channel]
            await outbox.post((name, one) for name in others)
        await outbox.forget(now - retry.REMEMBER)


def given_up(channel: str, count: int, now: datetime) -> Alert:
    """What other channels are told of a channel that did not take notifications; it is no alert that lives on."""
    text = f"channel {channel}: {count} notification{'s' * (count != 1)} given up; `rmm notify log` shows why"
    return msgspec.structs.replace(
        site_trouble.site_alert(GIVEN_UP, "", text, count, now, None), key=f"{GIVEN_UP}||{channel}", name=channel
    )
