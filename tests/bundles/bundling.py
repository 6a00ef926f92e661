"""A hub with the sites hq and berlin, in which all that may be said of a site is said of both; and Ed25519 keys."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from rmm.bus.memory import MemoryBus
from rmm.configured import Configured
from rmm.core.bundles import digest_of, encode_files
from rmm.hub.bundle import Bundles as HubBundles
from rmm.hub.bundle import bundle_answers
from rmm.model.bundle import Bundle
from rmm.settings.load import load_settings
from rmm.site.bundle import Bundles

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
# What must never be at hq: other sites' names, machines, people, credentials, and secrets that are in the files.
FOREIGN = ("berlin", "BER-", "10.9.", "ber-", "Spree", "polling-b", "KIOSK-", "branch-group", "SW-B")
SECRETS = ("hunter2", "s3cret", "pagerduty", "hooks.example", "mailpass", "postgresql", "proxyuser", "anna", "broker.")
PEM = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"

SETTINGS = """
data: /var/lib/rmm-hub   # of berlin
sites:
  - {id: hq, name: Headquarters, timezone: Europe/Vienna, credential: polling-a, ca_file: certs/hq-root.pem,
     known_hosts: certs/hosts, contact: "+43 1 12:30", shards: 2}
  - {id: berlin, name: Spree, credential: polling-b, ca_file: certs/berlin.pem}
groups:
  web: {source: auto}
  branch-group: {source: wql}
poll: {concurrency: 50, workers: 2, timeout: 45}
lockout: {budget: 1}
exceptions:
  - {endpoints: [HQ-WEB1, BER-OLD], allow: [tls1.1], owner: j.doe, until: 2027-01-31}
  - {endpoints: [BER-OLD], allow: [tls1.0], owner: j.doe, until: 2027-01-31}
collectors: {folders: [own], disable: [software], interval: {cpu: 30}}
channels:
  hook: {type: webhook, url: "https://hooks.example.org/s3cret", secret: {vault: hook}}
  pager: {type: pagerduty, routing_key: {vault: pagerduty}}
routes:
  - {match: {site: berlin}, channels: [pager], escalation: standard}
inhibit:
  - {source: {rule: volume_full}, target: {rule: volume_dirty}, equal: [endpoint]}
people:
  anna: {name: Anna, channels: [{channel: hook}]}
escalation:
  standard: {tiers: [{after: 0, tell: [person: anna]}]}
maintenance:
  - {name: all, weekly: [sat], at: "22:00", lasts: 4h}
  - {name: both, weekly: [sun], at: "01:00", lasts: 1h, site: [hq, berlin]}
  - {name: theirs, weekly: [sun], at: "01:00", lasts: 1h, site: berlin}
  - {name: some, cron: "30 1 * * mon-fri", lasts: 45m, endpoint: ["HQ-*", BER-SQL1]}
  - {name: kiosks, monthly: [2 tue], lasts: 1h, endpoint: "KIOSK-*"}
  - {name: move, begins: 2027-01-16T18:00, ends: 2027-01-17T06:00, group: [web, branch-group]}
dependencies:
  - {of: {group: web}, on: HQ-SW}
  - {of: {site: [hq, berlin]}, on: [HQ-SW, SW-B]}
  - {of: {endpoint: BER-SQL1}, on: SW-B}
  - {of: {tag: prod}, on: {site: hq}}
alerts: {many: 7, remind: {critical: 2h}}
reports:
  target_pct: 99.9
  mail: {host: mail.example.org, sender: rmm@example.org, credential: mailpass}
