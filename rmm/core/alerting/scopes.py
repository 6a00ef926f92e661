"""Which of many scopes an alert is in, found by what names it: thousands of them cost no more than a few. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Generic, NamedTuple, TypeVar

from rmm.core.wildcards import pattern
from rmm.model.alerting import Scope
from rmm.model.endpoint import Endpoint

T = TypeVar("T")


class Place(NamedTuple):
    """Where an alert is: an endpoint with what the list says of it, or (empty id) a site, or neither."""

    endpoint: str = ""
    name: str = ""
    site: str = ""
    group: str = ""
    tags: tuple[str, ...] = ()


def place_of(endpoint: Endpoint) -> Place:
    """Of an endpoint of the list."""
    return Place(endpoint.id, endpoint.name, endpoint.site, endpoint.group, endpoint.tags)


class _Item(NamedTuple, Generic[T]):
    value: T
    scope: Scope
    names: Callable[[Place], bool]  # whether the endpoint is one of `scope.endpoint`


class ScopeIndex(Generic[T]):
    """Values, each with a scope. They are filed under the narrowest key that their scope has."""

    def __init__(self, values: Sequence[tuple[T, Scope]]) -> None:
        self._by: dict[tuple[str, str], list[_Item[T]]] = {}
        self._general: list[_Item[T]] = []
        for value, scope in values:
            item = _Item(value, scope, _names(scope))
            keys = _keys(scope)
            if not keys:
                self._general.append(item)
            for key in keys:
                self._by.setdefault(key, []).append(item)

    def find(self, place: Place, rule: str = "") -> Iterator[T]:
        """Every value whose scope the place is in; with an empty rule, of any rule."""
        seen: set[int] = set()
        for item in self._candidates(place, rule):
            if id(item) not in seen and _fits(item, place, rule):
                seen.add(id(item))
                yield item.value

    def _candidates(self, place: Place, rule: str) -> Iterator[_Item[T]]:
        yield from self._general
        keys = [("endpoint", place.endpoint), ("endpoint", place.name.casefold()), ("group", place.group.casefold())]
        keys += [("site", place.site), ("rule", rule), *(("tag", tag.casefold()) for tag in place.tags)]
        for key in keys:
            if key[1]:
                yield from self._by.get(key, ())


def _keys(scope: Scope) -> list[tuple[str, str]]:
    exact = [name for name in scope.endpoint if not _wild(name)]
    if scope.endpoint and len(exact) == len(scope.endpoint):
        return [("endpoint", name.casefold()) for name in exact]
    for kind in ("group", "tag", "site"):
        if wanted := getattr(scope, kind):
            return [(kind, name if kind == "site" else name.casefold()) for name in wanted]
    return []


def _names(scope: Scope) -> Callable[[Place], bool]:
    exact = {name.casefold() for name in scope.endpoint if not _wild(name)}
    patterns = [pattern(name) for name in scope.endpoint if _wild(name)]

    def fits(place: Place) -> bool:
        if not place.endpoint:
            return False
        if place.endpoint in exact or place.name.casefold() in exact:
            return True
        return any(like(place.endpoint) or like(place.name) for like in patterns)

    return fits


def _fits(item: _Item[T], place: Place, rule: str) -> bool:
    scope = item.scope
    if scope.rule and rule and rule not in scope.rule:
        return False
    if scope.site and place.site not in scope.site:
        return False
    if scope.group and place.group.casefold() not in {name.casefold() for name in scope.group}:
        return False
    if scope.tag and not {tag.casefold() for tag in place.tags} & {tag.casefold() for tag in scope.tag}:
        return False
    return not scope.endpoint or item.names(place)


def _wild(name: str) -> bool:
    return "*" in name or "?" in name


def members(scope: Scope, places: Mapping[str, Place]) -> frozenset[str]:
    """The ids of the endpoints that are in a scope, whatever its rules are."""
    item = _Item(None, scope, _names(scope))
    return frozenset(one for one, place in places.items() if _fits(item, place, ""))
