"""The command: what it prints in each form, its exit codes, and SSH endpoints."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from climbing import app_of, climbed

from rmm.model.endpoint import Secret
from rmm.vault import Vault, create

RUNGS = ["store", "name", "route", "tcp", "tls", "http", "authentication", "shell", "language", "quota", "rights"]


async def doctor(app: Any, *words: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "rmm", "doctor", app.settings.endpoints[0].id, "--config", str(app.data.parent)]
    done = await asyncio.to_thread(subprocess.run, [*command, *words], capture_output=True, text=True, timeout=90)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout


@pytest.mark.parametrize(
    ("fault", "code", "failed"),
    [
        (None, 0, []),
        ({"kind": "record", "collector": "cpu", "error_id": "X"}, 3, ["cpu"]),
        ({"kind": "listing", "port": "closed"}, 4, ["tcp"]),
    ],
)
async def test_forms_and_exit_codes(
    fault: dict[str, Any] | None, code: int, failed: list[str], lab_in: Callable[..., Any]
) -> None:
    async with lab_in([fault] if fault else None) as app:
        seen, text = await doctor(app, "--output", "json")
        document = json.loads(text)
        assert seen == code
        assert document["endpoint"] == app.settings.endpoints[0].id
        steps = document["steps"]
        assert [step["name"] for step in steps if step["verdict"] == "failed"] == failed
        assert set(steps[0]) == {"name", "verdict", "ms", "detail", "fix", "code", "facts", "collector"}
        # A collector may have the name of a rung.
        assert [step["collector"] for step in steps if step["name"] == "tcp"] == [False, True]
        assert [step["name"] for step in steps if not step["collector"]] == RUNGS
        seen, text = await doctor(app, "--output", "csv")
        rows = list(csv.DictReader(io.StringIO(text)))
        assert (seen, [(row["name"], row["collector"]) for row in rows]) == (
            code,
            [(step["name"], str(step["collector"])) for step in steps],
        )
        seen, text = await doctor(app, "--output", "ndjson")
        assert (seen, len(text.splitlines())) == (code, len(steps))
        seen, text = await doctor(app)
        assert seen == code
        assert text.count("        fix: ") == sum(bool(step["fix"]) for step in steps)
        if code == 4:
            (line,) = [line for line in text.splitlines() if line.startswith("skipped needs tcp: ")]
            names = line.removeprefix("skipped needs tcp: ").split(", ")
            assert names == [step["name"] for step in steps if step["code"] == "needs"]
            assert names[:7] == RUNGS[4:]
            assert {"memory", "tcp"} <= set(names[7:])
        for name in failed:
            assert any(line.startswith(f"FAILED  {name} ") for line in text.splitlines())


def ssh_folder(folder: Path, sshd: Any, known_hosts: str) -> Path:
    (folder / "rmm.yaml").write_text(
        f"data: data\nsites:\n  - {{id: lan, transport: ssh, port: {sshd.port}, credential: key, "
        f"known_hosts: '{sshd.folder / known_hosts}'}}\n"
    )
    (folder / "endpoints.csv").write_text(f"ComputerName,IPAddress,SiteId\n{socket.gethostname()},127.0.0.1,lan\n")
    (folder / "passphrase").write_text("x")
    create(folder / "credentials.vault", "x", {})
    vault = Vault.open(folder / "credentials.vault", "x")
    vault.set("key", sshd.user, Secret(""), kind="key", key_file=str(sshd.folder / "user"))
    return folder


async def test_an_ssh_endpoint(sshd: Any, tmp_path: Path) -> None:
    steps = await climbed(app_of(ssh_folder(tmp_path, sshd, "known_hosts")))
    assert list(steps)[:6] == ["name", "route", "tcp", "host_key", "authentication", "shell"]
    assert {steps[name].verdict for name in list(steps)[:6]} == {"ok"}, steps
    assert "ssh-ed25519 SHA256:" in steps["host_key"].detail
    assert "Linux" in steps["shell"].detail
    assert steps["cpu"].verdict == "ok"


async def test_an_ssh_endpoint_with_another_key(sshd: Any, tmp_path: Path) -> None:
    steps = await climbed(app_of(ssh_folder(tmp_path, sshd, "wrong_hosts")))
    assert (steps["host_key"].verdict, steps["host_key"].code) == ("failed", "ssh.host_key")
    assert "another key of this kind" in steps["host_key"].detail
    assert "ssh-keyscan" in steps["host_key"].fix
    assert steps["authentication"].verdict == "skipped"
