"""`rmm credentials list` shows what is held, `rmm credentials release` ends it; neither needs the passphrase."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rmm.errors import AuthError, AuthHeld
from rmm.loop import SystemClock
from rmm.model.endpoint import Credential, Secret
from rmm.poller.gate import Gate
from rmm.vault import create

ACCOUNT = "CORP\\poll"


def rmm(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "rmm", "credentials", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "rmm.yaml").write_text("data: data\nsites:\n  - {id: hq, credential: main}\n", encoding="utf-8")
    (tmp_path / "endpoints.csv").write_text("ComputerName,SiteId\n", encoding="utf-8")
    create(tmp_path / "credentials.vault", "x", {"main": (ACCOUNT, "a"), "other": ("poll@corp.example", "b")})
    return tmp_path


def rejected(folder: Path, version: str) -> None:
    async def attempt() -> None:
        gate = Gate(folder / "data", SystemClock())
        credential = Credential(name="main", username=ACCOUNT, secret=Secret("a"), version=version)
        async with gate.attempt(credential, "h1") as one:
            one.rejected()
            raise AuthError("no")

    with pytest.raises(AuthError) as caught:
        asyncio.run(attempt())
    assert not isinstance(caught.value, AuthHeld)


def listed(folder: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(rmm("list", "--config", str(folder), "--output", "json").stdout)
    return rows


def test_a_hold_is_shown_and_released_and_what_was_spent_is_not_forgotten(folder: Path) -> None:
    assert [(row["state"], row["bad"]) for row in listed(folder)] == [("unproven", 0)] * 2
    rejected(folder, "1")
    # Both entries of the vault are one account.
    assert [(row["state"], row["bad"], row["held"]) for row in listed(folder)] == [("open", 1, "rejected")] * 2
    assert rmm("release", "other", "--config", str(folder)).returncode == 0
    assert [(row["state"], row["bad"], row["held"]) for row in listed(folder)] == [("unproven", 1, "")] * 2
    rejected(folder, "1")
    refused = rmm("release", "main", "--config", str(folder))
    assert refused.returncode == 2
    assert "--unlocked" in refused.stderr
    assert rmm("release", "main", "--unlocked", "--config", str(folder)).returncode == 0
    assert [(row["bad"], row["held"]) for row in listed(folder)] == [(0, "")] * 2


def test_a_name_that_is_not_there_and_an_account_that_nobody_tried(folder: Path) -> None:
    assert "no credential" in rmm("release", "nobody", "--config", str(folder)).stderr
    assert rmm("release", "main", "--config", str(folder)).returncode == 0