retention: {samples: 30}
disk: {budget_gb: 100}
hub:
  database: postgresql://rmm:hunter2@db/rmm
  urls: [tls://broker.example.org:4222, "wss://broker.example.org/ws"]
forward: {spool_gb: 2, proxy: "http://10.9.9.9:3128", proxy_login: {vault: proxyuser}}
"""
ENDPOINTS = """Id,ComputerName,IPAddress,SiteId,GroupId,Tags,Transport,Description,Credential
hq-web1,HQ-WEB1,10.1.0.1,hq,web,prod;12:30,,"=no, formula",
hq-sw,HQ-SW,10.1.0.2,hq,,,ssh,,polling-c
ber-sql1,BER-SQL1,10.9.0.1,berlin,branch-group,prod,,,
ber-old,BER-OLD,10.9.0.2,berlin,web,,,,
sw-b,SW-B,10.9.0.3,berlin,,,ssh,,
kiosk-1,KIOSK-1,10.9.0.4,berlin,,,,,
"""
RULES = """
# what berlin needs
rules:
  - {id: hot_web, collector: cpu, field: util_pct, where: {core: _Total}, warning: 70, only: {group: [web], site: "*"}}
  - {id: cpu_high, collector: cpu, field: util_pct, where: {core: _Total}, critical: 42, only: {site: berlin}}
  - {id: named, collector: os, when: 'endpoint.name == "BER-SQL1" and os.build > 1', critical: true}
  - {id: service_stopped_here, collector: own_thing, field: state, op: "!=", critical: "on"}
overrides:
  - {rule: cpu_high, site: [hq, berlin], warning: 60}
  - {rule: cpu_high, endpoint: BER-SQL1, warning: 50}
  - {rule: "cpu_*", tag: "prod", disable: true}
"""
BASELINE = """
id: web
title: Web servers
applies: endpoint.group == "web"
checks:
  - {id: build, title: Build, condition: "os.build > 17763"}
  - {id: theirs, title: Theirs, condition: "endpoint.site != 'berlin' or os.build > 1"}
"""
BASELINE_THERE = """
id: there
title: There
applies: endpoint.site == "berlin"
checks: [{id: build, title: Build, condition: "os.build > 17763"}]
"""
COLLECTOR = """name: own_thing
title: A thing of our own
description: Its state.
schema: 1
interval: 600
timeout: 10
cost: C1
owner: us
os: [windows]
sources: {thing: {}}
rows: thing
key: [name]
fields:
  name: {type: text, kind: text, prop: Name, title: Name}
  state: {type: text, kind: state, prop: State, title: State}
"""
HOSTS = """# hosts of berlin
10.1.0.2,10.9.0.3 ssh-ed25519 AAAAhq root@berlin
10.9.0.3 ssh-ed25519 AAAAber
[10.1.0.2]:2222 ssh-ed25519 AAAAhq2
"""


class Key:
    """An Ed25519 key of a hub."""

    def __init__(self) -> None:
        self._key = Ed25519PrivateKey.generate()
        self._public = self._key.public_key()

    def sign(self, data: bytes) -> bytes:
        return self._key.sign(data)

    def verify(self, data: bytes, signature: bytes) -> bool:
        try:
            self._public.verify(signature, data)
        except InvalidSignature:
            return False
        return True


def write_hub(folder: Path) -> Path:
    files = {
        "rmm.yaml": SETTINGS, "endpoints.csv": ENDPOINTS, "rules/ours.yaml": RULES, "baselines/web.yaml": BASELINE,
        "baselines/there.yaml": BASELINE_THERE, "certs/hq-root.pem": PEM, "certs/berlin.pem": PEM + "berlin",
        "certs/hosts": HOSTS, "own/own_thing/collector.yaml": COLLECTOR,
        "own/own_thing/collect.ps1": "param()\n[pscustomobject]@{name='a'; state='on'}\n",
        "own/own_thing/samples/berlin.raw.json": "{}", "own/notes-of-berlin.txt": "hunter2",
        "credentials.vault": "hunter2 s3cret", "templates/mail.txt": "hunter2",
    }  # fmt: skip
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def edit(path: Path, old: str, new: str) -> None:
    """Change a file, also for whoever goes by its time."""
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    facts = path.stat()
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns + 1_000_000))


def bundle_of(version: int = 1, site: str = "hq", files: dict[str, bytes] | None = None, **other: Any) -> Bundle:
    given = files if files is not None else {"rmm.yaml": f"number: {version}\n".encode()}
    digest = digest_of(encode_files(given))
    return Bundle(site=site, version=version, digest=digest, made_at=NOW, program="1", files=given, **other)


def usable(folder: Path, place: Path) -> Sequence[str]:
    """Load a bundle as the application does; without the vault."""
    one = Configured(load_settings(folder, bundle=place), lambda: "")
    _ = one.catalog, one.rules, one.rulebook
    return one.settings.ignored


def bundles_of(place: Path, key: Key, **options: Any) -> Bundles:
    given = {"verify": key.verify, "check": lambda path: usable(place, path), **options}
    return Bundles(place, "hq", **given)


@asynccontextmanager
async def serving(hub: Path, key: Key) -> AsyncIterator[MemoryBus]:
    """A bus on which a hub hands out its bundles."""
    bus = MemoryBus()
    made = HubBundles(hub, key.sign, now=lambda: NOW, every_s=0.0, settled_s=0.0)
    async with bus.answer("rmm.ask.*.bundle", bundle_answers(made)):
        yield bus
