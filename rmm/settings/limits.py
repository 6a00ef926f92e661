"""Between which limits the numbers of a section may be, and the forms of its texts."""

from __future__ import annotations

import re
from collections.abc import Mapping

from rmm.model.settings import HubSettings, SiteSettings
from rmm.settings.proxies import HOST, is_address
from rmm.settings.sheet import Section

POLL = {
    "concurrency": (1, 500),
    "workers": (1, 64),
    "timeout": (1, 3600),
    "connect_timeout": (0.1, 120),
    "stagger": (0, 3600),
    "max_output": (1 << 10, 1 << 30),
}
LOCKOUT = {"budget": (1, 10), "parallel": (1, 500), "window": (1, 604_800), "duration": (1, 604_800)}
ARCHIVE = {"after_days": (0, 36_500)}
HUB = {"silent_after": (5, 86_400), "slow_after": (5, 604_800), "workers": (1, 32), "rate": (0, 1_000_000)}
FORWARD = {
    "spool_gb": (0.01, 1_000_000),
    "spool_days": (0.01, 3650),
    "keep_hours": (0, 8760),
    "rate": (1, 1_000_000),
    "tick": (0.1, 300),
}
MOST_URLS = 16
_BROKER = re.compile(rf"(tls://{HOST}(:\d{{1,5}})?|wss://{HOST}(:\d{{1,5}})?(/[!-~]*)?)\Z")
_DATABASE = re.compile(r"postgres(ql)?://[!-~]+\Z")


def within(section: Section, limits: Mapping[str, tuple[float, float]]) -> None:
    """Note each number that is out of its limits."""
    for key, (low, high) in limits.items():
        if not low <= getattr(section.value, key) <= high:
            section.wrong(key, f"{low:.10g} to {high:.10g} are allowed")


def check_hub(section: Section) -> None:
    """The section `hub`. A value that may hold a password is not shown."""
    hub: HubSettings = section.value
    within(section, HUB)
    if hub.database and not _DATABASE.match(hub.database):
        section.wrong(
            "database", "postgresql://USER@HOST:PORT/NAME is expected; leave it out for the file fleet.sqlite"
        )
    if hub.database_password and set(hub.database_password) != {"vault"}:
        section.wrong("database_password", "{vault: NAME} is expected, with the name of a credential")
    if not 1 <= len(hub.urls) <= MOST_URLS:
        section.wrong("urls", f"1 to {MOST_URLS} addresses of brokers are expected, such as tls://hub.example.org:4222")
    _check_urls(section, hub.urls)


def _check_urls(section: Section, urls: tuple[str, ...]) -> None:
    for url in urls:
        if not _BROKER.match(url) or "@" in url:
            section.wrong("urls", f"{url!r} is not tls://HOST:PORT or wss://HOST:PORT: sites come with certificates")


def check_forward(section: Section) -> None:
    """The section `forward`. A proxy's URL is not shown: it may hold a password."""
    forward: SiteSettings = section.value
    within(section, FORWARD)
    _check_urls(section, forward.urls)
    if "@" in forward.proxy:
        section.wrong(
            "proxy",
            "http://HOST:PORT is expected, without an account: put that into the vault "
            "(`rmm credentials set proxy --username USER`), and name it: proxy_login: {vault: proxy}",
        )
    elif forward.proxy and not is_address(forward.proxy):
        section.wrong("proxy", "http://HOST:PORT is expected")
    if forward.proxy_login and set(forward.proxy_login) != {"vault"}:
        section.wrong("proxy_login", "{vault: NAME} is expected, with the name of a credential")
