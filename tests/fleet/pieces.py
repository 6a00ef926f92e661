"""What a fleet on one machine is made of: processes, each of them as in the field, and links that can be cut."""

from __future__ import annotations

import asyncio
import contextlib
import csv
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import yaml

from rmm.lab.configuration import CREDENTIAL
from rmm.lab.wire.accounts import AccountStats
from rmm.lab.wire.stats import Stats
from rmm.model.endpoint import Secret
from rmm.resources import shipped
from rmm.vault import Vault

HOST = "127.0.0.1"
READ = 64 << 10
FEW = frozenset({"availability", "system", "cpu", "memory", "services"})
FAKETIME = next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))), None)


def free_port() -> int:
    """A port of loopback that nobody has now."""
    with socket.socket() as one:
        one.bind((HOST, 0))
        return int(one.getsockname()[1])


class Link:
    """The way of one site to the broker: a TCP relay that can be cut, and made slow."""

    def __init__(self, target: int) -> None:
        self._target = target
        self.port = 0
        self.delay_s = 0.0
        self._up = True
        self._loop = asyncio.new_event_loop()
        self._writers: set[asyncio.StreamWriter] = set()
        self.bytes = 0
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,), daemon=True)
        self._thread.start()
        ready.wait(10)

    def _run(self, ready: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)

        async def begin() -> None:
            async with await asyncio.start_server(self._accept, HOST, 0) as server:
                self.port = server.sockets[0].getsockname()[1]
                ready.set()
                await asyncio.Event().wait()

        beginning = self._loop.create_task(begin())
        self._loop.run_forever()
        tasks = [*asyncio.all_tasks(self._loop), beginning]
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._up:
            writer.transport.abort()
            return
        try:
            far_reader, far_writer = await asyncio.open_connection(HOST, self._target)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, far_writer}
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._pump(reader, far_writer))
                tasks.create_task(self._pump(far_reader, writer))
        except* OSError:
            pass
        finally:
            for one in (writer, far_writer):
                self._writers.discard(one)
                one.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(READ):
            if self.delay_s:
                await asyncio.sleep(self.delay_s)
            self.bytes += len(data)
            writer.write(data)
            await writer.drain()
        writer.transport.abort()

    def cut(self) -> None:
        """Nothing passes, and what is connected is thrown out."""
        self._up = False

        def abort() -> None:
            for one in list(self._writers):
                one.transport.abort()

        self._loop.call_soon_threadsafe(abort)

    def mend(self) -> None:
        """It passes again."""
        self._up = True

    def close(self) -> None:
        self.cut()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()


