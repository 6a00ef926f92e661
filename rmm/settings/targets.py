"""An endpoint with its site's defaults, its credential and the exceptions that concern it: what a transport needs."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from rmm.core.authentication import unfit
from rmm.core.wildcards import pattern
from rmm.errors import ConfigError
from rmm.model.endpoint import Credential, Endpoint, Site, Target
from rmm.model.settings import Settings
from rmm.ports import Clock
from rmm.settings.endpoints import ENDPOINTS
from rmm.settings.places import LOCAL, SETTINGS, VAULT

log = logging.getLogger(__name__)

PORTS = {"http": 5985, "https": 5986}
SSH_PORT = 22


def changed_at(settings: Settings) -> datetime | None:
    """When settings, endpoint list or credentials were changed last; None where there are none."""
    folder, source = Path(settings.folder), Path(settings.source)
    times = []
    for path in (source / SETTINGS, source / ENDPOINTS, folder / LOCAL, folder / VAULT):
        with contextlib.suppress(OSError):
            times.append(path.stat().st_mtime)
    return datetime.fromtimestamp(max(times), UTC) if times else None


class Targets:
    """The endpoints of a configuration by name, and as targets. `credential` gives credentials by name."""

    def __init__(self, settings: Settings, credential: Callable[[str], Credential], clock: Clock) -> None:
        self._settings = settings
        self._credential = credential
        self._clock = clock

    def site(self, endpoint: Endpoint) -> Site:
        """The endpoint's site."""
        return self._settings.sites[endpoint.site]

    def endpoint(self, name: str) -> Endpoint:
        """An endpoint by id or name. Raises ConfigError, with what is near, when there is none."""
        wanted = name.lower()
        for endpoint in self._settings.endpoints:
            if wanted in (endpoint.id, endpoint.name.lower()):
                return endpoint
        import difflib

        near = difflib.get_close_matches(wanted, [endpoint.id for endpoint in self._settings.endpoints], 3)
        hint = f"Near: {', '.join(near)}." if near else "See `rmm endpoints list`."
        raise ConfigError(f"there is no endpoint {name!r}", hint=hint)

    def matching(self, patterns: Sequence[str], *, site: str = "", group: str = "") -> list[Endpoint]:
        """The endpoints of these names, ids, or patterns with *; without any: all that are enabled.

        Raises ConfigError for one that matches nothing, and for a group that nothing belongs to.
        """
        listed = [one for one in self._settings.endpoints if site in ("", one.site)]
        found: dict[str, Endpoint] = {} if patterns else {one.id: one for one in listed if one.enabled}
        for text in patterns:
            if "*" not in text and "?" not in text:
                one = self.endpoint(text)
                found |= {one.id: one} if one in listed else {}
                continue
            fits = pattern(text)
            some = {one.id: one for one in listed if fits(one.id) or fits(one.name)}
            if not some:
                raise ConfigError(f"no endpoint is like {text!r}", hint="See `rmm endpoints list`.")
            found |= some
        chosen = [one for one in found.values() if group.casefold() in ("", one.group.casefold())]
        if group and not chosen:
            raise ConfigError(f"no endpoint of these is in group {group!r}", hint="See `rmm endpoints list`.")
        return chosen

    def transport_of(self, endpoint: Endpoint) -> str:
        """Name of the endpoint's transport."""
        return endpoint.transport or self.site(endpoint).transport

    def shell_of(self, endpoint: Endpoint) -> str:
        """What runs on the endpoint where its transport leaves that open."""
        return endpoint.shell or self.site(endpoint).shell

    def source_of(self, endpoint: Endpoint) -> str:
        """How collectors that offer both a script and WQL are read on it."""
        group = self._settings.groups.get(endpoint.group)
        return (group.source if group else "") or self.site(endpoint).source

    def credential_of(self, endpoint: Endpoint) -> str:
        """Name of the endpoint's credential; empty where neither it nor its site names one."""
        return endpoint.credential or self.site(endpoint).credential

    def target(self, endpoint: Endpoint) -> Target:
        """Endpoint, site and credential resolved into what a transport needs."""
        site = self.site(endpoint)
        transport = self.transport_of(endpoint)
        scheme = endpoint.scheme or site.scheme
        credential = self.credential_of(endpoint)
        if not credential:
            raise ConfigError(
                f"{endpoint.name}: neither the endpoint nor its site {site.id} names a credential",
                hint="Set `credential` for the site in rmm.yaml, and `rmm credentials set` it.",
            )
        held = self._credential(credential)
        if why := unfit(site.auth, transport, scheme, held.kind):
            hint = f"Set another credential for it, or `auth` of the site {site.id}."
            raise ConfigError(f"{endpoint.name}, credential {credential}: {why}", hint=hint)
        return Target(
            endpoint=endpoint.id,
            name=endpoint.name,
            host=endpoint.address or endpoint.name,
            port=endpoint.port or site.port or (SSH_PORT if transport == "ssh" else PORTS[scheme]),
            scheme=scheme,
            transport=transport,
            auth=site.auth,
            session=site.session,
            credential=held,
            ca_file=site.ca_file,
            known_hosts=site.known_hosts,
            shell=self.shell_of(endpoint),
            source=self.source_of(endpoint),
            configuration=endpoint.configuration or site.configuration,
            fallback=site.fallback,
            connect_timeout=self._settings.poll.connect_timeout,
            dns=site.dns,
            pin=endpoint.pin,
            tls_allow=self._allowed.get(endpoint.id, ()),
            negotiate=site.negotiate,
            spn=site.spn,
        )

    @cached_property
    def _allowed(self) -> dict[str, tuple[str, ...]]:
        """Endpoint id -> the weaknesses of TLS that an exception in force allows today."""
        today = self._clock.now().date().isoformat()
        found: dict[str, tuple[str, ...]] = {}
        for exception in self._settings.exceptions:
            for name in exception.endpoints if exception.until >= today else ():
                try:
                    identity = self.endpoint(name).id
                except ConfigError as error:  # taken off the list, or misspelt: nothing is allowed to anybody by it
                    log.warning("exceptions of rmm.yaml, owner %s: %s", exception.owner, error)
                    continue
                found[identity] = (*found.get(identity, ()), *exception.allow)
        return found

    def neighbours(self, target: Target) -> dict[str, list[str]]:
        """Address -> the other endpoints of the list that are reached by it, on the same port."""
        found: dict[str, list[str]] = {}
        for other in self._settings.endpoints:
            same_port = not other.port or other.port == target.port
            if other.address and other.enabled and same_port and other.id != target.endpoint:
                found.setdefault(other.address, []).append(other.name)
        return found
