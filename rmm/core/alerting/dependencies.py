"""What follows from what: while a cause is out of order, alerts of what depends on it are not told. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from rmm.core.alerting.scopes import Place, ScopeIndex
from rmm.model.alerting import Dependency
from rmm.model.incident import Suppression
from rmm.model.rule import Alert

# (endpoint id or empty, site id or empty, rules) -> a live alert of these rules there.
Fires = Callable[[str, str, Sequence[str]], Alert | None]


class Dependencies:
    """Ready to be asked. A cause never follows from itself, although its own scope may contain it."""

    def __init__(self, dependencies: Sequence[Dependency] = ()) -> None:
        self._index = ScopeIndex([(one, one.of) for one in dependencies])
        self._any = bool(dependencies)

    def find(self, alert: Alert, place: Place, fires: Fires) -> Suppression | None:
        """The dependency by which an alert follows from something else that is out of order now."""
        if not self._any:
            return None
        for one in self._index.find(place, alert.rule):
            if _is_cause(one, place):
                continue
            causes = [fires(endpoint, "", one.when) for endpoint in one.endpoints]
            causes += [fires("", site, one.when) for site in one.sites]
            found = [cause for cause in causes if cause is not None]
            if found and len(found) == len(causes):
                return Suppression("dependency", found[0].key, f"it follows from: {found[0].summary}")
        return None


def _is_cause(one: Dependency, place: Place) -> bool:
    return place.endpoint in one.endpoints if place.endpoint else place.site in one.sites


def cycle(dependencies: Sequence[Dependency], places: Mapping[str, Place]) -> tuple[int, ...]:
    """Places in `dependencies` of those that follow from each other in a circle; empty where none do."""
    index = ScopeIndex([(number, one.of) for number, one in enumerate(dependencies)])

    def follows(number: int) -> Iterator[int]:
        """Those that silence a cause of this one."""
        one = dependencies[number]
        causes = [places[name] for name in one.endpoints if name in places]
        causes += [Place(site=site) for site in one.sites]
        found = {other for place in causes for other in index.find(place) if not _is_cause(dependencies[other], place)}
        return iter(sorted(found))

    return _circle(len(dependencies), follows)


def _circle(count: int, follows: Callable[[int], Iterator[int]]) -> tuple[int, ...]:
    """Depth first, without recursion."""
    done: set[int] = set()
    for start in range(count):
        if start in done:
            continue
        path, ways = [start], [follows(start)]
        while path:
            following = next(ways[-1], None)
            if following is None:
                done.add(path.pop())
                ways.pop()
            elif following in path:
                return tuple(path[path.index(following) :])
            elif following not in done:
                path.append(following)
                ways.append(follows(following))
    return ()
