"""The sections `sites`, `groups` and `exceptions`: what each says by itself, and beside the endpoints."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import date
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from rmm.core.authentication import unfit
from rmm.core.filenames import RESERVED
from rmm.document import Path as Place
from rmm.document import checked
from rmm.model.endpoint import Endpoint, Group, Site, TlsException
from rmm.settings.endpoints import SCHEMES, SHELLS, TRANSPORTS
from rmm.settings.fitting import file_problems, idle_problems
from rmm.settings.sessions import site_problems
from rmm.settings.sheet import Sheet

ALLOWANCES = frozenset({"tls1.0", "tls1.1", "expired", "name"})
SAFE = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_")
SOURCES = ("script", "wql", "auto", "jea")
FILES = ("ca_file", "known_hosts")  # the keys of a site that name files
_NAME_SERVER = re.compile(
    r"(\d{1,3}(\.\d{1,3}){3}(:\d{1,5})?|\[[0-9A-Fa-f:]+\](:\d{1,5})?|[0-9A-Fa-f:]+:[0-9A-Fa-f:]*)\Z"
)
_CHOICES = {
    "transport": TRANSPORTS,
    "scheme": SCHEMES,
    "auth": ("ntlm", "kerberos", "negotiate", "certificate", "basic", "credssp"),
    "session": ("new", "connection", "runspace"),
    "source": SOURCES,
    "shell": SHELLS,
}


def read_sites(sheet: Sheet, folder: Path) -> list[Site]:
    """The sites that are right; the files that they name lie in `folder`."""
    sites: list[Site] = []
    given = sheet.top.sites
    for index, value in enumerate(given):
        place: Place = ("sites", index)
        values = checked(sheet.document, place, Site, value, sheet.problems)
        if values is None:
            continue
        site = Site(**values)
        before = len(sheet.problems)
        for key, text in (*_site(site), *file_problems(site, folder)):
            sheet.note((*place, key), text)
        if any(site.id == other.get("id") for other in given[:index]):
            sheet.note((*place, "id"), "this id is used twice")
        if len(sheet.problems) == before:
            sites.append(site)
    if not given and not sheet.problems:
        sheet.note(("sites",), "name at least one site")
    return sites


def idle(sheet: Sheet, sites: Mapping[str, Site], endpoints: Iterable[Endpoint]) -> None:
    """What sites say and none of their endpoints heeds; only of sites that are right otherwise."""
    own: dict[str, list[Endpoint]] = {}
    for one in endpoints:
        own.setdefault(one.site, []).append(one)
    for index, value in enumerate(sheet.top.sites):
        site = sites.get(str(value.get("id")))
        for key, text in idle_problems(site, own.get(site.id, [])) if site is not None else ():
            sheet.note(("sites", index, key), text)


def _site(site: Site) -> Iterable[tuple[str, str]]:
    """(key, problem) of one site."""
    if not site.id or len(site.id) > 64 or not set(site.id) <= SAFE or site.id in RESERVED:
        yield "id", "use 1 to 64 of a-z 0-9 - _: it names files"
    for key, allowed in _CHOICES.items():
        if getattr(site, key) not in allowed:
            yield key, f"{getattr(site, key)!r} is not one of {', '.join(allowed)}"
    yield from _way(site)
    if not 0 <= site.port <= 65_535:
        yield "port", "a port is 1 to 65535, or 0 for the usual one"
    if not 1 <= site.shards <= 4096:
        yield "shards", "1 to 4096; one for 250 endpoints is a good measure"
    try:
        ZoneInfo(site.timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        yield "timezone", f"{site.timezone!r} is not a time zone such as Europe/Berlin"


def _way(site: Site) -> Iterable[tuple[str, str]]:
    """(key, problem) of how a site is reached and logged on to."""
    if why := unfit(site.auth, site.transport, site.scheme):
        yield "auth", why
    if not site.negotiate or not set(site.negotiate) <= {"kerberos", "ntlm"}:
        yield "negotiate", "an order of kerberos and ntlm"
    for server in site.dns:
        if not _NAME_SERVER.match(server):
            yield "dns", f"{server!r} is not ADDRESS or ADDRESS:PORT"
    yield from site_problems(site)
    if not re.fullmatch("[A-Za-z]{1,32}", site.spn):
        yield "spn", "a service class such as HTTP, WSMAN or host"


def unfit_endpoints(path: Path, endpoints: Iterable[Endpoint], sites: Mapping[str, Site]) -> Iterable[str]:
    """Endpoints whose own transport or scheme does not go with their site's way of logging on."""
    for one in endpoints:
        site = sites.get(one.site)
        if site is None or not (one.transport or one.scheme):
            continue
        if why := unfit(site.auth, one.transport or site.transport, one.scheme or site.scheme):
            yield f"{path}: {one.name}: its site's auth does not go with it: {why}"


def read_groups(sheet: Sheet) -> dict[str, Group]:
    """By the GroupId of the endpoint list."""
    found: dict[str, Group] = {}
    for name, value in sheet.top.groups.items():
        place: Place = ("groups", name)
        values = checked(sheet.document, place, Group, value, sheet.problems)
        if values is None:
            continue
        found[name] = group = Group(**values)
        if group.source and group.source not in SOURCES:
            sheet.note((*place, "source"), f"{group.source!r} is not one of {', '.join(SOURCES)}")
    return found


def read_exceptions(sheet: Sheet) -> list[TlsException]:
    """Weaknesses of TLS that somebody answers for."""
    found: list[TlsException] = []
    for index, value in enumerate(sheet.top.exceptions):
        place: Place = ("exceptions", index)
        values = checked(sheet.document, place, TlsException, value, sheet.problems)
        if values is None:
            continue
        one = TlsException(**values)
        for key, text in _exception(one):
            sheet.note((*place, key), text)
        found.append(one)
    return found


def _exception(one: TlsException) -> Iterable[tuple[str, str]]:
    """(key, problem) of one exception; an expired one is none, it only has no effect any more."""
    if not one.endpoints:
        yield "endpoints", "name the endpoints it is for"
    if not one.allow or not set(one.allow) <= ALLOWANCES:
        yield "allow", f"one or more of {', '.join(sorted(ALLOWANCES))}"
    if not one.owner.strip():
        yield "owner", "name who answers for it"
    try:  # the one form whose texts compare as days do
        right = date.fromisoformat(one.until).isoformat() == one.until
    except ValueError:
        right = False
    if not right:
        yield "until", f"{one.until!r} is not a day such as 2027-01-31"


def absolute(site: Site, folder: Path) -> Site:
    """The site with the paths of its files made absolute."""
    files = {key: str((folder / value).resolve()) for key in FILES if (value := getattr(site, key))}
    return msgspec.structs.replace(site, **files) if files else site
