"""A secret is nowhere but in the vault: not in logs at DEBUG, not in files, not in arguments."""

from __future__ import annotations

import base64
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_no_secret_leaves_the_vault(lab_of: Callable[..., Any]) -> None:
    lab = lab_of(30, "faults:\n  - {kind: close, machines: [2], after: 3}\n  - {kind: garbage, machines: [4]}\n")
    passphrase = (lab.config / "passphrase").read_text().strip()
    password = lab.info["password"]
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "rmm",
            "--debug",
            "poll",
            "--config",
            str(lab.config),
            "--workers",
            "2",
            "--timeout",
            "8",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert process.stdout is not None
    seen = process.stdout.readline()
    arguments = subprocess.run(["ps", "-eo", "args", "ww"], capture_output=True, check=True).stdout
    environments = b""
    for line in subprocess.run(
        ["ps", "-eo", "pid,args"], capture_output=True, check=True, text=True
    ).stdout.splitlines():
        if "rmm.worker" in line or "rmm --debug poll" in line:
            environments += Path(f"/proc/{line.split()[0]}/environ").read_bytes()
    seen += process.stdout.read()
    process.wait()
    process.stdout.close()
    assert len(seen) > 1000  # DEBUG really was on
    forms = [secret.encode() for secret in (password, passphrase)]
    forms += [base64.b64encode(form) for form in forms] + [password.encode("utf-16-le")]
    own = {"passphrase", "lab.json"}  # a lab's own way of telling foreign clients
    files = [path for path in lab.config.rglob("*") if path.is_file() and path.name not in own]
    assert len(files) > 8
    for form in forms:
        assert form not in seen
        assert form not in arguments
        assert form not in environments
        assert not [path for path in files if form in path.read_bytes()]
