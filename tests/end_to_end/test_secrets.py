"""A secret is nowhere but sealed in the vault: not in logs at DEBUG, files, arguments, environments or tracebacks."""

from __future__ import annotations

import csv
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from canaries import Watch, files, forms, hits, nt_hash

ROOT = Path(__file__).parents[2]
# Characters that JSON, XML, URLs, base64, UTF-16 and shells each write in another way; the letters are found nowhere.
PASSWORD = "Zq7\"\\<&>'\u00e9\u20ac\U0001f600%+ Kx9wVb3"
WRONG = "Jt5\"\\<&>'\u00e9\u20ac%+ Ws6mRy8"
PASSPHRASE = "Hn8\"\\<&>'\u00e9\u20ac\U0001f600%+ Ld2cGf4"
KEY_PHRASE = "Rm4\"\\<&>'\u00e9%+ Tb7pXk1"
CANARIES = {
    **forms("password", PASSWORD), **forms("wrong password", WRONG), **forms("passphrase", PASSPHRASE),
    **forms("key passphrase", KEY_PHRASE),
}  # fmt: skip
OWN = {"lab.json", "ntlm-accounts"}  # the lab's: what its accounts are

# Loaded by every Python process of a run. It logs everything, also what the product turns down, and makes one
# collector of ours crash.
PLANTED = """
import logging, os
handler = logging.FileHandler(os.environ["PLANTED_LOG"], encoding="utf-8", errors="backslashreplace")
if os.environ.get("PLANTED_UNCAPPED"):
    logging.root.addHandler(handler)
    logging.root.setLevel(logging.DEBUG)
    logging.root.addHandler(logging.StreamHandler())
    logging.Logger.setLevel = lambda self, level: None
import rmm.core.normalize
from rmm.transports.winrm import auth
read, crashed, nt_hash = rmm.core.normalize.Normalizer.read, [], auth._nt_hash
def planted(self, document, **rest):
    if self._manifest.name == "memory" and not crashed:
        crashed.append(1)
        raise RuntimeError("a planted crash")
    return read(self, document, **rest)
rmm.core.normalize.Normalizer.read = planted
if os.environ.get("PLANTED_CRASH"):
    import rmm.app
    async def poll(self, *_, **__):
        secret = self.credential("good").secret.reveal()
        raise RuntimeError("a planted crash of the whole command")
    rmm.app.App.poll = poll
"""


