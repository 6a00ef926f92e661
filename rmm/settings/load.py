"""Reads a configuration folder: defaults < rmm.yaml < environment < flag. All problems at once, each with its place."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable, Mapping
from datetime import date
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from rmm.core.authentication import unfit
from rmm.document import Document, Problem, checked, dotted, lines_of, read_document
from rmm.errors import ConfigError
from rmm.model.endpoint import Endpoint, Group, Site, TlsException
from rmm.model.settings import (
    ArchiveSettings,
    CollectorSettings,
    DiskSettings,
    LockoutSettings,
    PollSettings,
    Retention,
    Settings,
)
from rmm.settings.channels import Known, channel_problems, read_inhibitions, read_routes
from rmm.settings.endpoints import ENDPOINTS, RESERVED, SCHEMES, SHELLS, TRANSPORTS, read_endpoints
from rmm.settings.escalation import read_escalation
from rmm.settings.fitting import endpoint_idle_problems, file_problems, idle_problems
from rmm.settings.reports import read_reports
from rmm.settings.rules import read_rules
from rmm.settings.sessions import endpoint_problems, site_problems
from rmm.settings.store import store_problems, whole_retention
from rmm.settings.windows import read_alerting

log = logging.getLogger(__name__)

SETTINGS = "rmm.yaml"
VAULT = "credentials.vault"
ALLOWANCES = frozenset({"tls1.0", "tls1.1", "expired", "name"})
_NAME_SERVER = re.compile(
    r"(\d{1,3}(\.\d{1,3}){3}(:\d{1,5})?|\[[0-9A-Fa-f:]+\](:\d{1,5})?|[0-9A-Fa-f:]+:[0-9A-Fa-f:]*)\Z"
)
SAFE = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_")

SOURCES = ("script", "wql", "auto", "jea")
_CHOICES = {
    "transport": TRANSPORTS,
    "scheme": SCHEMES,
    "auth": ("ntlm", "kerberos", "negotiate", "certificate", "basic", "credssp"),
    "session": ("new", "connection", "runspace"),
    "source": SOURCES,
    "shell": SHELLS,
}
# Environment variable -> (section, key): for containers and scheduled tasks.
ENVIRONMENT = {
    "RMM_DATA": ("", "data"),
    "RMM_POLL_CONCURRENCY": ("poll", "concurrency"),
    "RMM_POLL_WORKERS": ("poll", "workers"),
    "RMM_POLL_TIMEOUT": ("poll", "timeout"),
    "RMM_POLL_CONNECT_TIMEOUT": ("poll", "connect_timeout"),
    "RMM_POLL_STAGGER": ("poll", "stagger"),
}
_LIMITS = {
    "concurrency": (1, 500),
    "workers": (1, 64),
    "timeout": (1, 3600),
    "connect_timeout": (0.1, 120),
    "stagger": (0, 3600),
    "max_output": (1 << 10, 1 << 30),
}


class _Top(msgspec.Struct):
    """The keys of rmm.yaml."""

    data: str = "data"
    sites: list[dict[str, Any]] = []
    poll: dict[str, Any] = {}
    groups: dict[str, dict[str, Any]] = {}
    exceptions: list[dict[str, Any]] = []
    collectors: dict[str, Any] = {}
    lockout: dict[str, Any] = {}
    channels: dict[str, dict[str, Any]] = {}
    people: dict[str, Any] = {}
    hours: dict[str, Any] = {}
    oncall: dict[str, Any] = {}
    escalation: dict[str, Any] = {}
    routes: list[Any] = []
    inhibit: list[Any] = []
    retention: dict[str, Any] = {}
    retention_days: int | None = None  # of samples and of changes
    disk: dict[str, Any] = {}
    archive: dict[str, Any] = {}
    maintenance: list[dict[str, Any]] = []
    dependencies: list[dict[str, Any]] = []
    alerts: dict[str, Any] = {}
    reports: dict[str, Any] = {}


def load_settings(folder: Path, flags: Mapping[str, Any] | None = None) -> Settings:
    """Read and check everything.

    Args:
        folder: the configuration folder.
        flags: values from the command line by `section.key`, such as {"poll.concurrency": 50}; None values are ignored.

    Raises:
        ConfigError: with every problem as `file:line: key: text`.
    """
    path = folder / SETTINGS
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        hint = f"Run `rmm init --config {folder}`, or name your configuration folder with --config or RMM_CONFIG."
        raise ConfigError(f"{path}: there is no such file", hint=hint) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    document = read_document(text)
    problems: list[Problem] = list(document.problems)
    top = _top(document, problems)
    poll = _section(document, "poll", PollSettings, top, flags, problems)
    collectors = _section(document, "collectors", CollectorSettings, top, flags, problems)
    lockout = _section(document, "lockout", LockoutSettings, top, flags, problems)
    retention = whole_retention(
        document, top.retention_days, _section(document, "retention", Retention, top, flags, problems), problems
    )
    disk = _section(document, "disk", DiskSettings, top, flags, problems)
    archive = _section(document, "archive", ArchiveSettings, top, flags, problems)
    sites = _sites(document, top, folder, problems)
    _check_top(document, top, problems)
    _check_limits(document, poll, problems)
    _check_lockout(document, lockout, problems)
    problems += store_problems(document, retention, disk)
    if not 0 <= archive.after_days <= 36_500:
        place = ("archive", "after_days")
        problems.append(Problem(document.line(place), dotted(place), "0 to 36500 are allowed"))
    problems += channel_problems(document, top.channels)
    known = Known(tuple(top.channels or ("log",)), tuple(str(value.get("id")) for value in top.sites), top.escalation)
    routes = read_routes(document, top.routes, known, problems)
    inhibit = read_inhibitions(document, top.inhibit, known, problems)
    escalation = read_escalation(document, top, top.channels, sites, folder, problems)
    reports = read_reports(document, top.reports, folder, problems)
    groups = _groups(document, top, problems)
    exceptions = _exceptions(document, top, problems)
    lines = lines_of(str(path), problems)
    rules = read_rules(folder / "rules")
    lines += rules.problems
    # Sites with mistakes count as well, so that their endpoints are not reported for it; nor are they where the file
    # names no site that can be read.
    ids = {str(value["id"]) for value in top.sites if value.get("id")} if lines else {site.id for site in sites}
    endpoints, found = read_endpoints(folder / ENDPOINTS, ids) if ids or not lines else ([], [])
    lines += found
    for name in groups.keys() - {one.group for one in endpoints}:
        log.warning("%s: groups.%s: no endpoint of the list is in this group", path, name)
    by_id = {site.id: site for site in sites}
    lines += lines_of(str(path), _idle(document, top, by_id, endpoints))
    alerting, wrong = read_alerting(document, by_id, endpoints, whole=not lines)
    lines += lines_of(str(path), wrong)
    lines += endpoint_problems(endpoints, by_id, folder / ENDPOINTS)
    lines += endpoint_idle_problems(endpoints, by_id, folder / ENDPOINTS)
    lines += _unfit(folder / ENDPOINTS, endpoints, by_id)
    if lines:
        raise ConfigError(problems=tuple(lines))
    data = str(_flag(flags, "data") or os.environ.get("RMM_DATA") or top.data)
    return Settings(
        folder=str(folder.resolve()),
        data=str((folder / data).resolve()),
        sites={site.id: _absolute(site, folder) for site in sites},
        endpoints=tuple(endpoints),
        poll=poll,
        collectors=msgspec.structs.replace(
            collectors, folders=tuple(str((folder / name).resolve()) for name in collectors.folders)
        ),
        lockout=lockout,
        groups=groups,
        exceptions=tuple(exceptions),
        rules=tuple(rules.rules),
        overrides=tuple(rules.overrides),
        rule_places=rules.places,
        channels=top.channels,
        escalation=escalation,
        routes=routes,
        inhibit=inhibit,
        retention=retention,
        disk=disk,
        archive=archive,
        **alerting._asdict(),
        reports=reports,
    )


def _flag(flags: Mapping[str, Any] | None, name: str) -> Any:
    return flags.get(name) if flags else None


def _top(document: Document, problems: list[Problem]) -> _Top:
    if not isinstance(document.data, dict):
        if not problems:
            problems.append(Problem(1, "", "a mapping of keys is expected; see `rmm init`"))
        return _Top()
    return _Top(**_each(document, (), _Top, document.data, problems))


def _each(
    document: Document, place: tuple[str, ...], kind: type[Any], values: Mapping[str, Any], problems: list[Problem]
) -> dict[str, Any]:
    """The values that are right, one by one: a mistake in one key hides none in another."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= checked(document, place, kind, {key: value}, problems) or {}
    return found


