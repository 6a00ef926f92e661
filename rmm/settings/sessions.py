"""Whether the session configurations of the settings may follow each other: see `rmm.core.sessions`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from rmm.core.sessions import is_full, wider
from rmm.model.endpoint import Endpoint, Site
from rmm.settings.endpoints import CONFIGURATION


def site_problems(site: Site) -> Iterable[tuple[str, str]]:
    """(key, problem) of the session configurations: nothing leads from a restricted one to one that is not."""
    for key, names in (("configuration", (site.configuration,)), ("fallback", site.fallback)):
        for name in names:
            if not CONFIGURATION.match(name):
                yield key, f"{name!r} is not the name of a session configuration"
    for name in wider(site.configuration, site.fallback):
        yield "fallback", _wider(name)
    if site.source == "jea" and is_full(site.configuration):
        yield "source", f"jea needs the name of a JEA endpoint as `configuration`; {site.configuration} is none"


def _wider(name: str) -> str:
    return f"{name} gives more than the session configuration before it: rmm never goes that way, so leave it out"


def endpoint_problems(endpoints: Iterable[Endpoint], sites: Mapping[str, Site], path: Path) -> Iterable[str]:
    """Endpoints whose own session configuration makes their site's fall-back a widening one."""
    for endpoint in endpoints:
        site = sites.get(endpoint.site)
        if site is None or not endpoint.configuration:
            continue
        place = f"{path}: {endpoint.name}: configuration {endpoint.configuration}"
        if site.source == "jea" and is_full(endpoint.configuration):
            yield f"{place} is no JEA endpoint, as its site wants"
        for name in wider(endpoint.configuration, site.fallback):
            yield f"{place}: fallback of its site: {_wider(name)}"
