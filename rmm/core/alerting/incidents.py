"""Which alerts are one trouble: incidents open, gain and lose members, and close; what of that is told. Pure.

    an alert fires            it joins the open incident of its rule on the site's or group's many endpoints, else that
                              of its endpoint, where the newest member came no longer than `together` ago;
                              the `many`-th endpoint of a rule makes an incident of all that nobody was told of yet;
                              otherwise it opens one
    it ends                   it leaves; an incident without members closes, at once or when it has been calm

Nothing is told while members change, only in `reconcile`, once for all of a batch: so the order within it decides
nothing, and what came and went in between is told to nobody.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import NamedTuple

import msgspec

from rmm.core.alerting.lifecycle import ACKNOWLEDGED, FIRING, RESOLVED
from rmm.core.alerting.scopes import Place
from rmm.core.alerting.states import worse
from rmm.model.alerting import AlertSettings
from rmm.model.incident import Incident
from rmm.model.rule import Alert

MOST_TOLD = 50  # members that are named in what is told; `Incident.firing` has the whole number
CLOSED = "closed"


class Tell(NamedTuple):
    """Something to be told. kind: firing | resolved | reminder | acknowledged; `at` is of the event, not of now."""

    kind: str
    at: datetime
    incident: Incident
    alerts: tuple[Alert, ...]


class Incidents:
    """The open incidents and their members. `changed` has what is to be stored; the caller empties it."""

    def __init__(
        self,
        settings: AlertSettings,
        opened: Iterable[Incident] = (),
        members: Iterable[tuple[Alert, Place]] = (),
    ) -> None:
        self._settings = settings
        self._together = timedelta(seconds=settings.together)
        self.open: dict[str, Incident] = {}
        self.members: dict[str, dict[str, Alert]] = {}  # incident -> key -> alert
        self._on: dict[str, set[str]] = {}  # subject -> open incidents
        self._lingers: dict[str, str] = {}  # key of an alert that may come back -> incident
        self._rules: dict[tuple[str, str], dict[str, Alert]] = {}  # (rule, subject of many) -> key -> member
        self._places: dict[str, Place] = {}
        self._touched: set[str] = set()
        self._again: set[str] = set()
        self._gone: dict[str, Alert] = {}  # incident -> the member that left it last
        self.changed: dict[str, Incident] = {}
        self.moved: list[Alert] = []  # members that are in another incident now; the caller empties it
        for incident in opened:
            self._add(incident)
        for alert, place in members:
            if alert.incident in self.open:
                self._join(alert, place)
        self._touched = {name for name in self.open if not self.members[name] and not self.open[name].lingers}

    def _add(self, incident: Incident) -> None:
        self.open[incident.id] = incident
        self.members.setdefault(incident.id, {})
        self._on.setdefault(incident.subject, set()).add(incident.id)
        self._lingers |= dict.fromkeys(incident.lingers, incident.id)

    def _join(self, alert: Alert, place: Place) -> None:
        self.members[alert.incident][alert.key] = alert
        self._places[alert.key] = place
        for subject in _subjects(place) if place.endpoint else ():
            self._rules.setdefault((alert.rule, subject), {})[alert.key] = alert

    def update(self, alert: Alert) -> None:
        """A member has changed; it stays one."""
        if (held := self.members.get(alert.incident)) is not None and alert.key in held:
            held[alert.key] = alert

    def touch(self, incident: str, *, again: bool = False) -> None:
        """Something about it may have to be told; `again`: that it fires is, whatever was told."""
        if incident in self.open:
            self._touched.add(incident)
            if again:
                self._again.add(incident)

    def enter(self, alert: Alert, place: Place) -> Alert:
        """The alert as a member of an incident."""
        at = alert.fired_at or alert.last_at
        incident = self._known(alert, place, at) or self._many(alert, place, at) or self._new(alert, place, at)
        kept = incident.lingers
        if alert.key in kept:
            kept = {key: until for key, until in kept.items() if key != alert.key}
            self._lingers.pop(alert.key, None)
        self.open[incident.id] = msgspec.structs.replace(
            incident, last_at=max(incident.last_at, at), count=incident.count + 1, lingers=kept
        )
        joined = msgspec.structs.replace(alert, incident=incident.id)
        self._join(joined, place)
        self._touched.add(incident.id)
        return joined

    def _known(self, alert: Alert, place: Place, at: datetime) -> Incident | None:
        """An open incident that it belongs to."""
        if (name := self._lingers.get(alert.key)) is not None:
            return self.open[name]
        if not place.endpoint:
            return None
        for subject in (*_subjects(place), place.endpoint):
            for name in sorted(self._on.get(subject, ())):
                one = self.open[name]
                recent = abs(at - one.last_at) <= self._together
                if recent and (one.rule == alert.rule or (not one.rule and one.kind == "endpoint")):
                    return one
        return None

    def _many(self, alert: Alert, place: Place, at: datetime) -> Incident | None:
        """A new incident of many endpoints, when this is the one that makes them many."""
        for subject in _subjects(place) if place.endpoint else ():
            same = self._rules.get((alert.rule, subject), {}).values()
            near = [one for one in same if abs(at - (one.fired_at or one.last_at)) <= self._together]
            if len({one.endpoint for one in near} | {alert.endpoint}) < self._settings.many:
                continue
            first = min([at, *(one.fired_at or one.last_at for one in near)])
            one = self._opened("many", subject, f"{alert.rule} on {subject}", alert, place, first, alert.rule)
            told = [member for member in near if self.open[member.incident].told_at is not None]
            for member in near:
                if member not in told:
                    self._move(member, one.id)
            before = len({member.endpoint for member in told})
            self.open[one.id] = msgspec.structs.replace(self.open[one.id], before=before)
            return self.open[one.id]
        return None

    def _move(self, member: Alert, to: str) -> None:
        place = self._places[member.key]
        for name, more in ((member.incident, -1), (to, 1)):
            self.open[name] = msgspec.structs.replace(self.open[name], count=self.open[name].count + more)
        self._leave(member)
        moved = msgspec.structs.replace(member, incident=to)
        self._join(moved, place)
        self.moved.append(moved)

    def _new(self, alert: Alert, place: Place, at: datetime) -> Incident:
        kind, subject = ("endpoint", place.endpoint) if place.endpoint else ("site", f"site alone:{alert.site}")
        return self._opened(kind, subject, alert.key, alert, place, at, "")

    def _opened(
        self, kind: str, subject: str, name: str, alert: Alert, place: Place, at: datetime, rule: str
    ) -> Incident:
        """Its id follows from what and when, so that a decision that is made twice has one."""
        digest = blake2b(f"{name}@{at.timestamp():.6f}".encode(), digest_size=6).hexdigest()
        one = Incident(
            id=f"i-{digest}", kind=kind, subject=subject, title=alert.summary, severity=alert.severity, opened_at=at,
            last_at=at, rule=rule, site="" if subject.startswith("group:") else place.site, group=place.group,
        )  # fmt: skip
        self._add(one)
        return one

    def leave(self, alert: Alert, until: datetime | None = None) -> None:
        """It ended; `until`: its end is not believed before."""
        incident = self.open.get(alert.incident)
        if incident is None:
            return
        self._leave(alert)
        self._gone[incident.id] = alert
        if until is not None:
            lingers = {**incident.lingers, alert.key: until}
            self.open[incident.id] = msgspec.structs.replace(incident, lingers=lingers)
            self._lingers[alert.key] = incident.id

    def _leave(self, alert: Alert) -> None:
        self.members[alert.incident].pop(alert.key, None)
        self._touched.add(alert.incident)
        for subject in _subjects(self._places.pop(alert.key, Place())):
            self._rules.get((alert.rule, subject), {}).pop(alert.key, None)

    def calmed(self, now: datetime) -> None:
        """Ends that have lasted long enough are believed."""
        for name, incident in list(self.open.items()):
            over = [key for key, until in incident.lingers.items() if until <= now]
            if over:
                kept = {key: until for key, until in incident.lingers.items() if until > now}
                self.open[name] = msgspec.structs.replace(incident, lingers=kept)
                for key in over:
                    self._lingers.pop(key, None)
                self._touched.add(name)

    def flaps(self, incident: str, flapping: bool) -> None:
        """One of its members comes and goes, or none does any more. Its title says so; that alone is not told."""
        known = self.open.get(incident)
        if known is not None and known.flapping is not flapping:
            self.open[incident] = msgspec.structs.replace(known, flapping=flapping)
            self.touch(incident)

    def reconcile(self, now: datetime) -> tuple[list[Tell], list[Alert]]:
        """What is to be told of all that changed, and the members that this tells of for the first time."""
        tells: list[Tell] = []
        told: list[Alert] = []
        for name in sorted(self._touched, key=lambda name: (self.open[name].opened_at, name)):
            tell = self._settled(name, now)
            if tell is None:
                continue
            if tell.kind == FIRING:
                new = [msgspec.structs.replace(one, told_at=now) for one in self._loud(name) if one.told_at is None]
                for one in new:
                    self.update(one)
                told += new
                tell = tell._replace(alerts=tuple(self._loud(name)[:MOST_TOLD]))
            tells.append(tell)
        self._touched, self._again, self._gone = set(), set(), {}
        return tells, told

    def _loud(self, name: str) -> list[Alert]:
        """Members that nothing keeps from being told, worst and newest first."""
        loud = [one for one in self.members[name].values() if one.suppressed is None]
        return sorted(loud, key=lambda one: (one.severity != "critical", one.state == ACKNOWLEDGED, one.key))

    def _settled(self, name: str, now: datetime) -> Tell | None:
        known, members, loud = self.open[name], self.members[name], self._loud(name)
        if not members and not known.lingers:
            return self._closed(known, now)
        severity = next((one.severity for one in loud), known.severity)
        incident = msgspec.structs.replace(
            known, severity=severity, firing=len(members), title=_title(known, loud) if loud else known.title,
            acknowledged=bool(members) and all(one.state == ACKNOWLEDGED for one in members.values()),
        )  # fmt: skip
        fresh = known.told_at is None or worse(severity, known.told_severity) or name in self._again
        tell = fresh and any(one.state == FIRING for one in loud)
        if tell:
            incident = msgspec.structs.replace(
                incident, told_at=known.told_at or now, told_severity=severity, reminded_at=now
            )
        self.open[name] = self.changed[name] = incident
        if not tell:
            return None
        at = max(one.last_at if known.told_at else one.fired_at or one.last_at for one in loud)
        return Tell(FIRING, at, incident, ())

    def _closed(self, known: Incident, now: datetime) -> Tell | None:
        last = self._gone.get(known.id)
        at = now if last is None or last.resolved_at is None or known.flapping else last.resolved_at
        incident = msgspec.structs.replace(known, state=CLOSED, closed_at=at, firing=0, flapping=False)
        del self.open[known.id], self.members[known.id]
        self._on[known.subject].discard(known.id)
        if known.told_at is None:
            if known.count:  # it was in the database, or is worth being there: somebody may ask why nothing was told
                self.changed[known.id] = incident
            return None
        self.changed[known.id] = incident
        return Tell(RESOLVED, at, incident, (last,) if last is not None else ())

    def due(self, now: datetime) -> list[str]:
        """Incidents that were told, and not for as long as their severity may be left alone."""
        found = []
        for name, one in sorted(self.open.items()):
            every, last = getattr(self._settings.remind, one.severity, 0), one.reminded_at or one.told_at
            if every and last is not None and now - last >= timedelta(seconds=every):
                found.append(name)
        return found

    def remind(self, name: str, now: datetime) -> Tell:
        """Tell of an incident again."""
        incident = msgspec.structs.replace(self.open[name], reminded_at=now)
        self.open[name] = self.changed[name] = incident
        return Tell("reminder", now, incident, tuple(self._loud(name)[:MOST_TOLD]))


def _subjects(place: Place) -> tuple[str, ...]:
    found = (f"site:{place.site}",) if place.site else ()
    return (*found, f"group:{place.group}") if place.group else found


def _title(incident: Incident, loud: list[Alert]) -> str:
    """What an incident is called, from the members that may be told."""
    if incident.kind == "many":
        number = len({one.endpoint for one in loud}) + incident.before
        where = incident.subject.replace(":", " ", 1)
        told = f" ({incident.before} told before)" if incident.before else ""
        text = f"{number} endpoints of {where}{told}: {incident.rule}, such as: {loud[0].summary}"
    else:
        text = loud[0].summary + (f" (and {len(loud) - 1} more on {loud[0].name})" if len(loud) > 1 else "")
    return f"flapping: {text}" if incident.flapping else text
