"""Certificates that must not be trusted, through `rmm poll` and every transport: nothing is sent after the handshake."""

from __future__ import annotations

import asyncio
import csv
import json
import re
import ssl
import sys
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from runner import ROOT, Scenario, lab_of

from rmm.transports.winrm.network import pin_of

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


class Labs:
    """A running lab and the configuration that polls it."""

    def __init__(self, folder: Path, info: Any) -> None:
        self.folder = folder
        self.info = info

    async def stats(self) -> dict[str, Any]:
        def get() -> dict[str, Any]:
            with urllib.request.urlopen(self.info.stats_url, timeout=10) as answer:
                return dict(json.load(answer))

        return await asyncio.to_thread(get)

    async def poll(self, names: list[str]) -> dict[str, dict[str, Any]]:
        """`rmm poll` of these endpoints: id -> observation."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "rmm", "poll", "--all", "--config", str(self.folder), "--output", "ndjson", *names),
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, err = await process.communicate()
        assert out, err.decode()
        return {row["endpoint"]: row for row in map(json.loads, out.splitlines())}


@asynccontextmanager
async def labs(folder: Path) -> AsyncIterator[tuple[Labs, list[str]]]:
    """The lab, and its endpoints' ids in the order of CASES, the good ones last."""
    from rmm.catalog.load import load_catalog
    from rmm.lab.engine_samples import SamplesEngine
    from rmm.resources import shipped

    faults: list[dict[str, Any]] = [
        {"kind": "listing", "columns": {"Transport": transport}, "machines": [number]}
        for number, (_, transport) in enumerate([*CASES, *(("", transport) for transport in TRANSPORTS)])
    ]
    faults += [
        {"kind": "tls", "how": how, "machines": [number]} for number, (how, _) in enumerate(CASES) if how != "plain"
    ]
    path = folder / "plan.yaml"
    path.write_text(json.dumps({"faults": faults}))
    scenario = Scenario(
        path=str(path), row=20, title="", faults=faults, expect=[], scheme="https", endpoints=GOOD + 3, poll={"timeout": 15}
    )  # fmt: skip
    engine = SamplesEngine(load_catalog([shipped("collectors")]))
    config = folder / "lab"
    async with lab_of(scenario, config, engine) as info:
        rows = list(csv.DictReader((config / "endpoints.csv").open(encoding="utf-8")))
        address = (rows[GOOD]["IPAddress"], info.https_port)
        shown = await asyncio.to_thread(ssl.get_server_certificate, address, ca_certs=info.ca_file)
        pin = pin_of(ssl.PEM_cert_to_DER_cert(shown))
        for row, (how, _) in zip(rows, CASES, strict=False):
            row["Pin"] = pin if how == "changed_key" else ""
            row["Port"] = str(info.http_port) if how == "plain" else ""
        rows[GOOD]["Pin"] = pin
        with (config / "endpoints.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
        yield Labs(config, info), [row["Id"] for row in rows]


async def test_nothing_is_sent_to_whoever_shows_a_wrong_certificate(tmp_path: Path) -> None:
    async with labs(tmp_path) as (lab, names):
        before = await lab.stats()
        seen = await lab.poll(names[:GOOD])
        after = await lab.stats()
        told = {case: _told(seen[name]) for case, name in zip(CASES, names, strict=False)}
        assert told == {(how, transport): _expected(how, transport) for how, transport in CASES}
        for counter in ("requests", "authorizations", "logons_accepted", "logons_rejected", "shells_opened"):
            assert after[counter] == before[counter], counter
        # They did come as far as the handshake: pins that a library cannot honour are refused before.
        assert after["connections"] - before["connections"] >= GOOD - 2
        good = await lab.poll(names[GOOD:])
        assert {name: good[name]["status"] for name in names[GOOD:]} == dict.fromkeys(names[GOOD:], "OK")
        last = await lab.stats()
        assert last["authorizations"] - before["authorizations"] >= 3


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
ALLOWED = {("rmm/transports/winrm/network.py", "pinned"), ("rmm/transports/winrm/network.py", "_weaken")}


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