class Run:
    """A lab whose account has the canary as its password, and a configuration that polls it in every way."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "lab"
        self.temporary = folder / "temporary"
        self.planted = folder / "planted"
        for place in (self.temporary, self.planted):
            place.mkdir()
        (self.planted / "sitecustomize.py").write_text(PLANTED)
        faults = [
            {"kind": "close", "machines": [1], "after": 3},
            {"kind": "garbage", "machines": [2]},
            {"kind": "content", "how": "fragment_gap", "machines": [3]},
        ]
        (folder / "plan.yaml").write_text(json.dumps({"faults": faults}))
        start = (
            "import sys; from pathlib import Path; from rmm.catalog.load import load_catalog; "
            "from rmm.lab.engine_samples import SamplesEngine; from rmm.lab.server import LabOptions, run; "
            "from rmm.resources import shipped; folder = Path(sys.argv[1]); "
            "run(LabOptions(endpoints=15, config=folder / 'lab', ready_file=folder / 'ready', "
            "faults=folder / 'plan.yaml', password=sys.stdin.read()), "
            "SamplesEngine(load_catalog([shipped('collectors')])), ready=lambda info: None)"
        )
        self.lab = subprocess.Popen(
            [sys.executable, "-c", start, str(folder)], stdin=subprocess.PIPE, text=True, encoding="utf-8"
        )
        assert self.lab.stdin is not None
        self.lab.stdin.write(PASSWORD)
        self.lab.stdin.close()
        until = time.monotonic() + 60
        while not (folder / "ready").exists():
            assert self.lab.poll() is None
            assert time.monotonic() < until
            time.sleep(0.05)
        self.names: list[str] = []

    def configure(self, sshd: Any) -> None:
        info = json.loads((self.config / "lab.json").read_text(encoding="utf-8"))
        (self.config / "passphrase").unlink()
        (self.config / "credentials.vault").unlink()
        key = self.folder / "key"
        subprocess.run(["ssh-keygen", "-q", "-m", "PKCS8", "-t", "ecdsa", "-N", KEY_PHRASE, "-f", str(key)], check=True)
        with (sshd.folder / "authorized_keys").open("a") as keys:
            keys.write((key.with_suffix(".pub")).read_text())
        plain = {"credential": "good", "transport": "winrm", "scheme": "http", "port": info["http_port"]}
        secure = plain | {"scheme": "https", "port": info["https_port"], "ca_file": info["ca_file"]}
        known_hosts = str(sshd.folder / "known_hosts")
        sites = [
            {"id": "lab", **plain},
            {"id": "secure", **secure},
            {"id": "basic", **secure, "auth": "basic"},
            {"id": "wrong", **plain, "credential": "wrong"},
            {"id": "ssh", "credential": "key", "transport": "ssh", "port": sshd.port, "known_hosts": known_hosts},
        ]
        document = {"data": "data", "sites": sites, "poll": {"concurrency": 8, "timeout": 15}}
        (self.config / "rmm.yaml").write_text(yaml.safe_dump(document))
        path = self.config / "endpoints.csv"
        with path.open(encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        kinds = [("lab", "")] * 5 + [("lab", "wql"), ("lab", "pypsrp"), ("lab", "pywinrm"), ("secure", "")]
        kinds += [
            ("secure", "pypsrp"),
            ("secure", "pywinrm"),
            ("basic", ""),
            ("basic", "pywinrm"),
            ("basic", "pypsrp"),
            ("wrong", ""),
        ]
        for row, (site, transport) in zip(rows, kinds, strict=True):
            row |= {"SiteId": site, "Transport": transport}
        rows.append(
            dict.fromkeys(rows[0], "") | {"Id": "here", "ComputerName": socket.gethostname(), "IPAddress": "127.0.0.1"}
        )
        rows[-1] |= {"SiteId": "ssh", "Enabled": "true"}
        self.names = [row["Id"] for row in rows]
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
        for name, username, secret, more in (
            ("good", info["username"], PASSWORD, ()),
            ("wrong", info["username"], WRONG, ()),
            ("key", sshd.user, KEY_PHRASE, ("--key-file", str(key))),
        ):
            done = self.rmm("credentials", "set", name, "--username", username, *more, given=f"{secret}\n")
            assert done.returncode == 0, done.stderr

    def environment(self, **more: str) -> dict[str, str]:
        planted = {"PYTHONPATH": str(self.planted), "PLANTED_LOG": str(self.folder / "planted.log")}
        return {**os.environ, "RMM_PASSPHRASE": PASSPHRASE, "TMPDIR": str(self.temporary), **planted, **more}

    def rmm(self, *arguments: str, given: str = "", **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "rmm", "--debug", *arguments, "--config", str(self.config)],
            input=given, capture_output=True, text=True, check=False, encoding="utf-8", errors="surrogateescape",
            env=self.environment(**more), timeout=120, cwd=self.folder,
        )  # fmt: skip

    def found(self) -> list[str]:
        """Where a canary lies in a file: all of the folder, the vault as well, but for what is the lab's own."""
        places = [path for path in files(self.folder) if path.name not in OWN]
        assert len(places) > 12
        return [f"{path}: {label}" for path in places for label in hits(CANARIES, path.read_bytes())]


@pytest.fixture
def run(tmp_path: Path, sshd: Any) -> Iterator[Run]:
    one = Run(tmp_path)
    try:
        one.configure(sshd)
        yield one
    finally:
        one.lab.terminate()
        one.lab.wait(10)


def _said(done: subprocess.CompletedProcess[str]) -> bytes:
    return (done.stdout + done.stderr).encode("utf-8", "surrogateescape")


def test_the_forms_are_found_where_they_are() -> None:
    import base64

    assert "password: plain" in hits(CANARIES, f"x{PASSWORD}y".encode())
    for text in (f"lab\\rmm:{PASSWORD}", f"ab:{PASSWORD}", f"a:{PASSWORD}:"):
        assert any("plain, base64" in label for label in hits(CANARIES, base64.b64encode(text.encode())))
    assert "password: json" in hits(CANARIES, json.dumps({"a": PASSWORD}).encode())
    assert "password: nt hash, hex" in hits(CANARIES, nt_hash(PASSWORD).hex().encode())
    assert not hits(CANARIES, b"nothing of it")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("uncapped", [False, True], ids=["as shipped", "every logger at DEBUG"])
