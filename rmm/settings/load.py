"""Reads a configuration folder: defaults < rmm.yaml < environment < flag. All problems at once, each with its place.

At a site whose configuration comes from the hub, rmm.yaml, endpoints, rules and files are those of the active bundle,
with the site's own site.yaml laid over them: see `rmm.settings.places`.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from rmm.errors import ConfigError
from rmm.model.endpoint import Endpoint, Site
from rmm.model.settings import (
    ArchiveSettings,
    CollectorSettings,
    DiskSettings,
    HubSettings,
    LockoutSettings,
    PollSettings,
    Retention,
    Settings,
    SiteSettings,
)
from rmm.settings import limits
from rmm.settings.channels import Known, channel_problems, read_inhibitions, read_routes
from rmm.settings.endpoints import ENDPOINTS, read_endpoints
from rmm.settings.escalation import read_escalation
from rmm.settings.fitting import endpoint_idle_problems
from rmm.settings.places import LOCAL, SETTINGS, VAULT, active_bundle, find_folder, is_enrolled
from rmm.settings.reports import read_reports
from rmm.settings.rules import RuleFiles, read_rules
from rmm.settings.sessions import endpoint_problems
from rmm.settings.sheet import ENVIRONMENT, Flags, Own, Section, Sheet, Top, flag, read_section, read_sheet
from rmm.settings.sites import (
    SAFE,
    absolute,
    idle,
    read_exceptions,
    read_groups,
    read_sites,
    unfit_endpoints,
)
from rmm.settings.store import store_problems, whole_retention
from rmm.settings.windows import read_alerting

log = logging.getLogger(__name__)


class _Places(NamedTuple):
    """Where everything is read from. Without a bundle all of it is the one folder, and `main` and `own` are one."""

    folder: Path  # the site's or installation's own
    source: Path  # of rmm.yaml and what it names
    main: Sheet
    own: Sheet  # what the place itself says

    @property
    def both(self) -> tuple[Sheet, ...]:
        return (self.main,) if self.own is self.main else (self.main, self.own)


class SiteOwn(NamedTuple):
    """What a site needs to fetch its first configuration."""

    data: Path
    forward: SiteSettings


def load_settings(folder: Path, flags: Flags = None, *, bundle: Path | None = None) -> Settings:
    """Read and check everything.

    Args:
        folder: the configuration folder.
        flags: values from the command line by `section.key`, such as {"poll.concurrency": 50}; None values are ignored.
        bundle: the folder of an unpacked bundle that is read instead of the active one.

    Raises:
        ConfigError: with every problem as `file:line: key: text`.
    """
    bundle = bundle or active_bundle(folder)
    places = _open(folder, bundle)
    main, own = places.main, places.own
    values: dict[str, Any] = _sections(places, flags)
    sites = read_sites(main, places.source)
    _check_data(own)
    values |= _telling(places, sites)
    groups = values["groups"] = read_groups(main)
    values["exceptions"] = tuple(read_exceptions(main))
    lines = [line for sheet in places.both for line in sheet.lines()]
    rules = read_rules(places.source / "rules", lenient=bundle is not None)
    lines += rules.problems
    endpoints = _endpoints(places, sites, lines)
    for name in groups.keys() - {one.group for one in endpoints}:
        log.warning("%s: groups.%s: no endpoint of the list is in this group", main.path, name)
    values |= _beside_endpoints(places, {site.id: site for site in sites}, endpoints, lines)
    if lines:
        raise ConfigError(problems=tuple(lines))
    collectors = values.pop("collectors")
    return Settings(
        folder=str(folder.resolve()),
        bundle=str(bundle.resolve()) if bundle else "",
        ignored=_ignored(places, rules),
        data=str(_data(folder, own, flags)),
        sites={site.id: absolute(site, places.source) for site in sites},
        endpoints=tuple(endpoints),
        collectors=msgspec.structs.replace(
            collectors, folders=tuple(str((places.source / name).resolve()) for name in collectors.folders)
        ),
        rules=tuple(rules.rules),
        overrides=tuple(rules.overrides),
        rule_places=rules.places,
        **values,
    )


def load_own(folder: Path, flags: Flags = None) -> SiteOwn:
    """What site.yaml says of the data folder and of forwarding: an enrolled site has no more before its first bundle.

    Raises ConfigError with every problem.
    """
    own = read_sheet(folder / LOCAL, Own)
    forward = read_section("forward", SiteSettings, (own,), flags)
    limits.check_forward(forward)
    _check_data(own)
    if own.problems:
        raise ConfigError(problems=tuple(own.lines()))
    return SiteOwn(_data(folder, own, flags), forward.value)


def _open(folder: Path, bundle: Path | None) -> _Places:
    hint = f"Run `rmm init --config {folder}`, or name your configuration folder with --config or RMM_CONFIG."
    if bundle is None:
        if is_enrolled(folder):
            hint = "This site is enrolled and has no configuration yet: `rmm site run` fetches it from the hub."
        main = read_sheet(folder / SETTINGS, Top, hint=hint)
        return _Places(folder, folder, main, main)
    hint = f"The bundle is not whole: remove {bundle.parent}, and `rmm site run` fetches it from the hub again."
    main = read_sheet(bundle / SETTINGS, Top, lenient=True, hint=hint)
    if (folder / SETTINGS).is_file():
        log.warning("%s: is not used: the configuration is the hub's, and %s is laid over it", folder / SETTINGS, LOCAL)
    return _Places(folder, bundle, main, read_sheet(folder / LOCAL, Own))


def _sections(places: _Places, flags: Flags) -> dict[str, Any]:
    """The sections that stand for themselves."""
    main, own = (places.main,), (places.own,)
    given: dict[str, Section] = {
        "poll": read_section("poll", PollSettings, places.both, flags),
        "collectors": read_section("collectors", CollectorSettings, main, flags),
        "lockout": read_section("lockout", LockoutSettings, main, flags),
        "disk": read_section("disk", DiskSettings, own, flags),
        "archive": read_section("archive", ArchiveSettings, own, flags),
        "hub": read_section("hub", HubSettings, main, flags),
        "forward": read_section("forward", SiteSettings, places.both, flags),
    }
    limits.within(given["poll"], limits.POLL)
    limits.within(given["lockout"], limits.LOCKOUT)
    limits.within(given["archive"], limits.ARCHIVE)
    limits.check_hub(given["hub"])
    limits.check_forward(given["forward"])
    document, problems = places.main.document, places.main.problems
    days = read_section("retention", Retention, main, flags).value
    retention = whole_retention(document, places.main.top.retention_days, days, problems)
    problems += store_problems(document, retention, DiskSettings())
    places.own.problems += store_problems(places.own.document, Retention(), given["disk"].value)
    return {name: section.value for name, section in given.items()} | {"retention": retention}


def _telling(places: _Places, sites: list[Site]) -> dict[str, Any]:
    """Whom to tell, and the reports that are sent."""
    main, own = places.main, places.own
    channels = own.top.channels
    own.problems += channel_problems(own.document, channels)
    known = Known(
        tuple(channels or ("log",)), tuple(str(value.get("id")) for value in main.top.sites), main.top.escalation
    )
    return {
        "channels": channels,
        "routes": read_routes(own.document, own.top.routes, known, own.problems),
        "inhibit": read_inhibitions(own.document, own.top.inhibit, known, own.problems),
        "escalation": read_escalation(main.document, main.top, channels, sites, places.source, main.problems),
        "reports": read_reports(main.document, main.top.reports, places.source, main.problems),
    }


def _endpoints(places: _Places, sites: list[Site], lines: list[str]) -> list[Endpoint]:
    """The endpoint list; its problems are added to the lines."""
    # Sites with mistakes count as well, so that their endpoints are not reported for it; nor are they where the file
    # names no site that can be read.
    given = places.main.top.sites
    ids = {str(value["id"]) for value in given if value.get("id")} if lines else {site.id for site in sites}
    endpoints, found = read_endpoints(places.source / ENDPOINTS, ids) if ids or not lines else ([], [])
    lines += found
    return endpoints


def _beside_endpoints(
    places: _Places, sites: Mapping[str, Site], endpoints: list[Endpoint], lines: list[str]
) -> dict[str, Any]:
    """What can be judged when the endpoints are known; its problems are added to the lines."""
    main, listed = places.main, places.source / ENDPOINTS
    main.problems.clear()  # they are in the lines
    idle(main, sites, endpoints)
    lines += main.lines()
    alerting, wrong = read_alerting(main.document, sites, endpoints, whole=not lines)
    main.problems[:] = wrong
    lines += main.lines()
    lines += endpoint_problems(endpoints, sites, listed)
    lines += endpoint_idle_problems(endpoints, sites, listed)
    lines += unfit_endpoints(listed, endpoints, sites)
    return alerting._asdict()


def _check_data(own: Sheet) -> None:
    if not own.top.data.strip():
        own.note(("data",), "name a folder")


def _data(folder: Path, own: Sheet, flags: Flags) -> Path:
    """The data folder: it never lies in a bundle."""
    return (folder / str(flag(flags, "data") or os.environ.get("RMM_DATA") or own.top.data)).resolve()


def _ignored(places: _Places, rules: RuleFiles) -> tuple[str, ...]:
    """Keys that a newer hub has written; a key that is not heeded must not go unsaid."""
    found = (*places.main.ignored, *rules.ignored)
    if found:
        shown = "; ".join(found[:3]) + (f"; and {len(found) - 3} more" if len(found) > 3 else "")
        log.warning("the hub is newer than this site and says what is not known here: %s", shown)
    return found


__all__ = ["ENVIRONMENT", "SAFE", "SETTINGS", "VAULT", "SiteOwn", "find_folder", "load_own", "load_settings"]
