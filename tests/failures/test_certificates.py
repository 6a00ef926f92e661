"""Certificates that must not be trusted, through `rmm poll` and all transports: nothing follows the handshake."""

from __future__ import annotations

import csv
import json
import re
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rmm.transports.winrm.network import pin_of

ROOT = Path(__file__).parents[2]
TRANSPORTS = ("winrm", "pypsrp", "pywinrm")
# how the lab's certificate is wrong -> the fault that this is
WRONG = {
    "expired": "tls.expired",
    "early": "tls.expired",
    "self_signed": "tls.untrusted",
    "other_ca": "tls.untrusted",
    "wrong_name": "tls.name",
    "changed_key": "tls.pin",
    "inspected": "tls.untrusted",
    "tls1.0": "tls.protocol",
    "tls1.1": "tls.protocol",
    "plain": "tls.not_tls",  # plain HTTP where TLS is expected
}
CASES = [(how, transport) for how in WRONG for transport in TRANSPORTS]
GOOD = len(CASES)  # the machines after them are as they should be, one per transport


class Lab:
    """A lab over HTTPS; `names` are its endpoints' ids in the order of CASES, the good ones last."""

    def __init__(self, folder: Path) -> None:
        self.config = folder / "lab"
        listed = [*CASES, *(("", transport) for transport in TRANSPORTS)]
        faults: list[dict[str, Any]] = []
        for number, (how, transport) in enumerate(listed):
            faults.append({"kind": "listing", "columns": {"Transport": transport}, "machines": [number]})
            if how not in ("", "plain"):
                faults.append({"kind": "tls", "how": how, "machines": [number]})
        plan, ready = folder / "plan.yaml", folder / "ready"
        plan.write_text(json.dumps({"faults": faults, "poll": {"timeout": 15}}))
        command = ["lab", "up", "--endpoints", str(len(listed)), "--scheme", "https", "--faults", str(plan)]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "rmm", *command, "--config", str(self.config), "--ready-file", str(ready)],
            stdout=subprocess.DEVNULL,
        )
        until = time.monotonic() + 60
        while not ready.exists():
            assert self.process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.05)
        self.info = json.loads((self.config / "lab.json").read_text(encoding="utf-8"))
        self.names = [one["id"] for one in self.info["endpoints"]]
        self._pin()

    def _pin(self) -> None:
        """Pins of the key that the machines had before, and the port without TLS for those that are asked there."""
        path = self.config / "endpoints.csv"
        with path.open(encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        address = (rows[GOOD]["IPAddress"], self.info["https_port"])
        pin = pin_of(ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate(address, ca_certs=self.info["ca_file"])))
        for row, (how, _) in zip(rows, CASES, strict=False):
            row["Pin"] = pin if how == "changed_key" else ""
            row["Port"] = str(self.info["http_port"]) if how == "plain" else ""
        rows[GOOD]["Pin"] = pin
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)

    def stats(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.info['http_port']}/lab/stats", timeout=10) as answer:
            return dict(json.load(answer))

    def poll(self, names: list[str]) -> dict[str, dict[str, Any]]:
        """`rmm poll` of these endpoints: id -> observation."""
        chosen = [word for name in names for word in ("--endpoint", name)]
        done = subprocess.run(
            [sys.executable, "-m", "rmm", "poll", "--all", "--config", str(self.config), "--output", "ndjson", *chosen],
            capture_output=True, text=True, check=False, encoding="utf-8",
        )  # fmt: skip
        assert done.stdout, done.stderr
        return {row["endpoint"]: row for row in map(json.loads, done.stdout.splitlines())}


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    one = Lab(tmp_path)
    yield one
    one.process.terminate()
    one.process.wait(10)


def test_nothing_is_sent_to_whoever_shows_a_wrong_certificate(lab: Lab) -> None:
    before = lab.stats()
    seen = lab.poll(lab.names[:GOOD])
    after = lab.stats()
    told = {case: _told(seen[name]) for case, name in zip(CASES, lab.names, strict=False)}
    assert told == {(how, transport): _expected(how, transport) for how, transport in CASES}
    for counter in ("requests", "authorizations", "logons_accepted", "logons_rejected", "shells_opened"):
        assert after[counter] == before[counter], counter
    # They did come as far as the handshake; pins that a library cannot honour are refused before.
    assert after["connections"] - before["connections"] >= GOOD - 2
    good = lab.poll(lab.names[GOOD:])
    assert {name: good[name]["status"] for name in lab.names[GOOD:]} == dict.fromkeys(lab.names[GOOD:], "OK")
    assert lab.stats()["authorizations"] - before["authorizations"] >= 3


def _told(observation: dict[str, Any]) -> tuple[str, str]:
    return observation["status"], observation["fault"]["code"]


def _expected(how: str, transport: str) -> tuple[str, str]:
    if how == "changed_key" and transport != "winrm":
        return "CONFIG", "config"
    return ("CONFIG" if how == "plain" else "TLS_ERROR"), WRONG[how]


_OFF: tuple[tuple[str, Callable[[str], bool]], ...] = (
    ("CERT_NONE", lambda line: "CERT_NONE" in line),
    ("check_hostname", lambda line: re.search(r"check_hostname\s*=\s*False", line) is not None),
    ("verify", lambda line: re.search(r"\bverify(_ssl|_mode)?\s*=\s*(False|0)\b", line) is not None),
    ("validation", lambda line: re.search(r"cert_validation\s*=\s*(False|['\"]ignore)", line) is not None),
    ("unverified", lambda line: "_create_unverified_context" in line or "disable_warnings" in line),
    ("known_hosts", lambda line: re.search(r"known_hosts\s*=\s*None", line) is not None),
)
# The two functions that may: a pinned key is checked instead of the chain, and an exception with owner and end.
ALLOWED = {("rmm/transports/winrm/network.py", "_pinned"), ("rmm/transports/winrm/network.py", "_weaken")}


def test_verification_is_turned_off_nowhere() -> None:
    found = {
        (path.relative_to(ROOT).as_posix(), _function(lines, number))
        for path in sorted((ROOT / "rmm").rglob("*.py"))
        for lines in [path.read_text(encoding="utf-8").splitlines()]
        for number, line in enumerate(lines)
        if any(off(line.split("#")[0]) for _, off in _OFF)
    }
    assert found == ALLOWED


def _function(lines: list[str], number: int) -> str:
    names = [found[1] for line in lines[: number + 1] if (found := re.match(r"(?:async )?def (\w+)", line))]
    return names[-1] if names else ""


@pytest.mark.parametrize("line", ["x.verify_mode = ssl.CERT_NONE", "verify=False", "cert_validation='ignore'"])
def test_the_gate_sees_what_it_looks_for(line: str) -> None:
    assert any(off(line) for _, off in _OFF)
