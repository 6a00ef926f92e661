"""Labs whose machines accept the tickets of `kdc.Kdc`, and what their endpoints are reached with."""

from __future__ import annotations

import asyncio
import contextlib
import json
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from kdc import REALM, Kdc

from rmm.model.endpoint import Credential, Secret, Target

MACHINES = 4


class KerberosLab:
    """A lab in this process with what its endpoints need to be reached by Kerberos."""

    def __init__(self, info: Any, fleet: Any) -> None:
        self.info = info
        self.fleet = fleet

    async def stats(self) -> dict[str, int]:
        """What the lab has seen."""
        return dict(json.loads(await asyncio.to_thread(self._read)))

    def _read(self) -> bytes:
        with urllib.request.urlopen(self.info.stats_url, timeout=10) as answer:
            data: bytes = answer.read()
            return data

    def target(self, index: int = 0, *, secret: str = Kdc.password, **changes: Any) -> Target:
        """A machine by its FQDN in name and its address in host, as where DNS does not know it."""
        machine = self.fleet[index]
        https = changes.get("scheme") == "https"
        values: dict[str, Any] = {
            "endpoint": machine.name.lower(), "name": machine.dns_name, "host": machine.address,
            "port": self.info.https_port if https else self.info.http_port, "scheme": "http", "transport": "winrm",
            "auth": "kerberos", "session": "new", "ca_file": self.info.ca_file if https else "",
            "credential": Credential(name="k", username=f"rmm@{REALM}", secret=Secret(secret)),
        }  # fmt: skip
        return Target(**(values | changes))


@contextlib.asynccontextmanager
async def lab_with(folder: Path, keytab: Path | None, **options: Any) -> AsyncIterator[KerberosLab]:
    """A lab of a few machines that accept what is in this keytab."""
    from rmm.catalog.load import load_catalog
    from rmm.lab.engine_samples import SamplesEngine
    from rmm.lab.fleet import LabFleet
    from rmm.lab.server import LabInfo, LabOptions, serve
    from rmm.resources import shipped

    ready: asyncio.Future[LabInfo] = asyncio.get_running_loop().create_future()
    stop = asyncio.Event()
    wanted = LabOptions(endpoints=MACHINES, config=folder, keytab=keytab, **options)
    task = asyncio.create_task(
        serve(wanted, SamplesEngine(load_catalog([shipped("collectors")])), ready=ready.set_result, stop=stop)
    )
    try:
        waited: list[asyncio.Future[Any]] = [task, ready]
        await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
        yield KerberosLab(ready.result(), LabFleet(MACHINES))
    finally:
        stop.set()
        await task


def service_keytab(kdc: Kdc, path: Path, service: str = "HTTP") -> Path:
    """Keys of the lab's machines: service/FQDN of each."""
    from rmm.lab.fleet import LabFleet

    hosts = [machine.dns_name for machine in LabFleet(MACHINES)]
    with contextlib.suppress(RuntimeError):  # they exist already
        kdc.services(hosts, service=service)
    made: Path = kdc.keytab(path, [f"{service}/{host}" for host in hosts])
    return made
