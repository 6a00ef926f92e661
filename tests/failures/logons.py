"""What scenarios need whose machines are not logged on to by a password over NTLM: a KDC, a keytab, a certificate.

Keys under `logon`, all optional:
    account: name in the realm RMM.TEST (rmm); password: "wrong" for a wrong one; kind: password, keytab, ccache
    service: class whose keys machines and KDC have (HTTP; empty: none); changed: the KDC's key is newer than theirs
    weak: the service knows RC4 alone; life: of tickets; ahead: how far the KDC's clock is, such as +1h
    timesync: 0: libkrb5 does not follow the KDC's clock; kdc: running, stopped, silent
    offered: false: the machines accept no Kerberos; domain: the lab's own account, whose domain is then a realm
    certificate: mapped, unmapped: a client certificate instead of all that
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests" / "authentication"))

from kdc import REALM, Kdc, missing, no_faketime  # noqa: E402 - the path is made above

CERTIFICATE = "rmm@localhost"


class AbsentError(Exception):
    """What a scenario needs is not on this machine: why."""


@contextlib.contextmanager
def prepared(wanted: dict[str, Any], needs: str, endpoints: int, folder: Path) -> Iterator[dict[str, Any]]:
    """Start what is needed; yields `lab` (further LabOptions), `environment`, and `credential` for the vault."""
    if "certificate" in wanted:
        yield _certificate(wanted, folder)
        return
    if needs != "kerberos":
        yield {"lab": {}, "environment": {}, "credential": None}
        return
    if reason := missing() or (no_faketime() if wanted.get("ahead") else ""):
        raise AbsentError(reason)
    kdc = Kdc(folder.parent / f"{folder.name}-kdc", life=wanted.get("life", "10h"), ahead=wanted.get("ahead", ""))
    try:
        yield _kerberos(kdc, wanted, endpoints)
    finally:
        kdc.stop()


def _certificate(wanted: dict[str, Any], folder: Path) -> dict[str, Any]:
    files = {"cert_file": str(folder / "lab-client.pem"), "key_file": str(folder / "lab-client.key")}
    lab = {"client_certificate": CERTIFICATE, "unmapped": wanted["certificate"] == "unmapped"}
    return {"lab": lab, "environment": {}, "credential": ("rmm", "", {"kind": "certificate", **files})}


def _kerberos(kdc: Kdc, wanted: dict[str, Any], endpoints: int) -> dict[str, Any]:
    from rmm.lab.fleet import LabFleet

    hosts = [machine.dns_name for machine in LabFleet(endpoints)]
    service = wanted.get("service", "HTTP")
    if service:
        kdc.services(hosts, service=service, weak=bool(wanted.get("weak")))
    names = [f"{service}/{host}" for host in hosts] if service else ["rmm"]
    keytab = str(kdc.keytab(kdc.folder / "services", names))
    lab = {"keytab": keytab} if wanted.get("offered", True) else {}
    if wanted.get("changed"):
        kdc.admin(REALM, *(f"cpw -randkey {name}" for name in names))
    domain = {"LAB": kdc.ports[REALM]} if wanted.get("domain") else {}
    kdc.krb5_conf(kdc.folder / "krb5.conf", timesync=wanted.get("timesync", 1), ports=domain)
    account = wanted.get("account", "rmm")
    secret = Kdc.password + ("x" if wanted.get("password") == "wrong" else "")
    options: dict[str, Any] = {}
    if wanted.get("kind") == "keytab":
        secret, options = "", {"kind": "keytab", "key_file": str(kdc.keytab(kdc.folder / "account", [account]))}
    if wanted.get("kdc") == "stopped":
        kdc.stop()
    elif wanted.get("kdc") == "silent":
        kdc.pause()
    credential = None if domain else (f"{account}@{REALM}", secret, options)
    return {"lab": lab, "environment": kdc.environment, "credential": credential}


def store(folder: Path, credential: Any) -> None:
    """Put the credential into the lab's vault, in place of its own."""
    from rmm.model.endpoint import Secret
    from rmm.vault import Vault

    username, secret, options = credential
    vault = Vault.open(folder / "credentials.vault", (folder / "passphrase").read_text(encoding="utf-8").strip())
    vault.set("lab", username, Secret(secret), **options)
