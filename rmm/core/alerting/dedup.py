"""Stage 5, dedup: nobody is told twice, nor of the end of what they never heard of. Pure.

    what waits for a channel, of one alert      the channel has not heard of it      it has
    fires                                       told                                 told (it got worse, or again)
    fires, then ends                            neither                              the end
    ends                                        nothing                              the end
    ends, then fires                            it fires                             it fires

Of several the newest counts. A group that nothing holds back is told piece by piece as it comes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import NamedTuple

from rmm.model.routing import Waiting

RESOLVED = "resolved"


class Told(NamedTuple):
    """What a channel is told, and what it need not hear any more."""

    tell: list[Waiting]
    drop: list[Waiting]


def deduplicate(entries: Iterable[Waiting], heard: Collection[str], *, whole: bool = False) -> Told:
    """Of one channel's group: entries in the order in which they were decided; `heard` holds keys of alerts.

    `whole`: a digest, which tells also of what came and went.
    """
    newest: dict[str, Waiting] = {}
    result = Told([], [])
    for one in entries:
        if one.alert in newest:
            result.drop.append(newest[one.alert])
        newest[one.alert] = one
    for one in newest.values():
        needed = whole or one.kind != RESOLVED or one.alert in heard
        (result.tell if needed else result.drop).append(one)
    return result


def in_order(entries: Iterable[Waiting]) -> list[Waiting]:
    """By the time of the decision; of one alert the ids say which came first."""
    return sorted(entries, key=lambda one: (one.at, one.id))
