"""A real PostgreSQL server of the tests' own, and the fleet's database of a data folder in it."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine
from contextlib import closing
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from rmm.tiers.fleet_postgres import Server
from rmm.tiers.fleet_sqlite import InFolder, Place, folder

USER, PASSWORD = "rmm", "so-secret/&?"
URL = "RMM_TEST_CLUSTER"  # in the environment of processes that are to use the database as well


def programs() -> Path | None:
    """Where the server's programs are; None where there is no server."""
    found = shutil.which("initdb")
    places = [Path(found).resolve().parent] if found else []
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: -int(path.parent.name))
    return next((place for place in places if (place / "initdb").exists() and (place / "postgres").exists()), None)


def unprivileged() -> list[str]:
    """What to put before a command that refuses to be run by root."""
    if os.geteuid() != 0:
        return []
    return ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]


def bound_to_us() -> list[str]:
    """What to put before the server's command, so that it ends with these tests, also when they are killed."""
    found = unprivileged() or ["setpriv"]
    return [*found, "--pdeathsig", "INT"] if shutil.which("setpriv") else []


class Cluster:
    """One server on a free port of loopback and a socket, durable as by default; logons need the password."""

    def __init__(self) -> None:
        place = programs()
        if sys.platform == "win32" or place is None:
            pytest.skip("no PostgreSQL server here: install postgresql")
        self._programs = place
        # Its socket's path has to be short, and an account that is not ours must get there.
        self.folder = Path(tempfile.mkdtemp(prefix="rmm-pg-"))
        self.folder.chmod(0o755)
        if os.geteuid() == 0:
            shutil.chown(self.folder, "nobody", "nogroup")
        secret = self.folder / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        self._run("initdb", "-D", str(self.folder / "data"), "-U", USER, "-A", "scram-sha-256", "-E", "UTF8",
                  "--locale=C", f"--pwfile={secret}")  # fmt: skip
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None
        self._made: set[str] = set()
        self.start()

    def _run(self, program: str, *arguments: str) -> None:
        command = [*unprivileged(), str(self._programs / program), *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=self.folder)

    def start(self) -> None:
        """Start it, with all that it had; returns when it answers."""
        log = (self.folder / "log").open("ab")
        server = [*bound_to_us(), str(self._programs / "postgres"), "-D", str(self.folder / "data")]
        self._process = subprocess.Popen(
            [*server, "-p", str(self.port), "-k", str(self.folder), "-c", "listen_addresses=127.0.0.1",
             "-c", "max_connections=50"],
            stdout=log, stderr=log, cwd=self.folder, start_new_session=True,
        )  # fmt: skip
        log.close()
        until = time.monotonic() + 30
        while True:
            try:
                self.execute("SELECT 1")
                return
            except Exception:
                if time.monotonic() > until or self._process.poll() is not None:
                    raise RuntimeError((self.folder / "log").read_text()) from None
                time.sleep(0.05)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT: fast, connections are ended; SIGQUIT: at once, as if it had crashed."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(30)
            self._process = None

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def url(self, schema: str = "", password: str = PASSWORD, user: str = USER, database: str = "postgres") -> str:
        from urllib.parse import quote

        place = f"?search_path={schema}" if schema else ""
        return f"postgresql://{user}:{quote(password, safe='')}@127.0.0.1:{self.port}/{database}{place}"

    def execute(self, statement: str, schema: str = "", database: str = "postgres") -> list[tuple[Any, ...]]:
        """A statement's rows; a script, which has a semicolon, has none."""
        return asked(self.url(schema, database=database), statement)

    def schema(self, name: str) -> str:
        """Have a schema of this name, which tests that share it begin with as it is; returns the name."""
        if name not in self._made:
            self.execute(f"CREATE SCHEMA IF NOT EXISTS {name}")
            self._made.add(name)
        return name

    def of_folder(self, data: Path) -> Server:
        """The database that stands for a data folder's file."""
        return Server(self.url(self.schema(schema_of(data))))


def schema_of(data: Path) -> str:
    return "t" + hashlib.sha256(os.fspath(data.absolute()).encode()).hexdigest()[:20]


def instead_of_files(monkeypatch: pytest.MonkeyPatch, cluster: Cluster) -> None:
    """From now on the fleet's database of any data folder is in the cluster, in child processes by `adopt` as well."""
    monkeypatch.setattr(folder, "InFolder", cluster.of_folder)
    monkeypatch.setenv(URL, cluster.url())


def setting_of(data: Path) -> str:
    """`hub.database` for a data folder; empty where that is its file."""
    url = os.environ.get(URL)
    if not url:
        return ""
    schema = schema_of(data)
    asked(url, f"CREATE SCHEMA IF NOT EXISTS {schema};")
    return f"{url}?search_path={schema}"


def adopt() -> None:
    """In a child process: use the cluster where the test that began it does."""
    url = os.environ.get(URL)
    if not url:
        return

    def server(data: Path) -> Server:
        return Server(setting_of(data))

    folder.InFolder = server  # type: ignore[assignment, misc]


def rows(data: Path, statement: str) -> list[tuple[Any, ...]]:
    """What the fleet's database of a data folder holds, wherever it is; also for statements that write."""
    place: Place = folder.InFolder(data)
    if isinstance(place, InFolder):
        with closing(sqlite3.connect(data / "fleet.sqlite", isolation_level=None)) as file:
            return file.execute(statement).fetchall()

    return asked(f"{os.environ[URL]}?search_path={schema_of(data)}", statement)


def asked(url: str, statement: str) -> list[tuple[Any, ...]]:
    """Rows of a statement; a script, which has a semicolon, has none."""

    async def ask() -> list[tuple[Any, ...]]:
        connection = await asyncpg.connect(url, timeout=5)
        try:
            if ";" in statement:
                await connection.execute(statement)
                return []
            return [tuple(row) for row in await connection.fetch(statement)]
        finally:
            await connection.close()

    found: list[tuple[Any, ...]] = in_thread(ask)
    return found


def in_thread(work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """Also within an event loop."""
    found: list[Any] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            found.append(asyncio.run(work()))
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return found[0]
