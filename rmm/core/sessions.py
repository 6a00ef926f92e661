"""Which session configuration of an endpoint is used, and what is remembered of that. Pure.

A configuration that was made for one purpose (JEA, a name of the operator's own) may give an account less than Windows'
own ones give it, so nothing ever leads from the first kind to the second: such a list is refused when the settings are
read. Within the list that an operator wrote, a further name is tried only where the endpoint says that it has no such
configuration (WSManFault 2150858811), never after a refusal.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

WINRS = "winrs"  # the command shell: `powershell.exe` as a program of it
REMEMBERED = timedelta(days=7)  # then the configured one is tried again
SHORTEST_IDLE_S = 60  # Windows takes no shorter idle timeout

# Windows' own configurations: an account gets in them what the machine gives it anywhere.
_OWN = re.compile(
    r"(microsoft\.powershell(32|\.workflow)?|microsoft\.windows\.servermanagerworkflows|powershell\.\d[\d.a-z-]*|winrs)\Z"
)


def is_full(name: str) -> bool:
    """Whether a configuration is one of Windows' own, which restrict nothing, or the command shell."""
    return _OWN.match(name.casefold()) is not None


def wider(configuration: str, fallback: Sequence[str]) -> tuple[str, ...]:
    """The names of `fallback` that would give more than one before them: such a list is refused."""
    restricted = not is_full(configuration)
    found: list[str] = []
    for name in fallback:
        if is_full(name) and restricted:
            found.append(name)
        restricted = restricted or not is_full(name)
    return tuple(found)


def order(configuration: str, fallback: Sequence[str], chosen: str = "") -> tuple[str, ...]:
    """The names to try, each once: the one that is known to be there first, if it is still in the list."""
    names = tuple(dict.fromkeys((configuration, *fallback)))
    return (chosen, *(name for name in names if name != chosen)) if chosen in names else names


def recall(identity: Mapping[str, str], now: datetime) -> tuple[str, int]:
    """(session configuration, idle timeout) that an earlier poll found out; "" and 0 where nothing is to be recalled.

    `identity` is what is kept of the endpoint's identity: `session`, `idle_s` and `session_at` are ours.
    """
    if "session_at" not in identity:
        return "", 0
    try:
        age = now - datetime.fromisoformat(identity["session_at"])
        idle_s = int(identity.get("idle_s", "0"))
    except (ValueError, TypeError):
        return "", 0
    if not timedelta(0) <= age < REMEMBERED:
        return "", 0
    return identity.get("session", ""), max(0, idle_s)


def remember(known: Mapping[str, str], peer: Mapping[str, str], now: datetime, *, opened: bool) -> dict[str, str]:
    """What is kept with this poll's identity: what it learnt, or what is known and not too old.

    Args:
        known: identity as it was kept before.
        peer: what the session said; `session` and `idle_s` are there where they are not what the settings say.
        now: when the poll began.
        opened: whether this poll opened a shell; one that opened as the settings say wipes out what was known.
    """
    learnt = {key: peer[key] for key in ("session", "idle_s") if key in peer}
    if "session_at" not in known:
        return learnt | {"session_at": _stamp(now)} if learnt else {}
    session, idle_s = recall(known, now)
    before = {key: value for key, value in (("session", session), ("idle_s", str(idle_s or ""))) if value}
    if learnt == before or not (learnt or opened):
        return before | {"session_at": known["session_at"]} if before else {}
    return learnt | {"session_at": _stamp(now)} if learnt else {}


def _stamp(now: datetime) -> str:
    return now.isoformat(timespec="seconds")