class Process:
    """A process of the fleet, with its output in a file; it can be killed and started again."""

    def __init__(self, name: str, command: Sequence[str], log: Path, extra: Mapping[str, str] | None = None) -> None:
        self.name = name
        self._command = list(command)
        self.log = log
        self._extra = dict(extra or {})
        self._running: subprocess.Popen[bytes] | None = None
        self.starts = 0

    def start(self, **extra: str) -> None:
        with self.log.open("ab") as out:
            self._running = subprocess.Popen(
                self._command, stdout=out, stderr=out, stdin=subprocess.DEVNULL,
                env={**os.environ, **self._extra, **extra}, start_new_session=True,
            )  # fmt: skip
        self.starts += 1

    @property
    def pid(self) -> int:
        return self._running.pid if self._running else 0

    @property
    def alive(self) -> bool:
        return self._running is not None and self._running.poll() is None

    def signal(self, number: signal.Signals) -> None:
        if self._running is not None and self.alive:
            self._running.send_signal(number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        if self._running is not None:
            self._running.wait(10)

    def stop(self, wait_s: float = 30.0) -> int:
        """SIGTERM, and SIGKILL for who does not heed it; returns the exit code."""
        if self._running is None:
            return 0
        self.signal(signal.SIGTERM)
        try:
            return self._running.wait(wait_s)
        except subprocess.TimeoutExpired:
            self.kill()
            return -9


def rmm(*words: str, timeout_s: float = 120.0, check: bool = True) -> str:
    """Run a command to its end; returns its output."""
    done = subprocess.run(
        [sys.executable, "-m", "rmm", *words], capture_output=True, text=True, check=False, timeout=timeout_s
    )
    if check and done.returncode:
        raise RuntimeError(f"rmm {' '.join(words)}: {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout


def wait_for(what: str, found: object, wait_s: float) -> None:
    """Until `found()` is true; RuntimeError when that takes longer."""
    end = time.monotonic() + wait_s
    while not found():  # type: ignore[operator]
        if time.monotonic() > end:
            raise RuntimeError(f"not in {wait_s:g} s: {what}")
        time.sleep(0.1)


class Lab:
    """Lab endpoints for all sites: one process, whose machines are dealt out."""

    def __init__(self, folder: Path, count: int) -> None:
        self.config = folder / "lab"
        ready = folder / "lab.ready"
        command = [sys.executable, "-m", "rmm", "lab", "up", "--endpoints", str(count), "--config", str(self.config)]
        self.process = Process("lab", [*command, "--ready-file", str(ready)], folder / "lab.log")
        self.process.start()
        wait_for("the lab", ready.exists, 60)
        self.info = json.loads((self.config / "lab.json").read_text(encoding="utf-8"))
        self.settings = yaml.safe_load((self.config / "rmm.yaml").read_text(encoding="utf-8"))
        with (self.config / "endpoints.csv").open(encoding="utf-8", newline="") as file:
            self.rows = list(csv.DictReader(file))

    def accounts(self) -> dict[str, AccountStats]:
        """What the lab's directory counted of logons, by account."""
        with urllib.request.urlopen(self.info["stats"], timeout=10) as answer:
            return msgspec.json.decode(answer.read(), type=Stats).accounts


def configure(
    folder: Path, lab: Lab, sites: Mapping[str, int], more: Mapping[str, object] | None = None, *, shards: int = 1
) -> None:
    """A hub's configuration: these sites with so many endpoints each, few collectors, short intervals."""
    folder.mkdir(parents=True)
    site = {key: value for key, value in lab.settings["sites"][0].items() if key not in ("id", "name")}
    names = {path.parent.name for path in shipped("collectors").glob("*/collector.yaml")}
    document = {
        "data": "data",
        "sites": [{**site, "id": name, "name": name, "shards": shards} for name in sites],
        "collectors": {"disable": sorted(names - FEW), "interval": dict.fromkeys(sorted(FEW), 15)},
        **dict(more or {}),
    }
    (folder / "rmm.yaml").write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    rows, text = iter(lab.rows), io.StringIO(newline="")
    writer = csv.DictWriter(text, lab.rows[0].keys(), lineterminator="\n")
    writer.writeheader()
    for name, count in sites.items():
        for _ in range(count):
            writer.writerow({**next(rows), "SiteId": name})
    (folder / "endpoints.csv").write_text(text.getvalue(), encoding="utf-8")
    for file in ("credentials.vault", "passphrase"):
        shutil.copy2(lab.config / file, folder / file)


def vault_of(source: Path, folder: Path, *, wrong: bool = False) -> None:
    """A site has a vault of its own; all of its collectors have a copy of it. `wrong`: with another password."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in ("credentials.vault", "passphrase"):
        shutil.copy2(source / file, folder / file)
    if wrong:
        vault = Vault.open(folder / "credentials.vault", (folder / "passphrase").read_text(encoding="utf-8").strip())
        vault.set(CREDENTIAL, vault.credential(CREDENTIAL).username, Secret("not the password"))


def tidy(processes: Sequence[Process]) -> None:
    """End all of them."""
    for one in processes:
        with contextlib.suppress(ProcessLookupError):
            one.signal(signal.SIGCONT)
            one.signal(signal.SIGTERM)
    for one in processes:
        one.stop(15)
