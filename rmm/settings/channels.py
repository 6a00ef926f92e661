"""What `rmm.yaml` says of channels, routes and inhibitions."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from rmm.core.alerting.route import DEFAULT, LABELS
from rmm.document import Document, Problem, checked, dotted
from rmm.model.routing import Inhibition, Route

MOST_ROUTES = 200
LONGEST_S = 30 * 86_400
DAILY = "07:00"  # UTC: what `daily` alone means
DURATIONS = ("group_wait", "group_interval", "repeat_interval")
SEVERITIES = ("warning", "critical")
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}
_DURATION = re.compile(r"(\d{1,7}(?:\.\d{1,3})?)([smhd]?)\Z")
_TIME = re.compile(r"(?:[01]\d|2[0-3]):[0-5]\d\Z")

Place = tuple[str | int, ...]


class Known:
    """What routes may name."""

    def __init__(self, channels: Collection[str], sites: Collection[str], policies: Collection[str] = ()) -> None:
        self.channels = channels
        self.sites = sites
        self.policies = policies


def channel_problems(document: Document, channels: Mapping[str, dict[str, Any]]) -> Iterable[Problem]:
    """Channels without a type, or with one that there is not; their options are each channel's own matter."""
    known = channel_types() if channels else []
    for name, options in channels.items():
        kind, place = options.get("type"), ("channels", name)
        if not isinstance(kind, str):
            yield Problem(document.line(place), dotted(place), "name its `type`, such as log or webhook")
        elif kind not in known:
            line = document.line((*place, "type"))
            yield Problem(line, dotted((*place, "type")), f"{kind!r} is not one of {', '.join(known)}")


def channel_types() -> list[str]:
    """Every type of channel: a file of rmm/channels, or an entry point."""
    import pkgutil
    from importlib.metadata import entry_points

    here = Path(__file__).parent.parent / "channels"
    found = {item.name for item in pkgutil.iter_modules([str(here)]) if not item.name.startswith("_")}
    return sorted(found | {entry.name for entry in entry_points(group="rmm.channels")})


def read_routes(document: Document, given: list[Any], known: Known, problems: list[Problem]) -> tuple[Route, ...]:
    """The routes, in their order."""
    routes: list[Route] = []
    if len(given) > MOST_ROUTES:
        problems.append(Problem(document.line(("routes",)), "routes", f"{MOST_ROUTES} at most"))
    for index, value in enumerate(given[:MOST_ROUTES]):
        place: Place = ("routes", index)
        values = _plain(document, place, value, problems)
        converted = None if values is None else checked(document, place, Route, values, problems)
        if converted is None:
            continue
        route = Route(**{"name": f"route {index + 1}", **converted})
        found = list(_route_problems(route, known))
        if route.name in {one.name for one in routes}:
            found.append(("name", "this name is used twice"))
        problems += [Problem(document.line((*place, key)), dotted((*place, key)), text) for key, text in found]
        routes.append(route)
    return tuple(routes)


def _plain(document: Document, place: Place, value: Any, problems: list[Problem]) -> dict[str, Any] | None:
    """Durations in seconds, `continue` by the name that the code has for it, `daily` with its time."""
    if not isinstance(value, dict):
        problems.append(Problem(document.line(place), dotted(place), "a mapping of keys is expected"))
        return None
    values = dict(value)
    if "continue" in values:
        values["more"] = values.pop("continue")
    if values.get("digest") == "daily":
        values["digest"] = DAILY
    for key in DURATIONS:
        if key not in values:
            continue
        seconds = seconds_of(values[key])
        if seconds is None:
            text = f"a time up to 30 days is expected, such as 30s, 5m, 4h or 1d, not {values.pop(key)!r}"
            problems.append(Problem(document.line((*place, key)), dotted((*place, key)), text))
        else:
            values[key] = seconds
    return values


def seconds_of(value: Any) -> float | None:
    """30, 30s, 5m, 4h, 1d as seconds; None for what is no such time."""
    found = (
        _DURATION.match(str(value)) if isinstance(value, int | float | str) and not isinstance(value, bool) else None
    )
    seconds = float(found[1]) * _UNITS[found[2]] if found else -1.0
    return seconds if 0 <= seconds <= LONGEST_S else None


def _route_problems(route: Route, known: Known) -> Iterable[tuple[str, str]]:
    """(key, problem) of one route."""
    if route.name == DEFAULT.name or not route.name or len(route.name) > 64 or "|" in route.name:
        yield "name", "1 to 64 characters without |, and not `default`, which is what no route matches"
    yield from ((f"match.{label}", text) for label, text in _match_problems(route.match, known))
    for name in route.channels:
        if name not in known.channels:
            yield "channels", f"there is no channel {name!r}; there are {', '.join(known.channels) or 'none'}"
    if route.escalation and route.escalation not in known.policies:
        have = ", ".join(known.policies) or "none"
        yield "escalation", f"there is no policy {route.escalation!r} in escalation; there are {have}"
    for label in route.group_by:
        if label not in LABELS:
            yield "group_by", f"{label!r} is not one of {', '.join(LABELS)}"
    if route.digest:
        if route.digest != "hourly" and not _TIME.match(route.digest):
            yield "digest", f"{route.digest!r} is not hourly, daily, or a time of day (UTC) such as 07:00"
        if route.group_by or route.group_wait or route.group_interval or route.repeat_interval:
            yield "digest", "a digest has its own time: leave out group_by, group_wait and the intervals"


def _match_problems(match: Mapping[str, Any], known: Known) -> Iterable[tuple[str, str]]:
    for label, wanted in match.items():
        values = wanted if isinstance(wanted, list) else [wanted]
        if label not in LABELS:
            yield label, f"not one of {', '.join(LABELS)}"
        elif not values or not all(isinstance(value, str | int) and not isinstance(value, bool) for value in values):
            yield label, "a text or a list of texts is expected"
        else:
            allowed = {"severity": SEVERITIES, "site": known.sites, "source": ("rmm", "external")}.get(label, ())
            for value in map(str, values):
                if allowed and value not in allowed and not value.endswith("*"):
                    yield label, f"{value!r} is not one of {', '.join(allowed)}"


def read_inhibitions(
    document: Document, given: list[Any], known: Known, problems: list[Problem]
) -> tuple[Inhibition, ...]:
    """What keeps what silent."""
    found: list[Inhibition] = []
    for index, value in enumerate(given[:MOST_ROUTES]):
        place: Place = ("inhibit", index)
        if not isinstance(value, dict):
            problems.append(Problem(document.line(place), dotted(place), "a mapping of keys is expected"))
            continue
        values = checked(document, place, Inhibition, value, problems)
        if values is None:
            continue
        one = Inhibition(**values)
        wrong = [(f"{side}.{label}", text) for side in ("source", "target")
                 for label, text in _match_problems(getattr(one, side), known)]  # fmt: skip
        wrong += [(side, "name at least one label") for side in ("source", "target") if not getattr(one, side)]
        wrong += [
            ("equal", f"{label!r} is not one of {', '.join(LABELS)}") for label in one.equal if label not in LABELS
        ]
        problems += [Problem(document.line((*place, key)), dotted((*place, key)), text) for key, text in wrong]
        found.append(one)
    return tuple(found)
