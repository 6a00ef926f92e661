"""What of scopes, rules and dependencies is about one site. Pure; on the values of files that have been checked."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from rmm.core.rulebook import like
from rmm.model.settings import Settings

_KINDS = ("endpoint", "group", "site", "tag")
_CONDITIONS = ("applies", "condition", "when")
_QUOTED = re.compile(r"\"((?:[^\"]|\"\")*)\"|'((?:[^']|'')*)'")
_WORD = re.compile(r"[\w.-]+")


class Around:
    """One site among the others. `left_out` says what only makes sense with the others, and is not handed out."""

    def __init__(self, site: str, settings: Settings) -> None:
        self.site = site
        self.endpoints = [one for one in settings.endpoints if one.site == site]
        self.groups = {one.group for one in self.endpoints if one.group}
        self.left_out: list[str] = []
        # Where something is said of a group or tag: how many others have it.
        self._elsewhere = {one.group.casefold() for one in settings.endpoints if one.site != site and one.group}
        self._own = {
            "endpoint": {name.casefold() for one in self.endpoints for name in (one.id, one.name)},
            "group": {name.casefold() for name in self.groups},
            "site": {site},
            "tag": {tag.casefold() for one in self.endpoints for tag in one.tags},
        }
        foreign = {text for one in settings.sites.values() if one.id != site for text in (one.id, one.name) if text}
        foreign |= {text for one in settings.endpoints if one.site != site for text in (one.id, one.name, one.address)}
        mine = {site, settings.sites[site].name, *(one.address for one in self.endpoints)}
        self._foreign = {text.casefold() for text in foreign if text} - {text.casefold() for text in mine}
        self._foreign -= self._own["endpoint"]

    def scope(self, given: Mapping[str, Any]) -> dict[str, Any] | None:
        """A mapping with the keys of a scope among others, as it is at this site; None where it is not about it."""
        found = dict(given)
        for kind in _KINDS:
            names = _many(given.get(kind))
            if not names:
                continue
            own = [name for name in names if any(like(name, one) for one in self._own[kind])]
            if not own:
                return None
            # A pattern for several sites says something of the others.
            found[kind] = [self.site] if kind == "site" else own
        return found

    def scoped(self, section: str, items: Iterable[Any], *, name: str) -> Iterator[dict[str, Any]]:
        """The items of a section, each with a scope in it, that are about this site."""
        for item in items:
            found = self.scope(item)
            if found is None:
                self._without(f"{section}: {item.get(name)}", "it is about other sites")
            else:
                yield found

    def rules(self, items: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
        """The rules that are about this site, and need nothing of others."""
        for item in items:
            only = self.scope(item.get("only") or {})
            if only is None:
                self._without(f"rule {item.get('id')}", "it is about other sites")
            elif self._speaks_of_others(item):
                self._without(f"rule {item.get('id')}", "its condition names another site or its endpoints")
            else:
                yield {**item, "only": only} if only else dict(item)

    def baseline(self, given: Mapping[str, Any]) -> dict[str, Any] | None:
        """A baseline with the checks that speak of no other site; None where nothing is left of it."""
        checks = [one for one in given.get("checks") or () if not self._speaks_of_others(one)]
        if self._speaks_of_others(given) or not checks:
            self._without(f"baseline {given.get('id')}", "it names another site or its endpoints")
            return None
        if len(checks) < len(given["checks"]):
            left = len(given["checks"]) - len(checks)
            self._without(f"{left} checks of the baseline {given.get('id')}", "they name another site or its endpoints")
        return {**given, "checks": checks}

    def exceptions(self, items: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
        """Weaknesses of TLS that are allowed on endpoints of this site."""
        for item in items:
            own = [name for name in _many(item.get("endpoints")) if name.casefold() in self._own["endpoint"]]
            if own:
                yield {**item, "endpoints": own}

    def dependencies(self, items: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
        """What depends on endpoints of this site alone: of others the site knows nothing, and the hub judges that."""
        for number, item in enumerate(items, start=1):
            of = self.scope(item.get("of") or {})
            if of is None:
                continue
            causes = self._causes(item["on"])
            if causes is None:
                self._without(f"dependency {number}", "what it depends on is at other sites as well")
            elif causes:
                yield {**item, "of": of, "on": causes}

    def _causes(self, on: Any) -> dict[str, Any] | None:
        """`on` with what is known here; None where others are part of it: it says that all have to be broken."""
        given = on if isinstance(on, Mapping) else {"endpoint": on}
        endpoints = [str(name) for name in _many(given.get("endpoint"))]
        groups = [str(name) for name in _many(given.get("group"))]
        sites = [str(name) for name in _many(given.get("site"))]
        strangers = any(name.casefold() in self._foreign for name in endpoints)
        if strangers or any(name != self.site for name in sites):
            return None
        if any(name.casefold() in self._elsewhere for name in groups):
            return None
        known = {
            "endpoint": [name for name in endpoints if name.casefold() in self._own["endpoint"]],
            "group": [name for name in groups if name.casefold() in self._own["group"]],
            "site": sites,
        }
        return {kind: names for kind, names in known.items() if names}

    def _speaks_of_others(self, item: Mapping[str, Any]) -> bool:
        """Whether a condition names another site or its endpoints in one of its texts."""
        for key in _CONDITIONS:
            for found in _QUOTED.finditer(str(item.get(key) or "")):
                text = (found[1] or found[2] or "").casefold()
                if text in self._foreign or any(word in self._foreign for word in _WORD.findall(text)):
                    return True
        return False

    def _without(self, what: str, why: str) -> None:
        self.left_out.append(f"{what}: {why}")


def _many(value: Any) -> list[Any]:
    if value is None or value == "":
        return []
    return list(value) if isinstance(value, list | tuple) else [value]