def test_no_secret_leaves_the_vault(run: Run, *, uncapped: bool) -> None:
    more = {"PLANTED_UNCAPPED": "1"} if uncapped else {}
    command = ["poll", "--all", "--workers", "2", "--output", "ndjson", "--config", str(run.config)]
    with (
        subprocess.Popen(
            [sys.executable, "-m", "rmm", "--debug", *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=run.environment(**more), cwd=run.folder, preexec_fn=_allow_core_dumps,
        ) as process,
        Watch(process.pid) as watch,
    ):  # fmt: skip
        out, err = process.communicate(timeout=120)

    rows = {row["endpoint"]: row for row in map(json.loads, out.splitlines())}
    statuses = [rows[name]["status"] for name in run.names]
    # All of it happened: good, rejected and failing endpoints, every transport, a crash of ours with its traceback.
    assert set(rows) == set(run.names)
    assert statuses[14] == "AUTH_REJECTED", rows[run.names[14]]
    crashed = [row for row in rows.values() if row["status"] == "COLLECTOR_FAULT"]
    assert crashed
    assert b"a planted crash" in err
    assert b"Traceback" in err
    good = [name for name, status in zip(run.names, statuses, strict=True) if status in ("OK", "PARTIAL")]
    assert len(good) == len(run.names) - 4 - len(crashed), dict(zip(run.names, statuses, strict=True))
    assert statuses[15] in ("OK", "PARTIAL")  # by the key whose passphrase is a canary
    assert len(watch.processes) >= 3  # the workers were seen
    assert not uncapped or (run.folder / "planted.log").stat().st_size > 100_000

    assert not hits(CANARIES, out)
    assert not hits(CANARIES, err)
    assert not [label for data in watch.seen for label in hits(CANARIES, data)]
    assert not hits(CANARIES, watch.last_environment)
    assert {re.sub(" +", " ", line) for line in watch.limits.values()} == {"Max core file size 0 0 bytes "}

    _other_commands(run, good[0], more)
    assert run.found() == []


def _allow_core_dumps() -> None:
    import resource

    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))


def _other_commands(run: Run, good: str, more: dict[str, str]) -> None:
    report = str(run.folder / "report.html")
    for arguments, codes in (
        (("doctor", good), (0, 1, 3)),  # 1: the planted crash
        (("doctor", run.names[14], "--output", "json"), (4,)),
        (("doctor", "here"), (0, 1, 3)),
        (("credentials", "test", "good"), (0,)),
        (("credentials", "test", "wrong"), (1, 4)),
        (("credentials", "list"), (0,)),
        (("status", "--output", "json"), (0,)),
        (("show", good), (0,)),
        (("alerts", "list"), (0,)),
        (("report", "executive", "--out", report), (0,)),
    ):
        done = run.rmm(*arguments, **more)
        assert done.returncode in codes, (arguments, done.returncode, done.stdout[-500:], done.stderr[-1500:])
        assert not hits(CANARIES, _said(done)), arguments
    broken = run.rmm("poll", PLANTED_CRASH="1", **more)
    assert broken.returncode == 1
    assert "Traceback" in broken.stderr
    assert "a planted crash of the whole command" in broken.stderr
    assert not hits(CANARIES, _said(broken))


@pytest.mark.skipif(sys.platform != "linux", reason="prctl and /proc")
def test_a_process_that_holds_a_secret_keeps_its_memory_and_environment_to_itself() -> None:
    program = (
        "import ctypes, json, resource, subprocess, sys\n"
        "from rmm.cli.options import passphrase_from\n"
        "from pathlib import Path\n"
        "given = passphrase_from(Path('.'), None)\n"
        "mine = Path('/proc/self/environ').read_bytes()\n"
        "child = subprocess.run(['env', '-0'], capture_output=True, check=True).stdout\n"
        "dumpable = ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)\n"
        "print(json.dumps([given, mine.hex(), child.hex(), dumpable, resource.getrlimit(resource.RLIMIT_CORE)]))\n"
    )
    environment = {**os.environ, "RMM_PASSPHRASE": PASSPHRASE}
    environment.pop("RMM_PASSPHRASE_FILE", None)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, env=environment)
    given, mine, child, dumpable, limit = json.loads(done.stdout)
    assert given == PASSPHRASE
    assert not hits(CANARIES, bytes.fromhex(mine))
    assert not hits(CANARIES, bytes.fromhex(child))
    assert dumpable == 0
    assert limit == [0, 0]


def test_no_traceback_shows_local_variables() -> None:
    """Locals hold secrets: neither typer's nor rich's tracebacks, which print them, are turned on anywhere."""
    found = [
        path.relative_to(ROOT)
        for path in (ROOT / "rmm").rglob("*.py")
        if re.search(
            r"show_locals|rich\.traceback|pretty_exceptions_enable\s*=\s*True", path.read_text(encoding="utf-8")
        )
    ]
    assert not found
    assert "pretty_exceptions_enable=False" in (ROOT / "rmm" / "cli" / "main.py").read_text(encoding="utf-8")
