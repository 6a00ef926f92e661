"""Writes the configuration folder with which `rmm poll --config DIR` polls a lab at once, and `lab.json` for others."""

from __future__ import annotations

import csv
import io
import json
import secrets
from collections.abc import Mapping
from math import ceil
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from rmm.durable import replace_file
from rmm.errors import ConfigError
from rmm.lab.faults import Plan
from rmm.lab.fleet import LabFleet
from rmm.lab.recorded import RecordedFleet, RecordedMachine
from rmm.lab.simulated import LabMachine
from rmm.vault import create

MARK = "# Written by `rmm lab up`; it is written again at the next start."
USERNAME = "lab\\rmm"
VAULT, PASSPHRASE, CREDENTIAL = "credentials.vault", "passphrase", "lab"
PER_SHARD = 250
_COLUMNS = (
    "Id", "ComputerName", "IPAddress", "SiteId", "GroupId", "Tags", "Description", "Transport", "Scheme", "Port",
    "Credential", "Configuration", "Pin", "Uuid", "Enabled",
)  # fmt: skip


class LabAccess(NamedTuple):
    """How the lab is reached. `ca_file` is the PEM file of its own CA; `scheme` what `rmm` itself shall use."""

    http_port: int
    https_port: int
    ca_file: Path | None
    password: str
    username: str = USERNAME
    scheme: str = "http"
    concurrency: int = 0  # polls at once at most; 0: as many as suit the fleet
    dns_port: int = 0  # of the lab's name server; 0: endpoints are reached by address


def new_password() -> str:
    """A random password for a lab's account."""
    return secrets.token_urlsafe(18)


def write_configuration(
    folder: Path, fleet: LabFleet | RecordedFleet, access: LabAccess, plan: Plan | None = None
) -> None:
    """Write rmm.yaml, endpoints.csv, credentials.vault, its passphrase file and lab.json.

    Raises ConfigError, and writes nothing, when the folder already holds somebody's own configuration.
    """
    settings = folder / "rmm.yaml"
    if settings.exists() and not settings.read_text(encoding="utf-8", errors="replace").startswith(MARK):
        raise ConfigError(
            f"{settings}: not written by `rmm lab up`, so it is left alone", hint="Name another folder with --config."
        )
    passphrase = secrets.token_urlsafe(24)
    folder.mkdir(parents=True, exist_ok=True)
    given = access_of(access, plan)
    create(folder / VAULT, passphrase, {CREDENTIAL: (given.username, given.password)})
    replace_file(folder / PASSPHRASE, f"{passphrase}\n".encode(), private=True)
    replace_file(folder / "endpoints.csv", endpoints_csv(fleet, access, plan).encode())
    replace_file(folder / "lab.json", lab_json(fleet, access).encode(), private=True)
    replace_file(settings, settings_yaml(len(fleet), access, plan.document if plan else {}).encode())


def access_of(access: LabAccess, plan: Plan | None) -> LabAccess:
    """What the vault is given: a plan's `credential` (username, password) may differ from what the lab accepts."""
    given = dict(plan.document.get("credential") or {}) if plan else {}
    return access._replace(
        username=str(given.get("username", access.username)), password=str(given.get("password", access.password))
    )


def endpoint_id(machine: LabMachine | RecordedMachine) -> str:
    return machine.name.lower()


def endpoints_csv(fleet: LabFleet | RecordedFleet, access: LabAccess | None = None, plan: Plan | None = None) -> str:
    """The endpoint list, in the columns of `rmm endpoints import`."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    by_name = access is not None and access.dns_port
    for machine in fleet:
        columns = dict.fromkeys(_COLUMNS, "") | {
            "Id": endpoint_id(machine),
            "ComputerName": machine.name,
            "IPAddress": machine.dns_name if by_name else machine.address,
            "SiteId": "lab",
            "GroupId": machine.profile,
            "Tags": ";".join(machine.tags),
            "Description": machine.description,
            "Enabled": "true",
        }
        faults = plan.of(machine) if plan is not None else None
        for fault in faults.strike("configured") if faults is not None else ():
            fault.configured(machine, columns)
        writer.writerow(columns.values())
    return text.getvalue()


def settings_yaml(count: int, access: LabAccess, wanted: Mapping[str, Any] | None = None) -> str:
    """The text of rmm.yaml; `wanted` is a fault plan's document, whose `site`, `poll` and `settings` are laid over."""
    wanted = wanted or {}
    secure = access.scheme == "https"
    site: dict[str, Any] = {
        "id": "lab",
        "name": "Lab fleet",
        "credential": CREDENTIAL,
        "transport": "winrm",
        "scheme": access.scheme,
        "port": access.https_port if secure else access.http_port,
    }
    if secure and access.ca_file is not None:
        site["ca_file"] = str(access.ca_file.resolve())
    if access.dns_port:
        site["dns"] = [f"127.0.0.1:{access.dns_port}"]
    site |= {"shards": max(1, ceil(count / PER_SHARD))} | dict(wanted.get("site") or {})
    document = {
        "data": "data",
        "sites": [site],
        "poll": {"concurrency": min(concurrency(count), access.concurrency or count)} | dict(wanted.get("poll") or {}),
    } | dict(wanted.get("settings") or {})
    return f"{MARK}\n{yaml.safe_dump(document, sort_keys=False, allow_unicode=True)}"


def concurrency(count: int) -> int:
    """How many of `count` lab endpoints to poll at once."""
    return 25 if count <= 500 else 100 if count <= 2500 else 150


def lab_json(fleet: LabFleet | RecordedFleet, access: LabAccess) -> str:
    """What a foreign client needs to know of the lab."""
    facts = {
        "host": fleet[0].address if len(fleet) else "127.1.0.1",
        "http_port": access.http_port,
        "https_port": access.https_port,
        "ca_file": str(access.ca_file.resolve()) if access.ca_file else None,
        "username": access.username,
        "password": access.password,
        "stats": f"http://127.0.0.1:{access.http_port}/lab/stats",
        "accounts": f"http://127.0.0.1:{access.http_port}/lab/accounts",
        "endpoints": [
            {"id": endpoint_id(machine), "name": machine.name, "address": machine.address, "profile": machine.profile}
            for machine in fleet
        ],
    }
    return json.dumps(facts, indent=1, ensure_ascii=False) + "\n"
