"""CredSSP by pypsrp against the lab's acceptor: it works, it says why not, and nothing else may use it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from kerberos_lab import KerberosLab, lab_with

from rmm.app import build
from rmm.errors import RmmError
from rmm.model.endpoint import Credential, Secret
from rmm.ports import Script


class Gate:
    def __init__(self) -> None:
        self.log: list[str] = []

    @contextlib.asynccontextmanager
    async def attempt(self, credential: Credential, host: str) -> AsyncIterator[Gate]:
        self.log.append("asked")
        yield self

    def accepted(self) -> None:
        self.log.append("accepted")

    def rejected(self) -> None:
        self.log.append("rejected")

    def unsent(self) -> None: ...


async def run(lab: KerberosLab, script: str = "$env:COMPUTERNAME", *, secret: str = "", **changes: Any) -> Any:
    gate = Gate()
    transport: Any = build("transports", changes.get("transport", "pypsrp"), gate=gate)
    credential = Credential(name="l", username=lab.info.username, secret=Secret(secret or lab.info.password))
    target = lab.target(**({"auth": "credssp", "transport": "pypsrp", "credential": credential} | changes))
    deadline = asyncio.get_running_loop().time() + 30
    try:
        async with transport.session(target, deadline=deadline) as session:
            result = await session.run(Script(script), deadline=deadline)
            return "".join(result.output), gate.log
    except RmmError as error:
        return error, gate.log
    finally:
        await transport.aclose()


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_poll_by_credssp(tmp_path: Path, scheme: str) -> None:
    async with lab_with(tmp_path, None, credssp=True) as lab:
        changes = {"scheme": scheme, "name": lab.fleet[0].name} if scheme == "https" else {}
        seen, log = await run(lab, **changes)
        assert seen == lab.fleet[0].name
        assert log == ["asked", "accepted"]
        assert (await lab.stats())["logons_rejected"] == 0


async def test_messages_of_several_parts(tmp_path: Path) -> None:
    async with lab_with(tmp_path, None, credssp=True) as lab:
        seen, _ = await run(lab, f"#lab:size 100000\n#{'x' * 40_000}")
        assert len(seen) > 99_000


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # requests-credssp: see below
async def test_a_wrong_password_is_one_bad_logon(tmp_path: Path) -> None:
    async with lab_with(tmp_path, None, credssp=True) as lab:
        error, log = await run(lab, secret="wrong")
        assert (error.code, error.status, error.retry) == ("auth.rejected", "AUTH_REJECTED", "RH")
        assert log == ["asked", "rejected"]
        stats: Any = await lab.stats()
        assert (stats["logons_rejected"], stats["accounts"][lab.info.username]["bad"]) == (1, 1)
        del error
        gc.collect()


@pytest.mark.parametrize(
    ("state", "code", "status"),
    [
        ("expired", "auth.expired", "AUTH_REJECTED"),
        ("must_change", "auth.expired", "AUTH_REJECTED"),
        ("disabled", "auth.locked", "AUTH_HELD"),
        ("hours", "auth.policy", "AUTH_REJECTED"),
        ("workstation", "auth.policy", "AUTH_REJECTED"),
    ],
)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # requests-credssp: see below
async def test_credssp_tells_the_causes_apart(tmp_path: Path, state: str, code: str, status: str) -> None:
    plan = tmp_path / "plan.yaml"
    plan.write_text(f"accounts:\n  - {{state: {state}}}\nfaults: []\n", encoding="utf-8")
    async with lab_with(tmp_path / "lab", None, credssp=True, faults=plan) as lab:
        error, log = await run(lab)
        assert (error.code, error.status) == (code, status)
        assert log == ["asked", "rejected"]
        del error
        gc.collect()


# requests-credssp leaves its connection to the garbage collector there.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_where_it_is_not_offered(tmp_path: Path) -> None:
    async with lab_with(tmp_path, None) as lab:
        error, log = await run(lab)
        assert (error.code, error.status, error.retry) == ("auth.scheme", "CONFIG", "R0")
        assert log == ["asked"]
        del error
        gc.collect()
        assert (await lab.stats())["logons_rejected"] == 0


@pytest.mark.parametrize("transport", ["winrm", "pywinrm"])
async def test_other_transports_send_nothing(tmp_path: Path, transport: str) -> None:
    async with lab_with(tmp_path, None, credssp=True) as lab:
        error, log = await run(lab, transport=transport)
        assert (error.code, error.status) == ("auth.scheme", "CONFIG")
        assert log == []
        assert (await lab.stats())["connections"] == 0