def _section(
    document: Document, name: str, kind: type[Any], top: _Top, flags: Mapping[str, Any] | None, problems: list[Problem]
) -> Any:
    """One section of the file, with what environment and flags say laid over it."""
    values = _each(document, (name,), kind, getattr(top, name), problems)
    fields = {field.name: field.type for field in msgspec.structs.fields(kind)}
    for variable, (section, key) in ENVIRONMENT.items():
        if section == name and os.environ.get(variable):
            try:
                values[key] = msgspec.convert(os.environ[variable], fields[key], strict=False)
            except msgspec.ValidationError as error:
                problems.append(Problem(0, f"environment {variable}", str(error)))
    for key in fields:
        given = _flag(flags, f"{name}.{key}")
        if given is not None:
            values[key] = given
    return kind(**values)


def _sites(document: Document, top: _Top, folder: Path, problems: list[Problem]) -> list[Site]:
    sites: list[Site] = []
    for index, value in enumerate(top.sites):
        place: tuple[str | int, ...] = ("sites", index)
        values = checked(document, place, Site, value, problems)
        if values is None:
            continue
        site = Site(**values)
        before = len(problems)
        found = (*_site(site), *file_problems(site, folder))
        problems += [Problem(document.line((*place, key)), dotted((*place, key)), text) for key, text in found]
        if any(site.id == other.get("id") for other in top.sites[:index]):
            problems.append(Problem(document.line((*place, "id")), dotted((*place, "id")), "this id is used twice"))
        if len(problems) == before:
            sites.append(site)
    if not top.sites and not problems:
        problems.append(Problem(document.line(("sites",)), "sites", "name at least one site"))
    return sites


