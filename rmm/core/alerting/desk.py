"""Where every change of an alert passes: is it told, with what is it told, and what is kept of it. Pure.

`take` is given each change as it is decided; `reconcile` ends a batch; `look_again` is what time does, at the end of a
round. What has to be stored and told is collected in `out`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

import msgspec

from rmm.core.alerting import states
from rmm.core.alerting.flapping import calm, turned
from rmm.core.alerting.incidents import Incidents, Tell
from rmm.core.alerting.lifecycle import ACKNOWLEDGED, FIRING, LIVE, PENDING, RESOLVED, Change
from rmm.core.alerting.mute import Context, muted
from rmm.model.alerting import AlertSettings
from rmm.model.incident import Act, Flap, Incident, Silence, Suppressed, Suppression
from rmm.model.rule import EVENTS, Alert, Rule

LATE = timedelta(minutes=15)  # what is older may be over by now: it waits for the end of the round
# It is decided at the end of the round whose trouble it is; and it was found to be the site's at the end of the last.
ROUND, SITE = "round", "site"
STARTING = "starting"
ACK = "ack"  # the act of acknowledging
SHOWS_START = "system"  # the collector that tells of a restart itself, which nothing keeps back


class Out:
    """What came of it, to be stored in one transaction: `take_out` empties it."""

    def __init__(self) -> None:
        self.changes: dict[str, Change] = {}
        self.tells: list[Tell] = []
        self.record: list[Suppressed] = []
        self.flaps: dict[str, Flap | None] = {}


class Stored(NamedTuple):
    """What the database has of all this."""

    alerts: Sequence[Alert]
    incidents: Sequence[Incident] = ()
    silences: Sequence[Silence] = ()
    flaps: Sequence[Flap] = ()


class Desk:
    """All live alerts and what is decided about them.

    Args:
        settings: the section `alerts`.
        context: windows, dependencies and where endpoints stand.
        rules: by id.
        waits: whether alerts of a rule wait for the end of the round.
    """

    def __init__(
        self, settings: AlertSettings, context: Context, rules: Mapping[str, Rule], waits: Callable[[Rule], bool],
    ) -> None:  # fmt: skip
        self._settings, self._context, self._rules = settings, context, rules
        self._waits = waits
        self._starting: dict[str, datetime] = {}  # endpoint -> until when it counts as starting
        self.load(Stored(()))

    def load(self, stored: Stored) -> None:
        """Begin anew with what the database has."""
        self.out = Out()
        self.live: dict[str, dict[str, Alert]] = {}  # endpoint -> key -> alert
        for alert in stored.alerts:
            self.live.setdefault(alert.endpoint, {})[alert.key] = alert
        members = ((one, self._context.place(one)) for one in stored.alerts if one.incident and one.state != PENDING)
        self._incidents = Incidents(self._settings, stored.incidents, members)
        self._flaps = {flap.key: flap for flap in stored.flaps}
        self._entered: set[str] = set()
        self._context.with_silences(stored.silences)

    def incident(self, name: str) -> Incident | None:
        """An open incident."""
        return self._incidents.open.get(name)

    def all(self) -> Iterator[Alert]:
        """Every live alert."""
        for alerts in self.live.values():
            yield from alerts.values()

    def started(self, endpoint: str, at: datetime, uptime_s: float) -> None:
        """An endpoint has told for how long it is up."""
        if 0 <= uptime_s < self._settings.starting:
            self._starting[endpoint] = at + timedelta(seconds=self._settings.starting - uptime_s)
        else:
            self._starting.pop(endpoint, None)

    def take(self, change: Change, now: datetime, *, judged: bool = False) -> Change:
        """What becomes of one change; it is remembered as it is returned. `judged`: the end of no round is awaited."""
        known = self.live.get(change.alert.endpoint, {}).get(change.alert.key)
        alert = change.alert
        self.out.changes.pop(alert.key, None)  # the caller stores what is returned
        if change.dropped:
            self._remember(alert, dropped=True)
            return change
        if change.tell == RESOLVED or alert.state == RESOLVED:
            alert = self._ended(alert)
        elif change.tell == FIRING:
            alert = self._fired(states.carried(known, alert), known, now, judged)
        else:
            alert = states.carried(known, alert)
            if known is not None and known.state == ACKNOWLEDGED and alert.state == FIRING:
                alert = msgspec.structs.replace(alert, state=ACKNOWLEDGED, ack=known.ack)
            alert = self._unchanged(alert, now)
        self._remember(alert)
        return change._replace(alert=alert)

    def _remember(self, alert: Alert, *, dropped: bool = False) -> None:
        kept = self.live.setdefault(alert.endpoint, {})
        if alert.state in LIVE and not dropped:
            kept[alert.key] = alert
            if alert.incident:
                self._incidents.update(alert)
        else:
            kept.pop(alert.key, None)

    def _store(self, alert: Alert, *, tell: str = "", dropped: bool = False) -> None:
        """An alert that changed by itself, not by an observation."""
        self._remember(alert, dropped=dropped)
        self.out.changes[alert.key] = Change(alert, tell, dropped)

    def _unchanged(self, alert: Alert, now: datetime) -> Alert:
        """It holds still; what somebody acknowledged and got worse since is not acknowledged any more."""
        if alert.state != ACKNOWLEDGED or not states.unacknowledged(alert, now):
            return alert
        self._incidents.touch(alert.incident, again=True)
        return msgspec.structs.replace(alert, state=FIRING, ack=None)

    def _fired(self, alert: Alert, known: Alert | None, now: datetime, judged: bool) -> Alert:
        if known is not None and known.state in (FIRING, ACKNOWLEDGED) and known.incident:
            rule = self._rules.get(alert.rule)  # it got worse, or happened again
            why = self._why_not(alert, now, judged)
            if why is not None:
                return self._suppressed(alert, why, now)
            self._incidents.touch(alert.incident, again=rule is not None and rule.op in EVENTS)
            return msgspec.structs.replace(alert, suppressed=None)
        if known is None or known.state == PENDING:
            alert = msgspec.structs.replace(alert, fired_at=alert.last_at)
            if known is None or known.suppressed is None:  # what was set aside as its site's does not fire anew
                self._turn(alert.key, alert.last_at)
        why = self._why_not(alert, now, judged)
        return self._enter(alert) if why is None else self._suppressed(alert, why, now)

    def _why_not(self, alert: Alert, now: datetime, judged: bool) -> Suppression | None:
        """Why this is not told at once."""
        rule = self._rules.get(alert.rule)
        late = alert.last_at < now - LATE
        if until := self._starting.get(alert.endpoint):
            alert = self._starts(alert, rule, until)
        for at in (now, alert.last_at) if late else (now,):
            if why := muted(alert, at, self._context, self._fires):
                return why
        if alert.endpoint and not judged and (late or (rule is not None and self._waits(rule))):
            if alert.suppressed is not None and alert.suppressed.kind == SITE:
                return alert.suppressed  # it was; the end of the round shows whether it is still
            return Suppression(ROUND, alert.site, "the end of the round shows whose trouble it is")
        return None

    def tells(self, alert: Alert, now: datetime) -> bool:
        """Whether an alert that was over before anybody knew of it is told; why not is written down."""
        why = self.muted(alert, alert.last_at) or self.muted(alert, now)
        if why is not None:
            self._write_down(alert, why, now)
        return why is None

    def muted(self, alert: Alert, at: datetime) -> Suppression | None:
        """Why nobody is told of an alert at a moment, although it was decided that it is told."""
        return muted(alert, at, self._context, self._fires)

    def _starts(self, alert: Alert, rule: Rule | None, until: datetime) -> Alert:
        if alert.suppressed is not None or rule is None or rule.op in EVENTS:
            return alert
        if not rule.collector or rule.collector == SHOWS_START:
            return alert
        return msgspec.structs.replace(
            alert, suppressed=Suppression(STARTING, alert.endpoint, "the endpoint has just started", until)
        )

    def _fires(self, endpoint: str, site: str, rules: Sequence[str]) -> Alert | None:
        """A live alert of some rules on an endpoint, or of a site itself; one that is pending counts already."""
        for alert in self.live.get(endpoint, {}).values():
            if alert.rule in rules and (endpoint or alert.site == site):
                return alert
        return None

    def _suppressed(self, alert: Alert, why: Suppression, now: datetime) -> Alert:
        known = alert.suppressed
        if why.kind != ROUND and (known is None or (known.kind, known.ref) != (why.kind, why.ref)):
            self._write_down(alert, why, now)
        return msgspec.structs.replace(alert, suppressed=why)

    def _write_down(self, alert: Alert, why: Suppression, now: datetime) -> None:
        self.out.record.append(
            Suppressed(
                at=now, key=alert.key, rule=alert.rule, endpoint=alert.endpoint, site=alert.site,
                severity=alert.severity, summary=alert.summary, why=why,
            )
        )  # fmt: skip

    def _enter(self, alert: Alert) -> Alert:
        alert = msgspec.structs.replace(alert, suppressed=None)
        alert = self._incidents.enter(alert, self._context.place(alert))
        self._entered.add(alert.key)
        for moved in self._incidents.moved:
            self._store(moved)
        self._incidents.moved = []
        flap = self._flaps.get(alert.key)
        if flap is not None and flap.since is not None:
            self._incidents.flaps(alert.incident, True)
        return alert

    def _turn(self, key: str, at: datetime) -> Flap:
        flap = turned(self._flaps.get(key), key, at, self._settings.flapping)
        self._flaps[key] = self.out.flaps[key] = flap
        return flap

    def _ended(self, alert: Alert) -> Alert:
        flap = self._turn(alert.key, alert.resolved_at or alert.last_at) if alert.fired_at else None
        wait = self._settings.flapping.calm if flap is not None and flap.since else self._settings.resolve_after
        until = (alert.resolved_at or alert.last_at) + timedelta(seconds=wait) if wait and not alert.ended else None
        self._incidents.leave(alert, until)
        return alert

    def set_aside(self, alert: Alert, ref: str, reason: str, now: datetime) -> Change:
        """An endpoint's alert is only what a trouble of its site looks like: it waits as if it had never fired."""
        aside = self._suppressed(
            msgspec.structs.replace(alert, state=PENDING, fired_at=None), Suppression(SITE, ref, reason), now
        )
        self._store(aside)
        return Change(aside)

    def look_again(self, now: datetime, sites: Collection[str], listed: Collection[str]) -> list[Change]:
        """What time does. `sites` are those whose round is over, `listed` the endpoints of the list if they are known.

        Returns the alerts that ended.
        """
        days = self._settings.absent_after_days
        over = [
            self._over(alert, why, now)
            for alert in list(self.all())
            if (why := states.ended(alert, self._rules, listed, now, days))
        ]
        for alert in sorted(self.all(), key=lambda one: (one.fired_at or one.last_at, one.key)):
            if alert.state == ACKNOWLEDGED and states.unacknowledged(alert, now):
                alert = msgspec.structs.replace(alert, state=FIRING, ack=None)
                self._incidents.update(alert)
                self._incidents.touch(alert.incident, again=True)
                self._store(alert)
            if alert.state == FIRING and (alert.suppressed is not None or not alert.incident):
                self._reconsider(alert, now, sites)
        self._calm(now)
        return over

    def _over(self, alert: Alert, why: str, now: datetime) -> Change:
        if alert.state == PENDING:
            self._store(alert, dropped=True)
            return Change(alert, dropped=True)
        ended = states.resolved(alert, now, why)
        self._ended(ended)
        self._store(ended, tell=RESOLVED)
        return Change(ended, RESOLVED)

    def _reconsider(self, alert: Alert, now: datetime, sites: Collection[str]) -> None:
        held = alert.suppressed
        if held is not None and held.kind in (ROUND, SITE) and alert.site not in sites:
            return
        why = muted(alert, now, self._context, self._fires)
        if why is not None:
            changed = self._suppressed(alert, why, now)
        elif alert.incident:
            self._incidents.touch(alert.incident)
            changed = msgspec.structs.replace(alert, suppressed=None)
        else:
            changed = self._enter(alert)
        if changed != alert:
            self._store(changed)

    def _calm(self, now: datetime) -> None:
        for key, flap in list(self._flaps.items()):
            if calm(flap, now, self._settings.flapping):
                del self._flaps[key]
                self.out.flaps[key] = None
        self._incidents.calmed(now)
        flapping = {self._flaps[key].key for key in self._flaps if self._flaps[key].since is not None}
        for name, incident in list(self._incidents.open.items()):
            if incident.flapping and not flapping & {*self._incidents.members[name], *incident.lingers}:
                self._incidents.flaps(name, False)

    def remind(self, now: datetime) -> None:
        """What fires still and nobody has acknowledged is told again, each severity in its time."""
        for name in self._incidents.due(now):
            firing = [one for one in self._incidents.members[name].values() if one.state == FIRING]
            if any(muted(one, now, self._context, self._fires) is None for one in firing):
                self.out.tells.append(self._incidents.remind(name, now))

    def acknowledged(self, acts: Iterable[Act]) -> None:
        """What people have acknowledged since the last time is told, once for each incident."""
        for act in acts:
            alert = next(self._named([act.key]), None) if act.what == ACK else None
            incident = self._incidents.open.get(alert.incident) if alert is not None else None
            if alert is None or incident is None or incident.told_at is None:
                continue
            self._incidents.touch(incident.id)
            if not any(tell.kind == ACKNOWLEDGED and tell.incident.id == incident.id for tell in self.out.tells):
                self.out.tells.append(Tell(ACKNOWLEDGED, act.at, incident, (alert,)))

    def waiting(self, site: str) -> list[Alert]:
        """What fires on endpoints of a site and nobody was told of, by key."""
        found = (one for one in self.all() if one.endpoint and one.site == site)
        return sorted((one for one in found if one.state == FIRING and not one.incident), key=lambda one: one.key)

    def reconcile(self, now: datetime) -> None:
        """The end of a batch: what is told of it."""
        tells, told = self._incidents.reconcile(now)
        self.out.tells += tells
        for alert in told:
            self._store(alert)
        known = {alert.key for alert in told}
        for alert in self._named(self._entered - known):
            incident = self._incidents.open.get(alert.incident)
            if incident is not None and alert.told_at is None and alert.suppressed is None:
                kind = "flapping" if incident.flapping else "incident"
                self._write_down(alert, Suppression(kind, incident.id, f"part of what was told: {incident.title}"), now)
        self._entered = set()

    def _named(self, keys: Iterable[str]) -> Iterator[Alert]:
        for key in sorted(keys):
            alert = self.live.get(key.split("|", 2)[1], {}).get(key)
            if alert is not None:
                yield alert

    def take_out(self) -> tuple[Out, list[Incident]]:
        """What is to be stored and told, once."""
        out, self.out = self.out, Out()
        incidents = list(self._incidents.changed.values())
        self._incidents.changed = {}
        return out, incidents
