"""The settings of an installation as typed data; `rmm.settings` reads them, everything else is given them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from rmm.model.alerting import AlertSettings, Dependency, Window
from rmm.model.endpoint import Endpoint, Group, Site, TlsException
from rmm.model.escalation import Escalation
from rmm.model.routing import Inhibition, Route
from rmm.model.rule import Override, Rule


class PollSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How a round runs. Seconds for times."""

    concurrency: int = 25  # endpoints polled at once, over all shards of one process; 1..500
    workers: int = 1  # processes
    timeout: float = 60.0  # for the whole poll of one endpoint
    connect_timeout: float = 5.0
    stagger: float = 0.0  # starts of a round are spread over this many seconds
    max_output: int = 16 << 20  # bytes per pipeline


class CollectorSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Which collectors run, and how often."""

    folders: tuple[str, ...] = ()  # more folders of collectors beside the shipped ones
    disable: tuple[str, ...] = ()
    interval: dict[str, int] = {}  # collector name -> seconds, overriding its manifest


class LockoutSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What the directory's lock-out policy leaves to us. Seconds for times; see `rmm.core.authguard`."""

    budget: int = 2  # bad logons per account and window, over everything; must be below the directory's threshold
    window: float = 1800.0  # "reset account lockout counter after"
    duration: float = 1800.0  # "account lockout duration"
    forgives: bool = False  # it does not count the last passwords (Active Directory): see docs/decisions/0004
    parallel: int = 1  # logons of one proven account without their answer at once, over all processes


class Retention(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """For how many days each kind of history is kept; 0 for ever.

    samples: every value of every gauge and counter. changes: texts, states, inventory. hourly, daily: rollups.
    """

    samples: int = 90
    changes: int = 90
    hourly: int = 730
    daily: int = 0


class DiskSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How much room the data folder may take; 0 stands for no limit. GB are 10^9 bytes."""

    budget_gb: float = 0.0  # the data folder itself
    keep_free_gb: float = 1.0  # what is left of its disk for everything else
    warn_days: int = 14  # an alert when one of the two is reached within so many days


class ArchiveSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The archive of samples beside the store; it needs the extra `archive`."""

    after_days: int = 0  # a day is archived when it is so many days old; 0: none is


class MailServer(msgspec.Struct, frozen=True, kw_only=True):
    """Where mail is handed over, and from whom it is. `credential` names one of the vault; empty: no logon."""

    host: str = ""
    port: int = 0  # 0: 587 for starttls, 465 for tls, 25 for none
    security: str = "starttls"  # starttls | tls | none
    sender: str = ""
    credential: str = ""
    ca_file: str = ""


class ReportSchedule(msgspec.Struct, frozen=True, kw_only=True):
    """A report that is made again and again, kept in the data folder, and sent where `to` names somebody."""

    id: str
    report: str
    every: str = "week"  # day | week | month
    weekday: str = "monday"  # of week
    day: int = 1  # of month, 1 to 28
    at: str = "07:00"  # of `timezone`
    timezone: str = "UTC"
    days: int = 0  # how far back; 0: 1 for day, 7 for week, 30 for month
    formats: tuple[str, ...] = ("html",)
    site: str = ""
    group: str = ""
    to: tuple[str, ...] = ()


class ReportSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What reports are measured against, and which are made by schedule."""

    target_pct: float = 99.5  # the uptime that is aimed at
    gap: int = 1800  # seconds without an observation after which nothing is known of an endpoint
    mail: MailServer = MailServer()
    schedules: tuple[ReportSchedule, ...] = ()


class HubSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The section `hub`: how the hub of several sites works. Seconds for times."""

    database: str = ""  # postgresql://...; empty: fleet.sqlite in the data folder
    database_password: Mapping[str, str] = {}  # {"vault": NAME}: its password is that credential's
    urls: tuple[str, ...] = ("tls://localhost:4222",)  # how sites reach the broker: tls:// or wss://
    silent_after: float = 90.0  # without a word of a collector it is down, without one of all a site is
    slow_after: float = 120.0  # what waits longer at a site, while it is heard, is a slow link
    workers: int = 1  # processes that take what sites send
    rate: int = 0  # observations per second that one site may have taken; 0: 20 times its share of the fleet


class SiteSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The section `forward`: what a site collector keeps for the hub, and how it is handed over."""

    spool_gb: float = 4.0  # of what is not committed at the hub; oldest metrics go first
    spool_days: float = 7.0
    keep_hours: float = 48.0  # of what is committed, should the hub be restored from a backup
    rate: float = 200.0  # observations per second while it catches up
    tick: float = 5.0  # seconds between two looks at what is due
    urls: tuple[str, ...] = ()  # how this site reaches the broker where the hub names another way; never in a bundle
    proxy: str = ""  # http://host:port, through which the broker is reached; never in a bundle
    proxy_login: Mapping[str, str] = {}  # {"vault": NAME}: the proxy's account is that credential; never in a bundle


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """All of `rmm.yaml`, with paths made absolute, and the endpoints of `endpoints.csv`.

    At a site whose configuration comes from the hub these are in a bundle. The vault, the identity and what the site
    says itself stay in `folder`; what `rmm.yaml` stands beside is in `source`.
    """

    folder: str  # the configuration folder
    bundle: str = ""  # the folder of the bundle that is used, if any
    ignored: tuple[str, ...] = ()  # keys of the bundle that are not known, as `file:line: key: text`
    data: str  # the data folder
    sites: dict[str, Site]
    endpoints: tuple[Endpoint, ...]
    poll: PollSettings = PollSettings()
    collectors: CollectorSettings = CollectorSettings()
    lockout: LockoutSettings = LockoutSettings()
    groups: dict[str, Group] = {}  # by the GroupId of the endpoint list
    exceptions: tuple[TlsException, ...] = ()
    rules: tuple[Rule, ...] = ()  # from config/rules/*.yaml; a shipped rule of the same id is replaced
    overrides: tuple[Override, ...] = ()  # from there as well
    rule_places: Mapping[str, Mapping[str, str]] = {}  # where they are: see rmm.settings.rules
    channels: dict[str, dict[str, Any]] = {}  # channel name -> {"type": file name in rmm/channels, ...its options}
    escalation: Escalation = Escalation()
    routes: tuple[Route, ...] = ()
    inhibit: tuple[Inhibition, ...] = ()
    retention: Retention = Retention()
    disk: DiskSettings = DiskSettings()
    archive: ArchiveSettings = ArchiveSettings()
    windows: tuple[Window, ...] = ()  # the section `maintenance`
    dependencies: tuple[Dependency, ...] = ()
    alerts: AlertSettings = AlertSettings()
    reports: ReportSettings = ReportSettings()
    hub: HubSettings = HubSettings()
    forward: SiteSettings = SiteSettings()

    @property
    def source(self) -> str:
        """The folder of rmm.yaml, the endpoint list, rules and baselines."""
        return self.bundle or self.folder
