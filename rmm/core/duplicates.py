"""Do two endpoints stand for one machine, or were two machines cloned from one image? Pure.

They are never merged: an endpoint is what the list says, and which of the two is wrong only a person knows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import NamedTuple

import msgspec

from rmm.core.alerting.lifecycle import FIRING, RESOLVED, Change
from rmm.core.identity import own_uuid, short_name
from rmm.model.rule import Alert

RULE = "duplicate_identity"
SID = "machine SID"
MOST_NAMED = 10


class Reported(NamedTuple):
    """What an endpoint's machine last said of itself; empty where it said nothing."""

    endpoint: str
    name: str  # as the endpoint is called in the list
    site: str
    uuid: str
    computer_name: str
    installation: str = ""  # GUID of the Windows installation, which a copied disk has too, and sysprep makes anew
    machine_sid: str = ""  # of its local accounts; likewise


def duplicates(fleet: Iterable[Reported]) -> dict[str, list[Reported]]:
    """What several endpoints report (`uuid X`, `installation X`, `machine SID X`, `name X at SITE`) -> them, by id."""
    found: dict[str, list[Reported]] = defaultdict(list)
    for one in fleet:
        if uuid := own_uuid(one.uuid):
            found[f"uuid {uuid}"].append(one)
        if one.installation:
            found[f"installation {one.installation}"].append(one)
        if one.machine_sid:
            found[f"{SID} {one.machine_sid}"].append(one)
        if one.computer_name:  # sites are apart: each may have a machine of this name
            found[f"name {short_name(one.computer_name)} at {one.site}"].append(one)
    return {
        what: sorted(ones)
        for what, ones in found.items()
        # Those that all tell their installation are told apart by it; some copies share a SID on purpose.
        if len(ones) > 1 and not (what.startswith(SID) and all(one.installation for one in ones))
    }


def changes(fleet: Iterable[Reported], live: Mapping[str, Alert], now: datetime) -> list[Change]:
    """What becomes of the alerts, one for each identity that is reported more than once.

    Args:
        fleet: all endpoints of the list.
        live: alerts of RULE that fire, by key.
        now: the time of the round.
    """
    made: list[Change] = []
    found = {f"{RULE}||{what}": (what, ones) for what, ones in duplicates(fleet).items()}
    for key, (what, ones) in sorted(found.items()):
        known = live.get(key)
        summary = _summary(what, ones)
        if known is None:
            made.append(Change(_alert(key, what, summary, len(ones), now), FIRING))
        elif known.summary != summary:
            changed = msgspec.structs.replace(known, summary=summary, value=len(ones), last_at=now)
            made.append(Change(changed, FIRING if len(ones) > known.value else ""))
    for key, alert in sorted(live.items()):
        if key not in found:
            made.append(Change(msgspec.structs.replace(alert, state=RESOLVED, resolved_at=now, last_at=now), RESOLVED))
    return made


def _summary(what: str, ones: list[Reported]) -> str:
    names = ", ".join(f"{one.name} ({one.site})" for one in ones[:MOST_NAMED])
    more = f" and {len(ones) - MOST_NAMED} more" if len(ones) > MOST_NAMED else ""
    return f"{names}{more} report one identity ({what}): one machine listed twice, or cloned?"


def _alert(key: str, what: str, summary: str, value: int, now: datetime) -> Alert:
    return Alert(
        key=key, rule=RULE, endpoint="", name="fleet", site="", severity="warning", state=FIRING, summary=summary,
        value=value, first_at=now, last_at=now, row=what,
    )  # fmt: skip
