"""Stores what was decided of alerts, with what is told of it, in the transaction in which it was decided."""

from __future__ import annotations

from datetime import datetime, timedelta

from rmm.coordinator.delivery import moment
from rmm.core.alerting.desk import Desk, Stored
from rmm.core.alerting.incidents import MOST_TOLD, Tell
from rmm.core.alerting.lifecycle import RESOLVED
from rmm.model.alerting import AlertSettings
from rmm.model.rule import Notification
from rmm.tiers.fleet_sqlite import FleetStore

ACTS = "acts"  # the mark of the last act that channels were told of


async def stored(store: FleetStore, now: datetime) -> Stored:
    """All that a desk begins with."""
    return Stored(
        await store.live_alerts(), await store.open_incidents(), await store.silences(now), await store.flaps()
    )


async def keep(store: FleetStore, desk: Desk, now: datetime) -> None:
    """Store what came of a batch and of time, and tell it."""
    out, incidents = desk.take_out()
    await store.put_changes(out.changes.values())
    await store.put_incidents(incidents)
    await store.put_flaps(out.flaps)
    await store.add_suppressed(out.record)
    told = [notification(await _whole(store, tell), now) for tell in out.tells]
    await store.add_notifications(told)


async def _whole(store: FleetStore, tell: Tell) -> Tell:
    """What is over is told with all that it was."""
    if tell.kind != RESOLVED:
        return tell
    newest = {alert.key: alert for alert in reversed(await store.members(tell.incident.id, 2 * MOST_TOLD))}
    return tell._replace(alerts=tuple(newest[key] for key in sorted(newest))[:MOST_TOLD] or tell.alerts)


def notification(tell: Tell, now: datetime) -> Notification:
    """Its id follows from the incident and the moment of the event, so a decision made twice is told once."""
    identity = f"{tell.incident.id}@{moment(tell.at)}:{tell.kind}"
    return Notification(id=identity, kind=tell.kind, at=now, alerts=tell.alerts, incident=tell.incident)


async def take_acts(store: FleetStore, desk: Desk) -> None:
    """What people did since the last time."""
    acts = await store.acts_after(await store.mark_of(ACTS))
    if acts:
        desk.acknowledged(acts)
        await store.set_mark(ACTS, acts[-1].number)


async def grow_old(store: FleetStore, settings: AlertSettings, now: datetime) -> None:
    """What is old enough is archived or forgotten."""
    long_ago = datetime.min.replace(tzinfo=now.tzinfo)
    archive = now - timedelta(days=settings.archive_after_days) if settings.archive_after_days else long_ago
    await store.grow_old(archive=archive, forget=now - timedelta(days=settings.keep_record_days))