def _idle(document: Document, top: _Top, sites: dict[str, Site], endpoints: list[Endpoint]) -> list[Problem]:
    """What sites say and none of their endpoints heeds; only of sites that are right otherwise."""
    own: dict[str, list[Endpoint]] = {}
    for one in endpoints:
        own.setdefault(one.site, []).append(one)
    found = []
    for index, value in enumerate(top.sites):
        site = sites.get(str(value.get("id")))
        for key, text in idle_problems(site, own.get(site.id, [])) if site is not None else ():
            found.append(Problem(document.line(("sites", index, key)), dotted(("sites", index, key)), text))
    return found


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


def _unfit(path: Path, endpoints: Iterable[Endpoint], sites: Mapping[str, Site]) -> Iterable[str]:
    """Endpoints whose own transport or scheme does not go with their site's way of logging on."""
    for one in endpoints:
        site = sites.get(one.site)
        if site is None or not (one.transport or one.scheme):
            continue
        if why := unfit(site.auth, one.transport or site.transport, one.scheme or site.scheme):
            yield f"{path}: {one.name}: its site's auth does not go with it: {why}"


def _groups(document: Document, top: _Top, problems: list[Problem]) -> dict[str, Group]:
    found: dict[str, Group] = {}
    for name, value in top.groups.items():
        place = ("groups", name)
        values = checked(document, place, Group, value, problems)
        if values is None:
            continue
        found[name] = group = Group(**values)
        if group.source and group.source not in SOURCES:
            text = f"{group.source!r} is not one of {', '.join(SOURCES)}"
            problems.append(Problem(document.line((*place, "source")), dotted((*place, "source")), text))
    return found


def _exceptions(document: Document, top: _Top, problems: list[Problem]) -> list[TlsException]:
    found: list[TlsException] = []
    for index, value in enumerate(top.exceptions):
        place: tuple[str | int, ...] = ("exceptions", index)
        values = checked(document, place, TlsException, value, problems)
        if values is None:
            continue
        one = TlsException(**values)
        for key, text in _exception(one):
            problems.append(Problem(document.line((*place, key)), dotted((*place, key)), text))
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


def _absolute(site: Site, folder: Path) -> Site:
    files = {
        key: str((folder / value).resolve()) for key in ("ca_file", "known_hosts") if (value := getattr(site, key))
    }
    return msgspec.structs.replace(site, **files) if files else site


def _check_limits(document: Document, poll: PollSettings, problems: list[Problem]) -> None:
    for key, (low, high) in _LIMITS.items():
        if not low <= getattr(poll, key) <= high:
            problems.append(Problem(*_origin(document, key), f"{low:g} to {high:g} are allowed"))


def _check_lockout(document: Document, lockout: LockoutSettings, problems: list[Problem]) -> None:
    for key, high in (("budget", 10), ("parallel", 500), ("window", 604_800), ("duration", 604_800)):
        if not 1 <= getattr(lockout, key) <= high:
            problems.append(Problem(document.line(("lockout", key)), f"lockout.{key}", f"1 to {high} are allowed"))


def _origin(document: Document, key: str) -> tuple[int, str]:
    """Line and name of a key of `poll`, or the variable that overrides it."""
    for variable, place in ENVIRONMENT.items():
        if place == ("poll", key) and os.environ.get(variable):
            return 0, f"environment {variable}"
    return document.line(("poll", key)), f"poll.{key}"


def _check_top(document: Document, top: _Top, problems: list[Problem]) -> None:
    if not top.data.strip():
        problems.append(Problem(document.line(("data",)), "data", "name a folder"))


def find_folder(given: Path | None) -> Path:
    """The configuration folder: the flag, RMM_CONFIG, ./config if it holds settings, else the platform's own place."""
    if given is not None:
        return given
    if os.environ.get("RMM_CONFIG"):
        return Path(os.environ["RMM_CONFIG"])
    here = Path("config")
    if (here / SETTINGS).is_file() and (here / ENDPOINTS).is_file() and not (here.parent / "pyproject.toml").is_file():
        return here
    if os.name == "nt":
        return Path(os.environ.get("PROGRAMDATA", r"C:\ProgramData")) / "rmm"
    home = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path("/etc/rmm") if Path("/etc/rmm", SETTINGS).is_file() else Path(home) / "rmm"
