"""Channels against a real server that takes, refuses, hangs or is not there; and what survives a kill."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from folding import START, Opener, Time, content, encoded

from rmm.channels import log, webhook
from rmm.channels.memory import MemoryChannel
from rmm.errors import ConfigError, RmmError
from rmm.model.rule import Alert, Notification

pytestmark = pytest.mark.databases("sqlite", "postgres")

FULL = [{"volume": "C:", "used_pct": 99.0}]


class Receiver:
    """Takes webhooks. `mode` is ok, error, hang or trickle."""

    def __init__(self) -> None:
        self.mode = "ok"
        self.taken: list[tuple[str, dict[str, Any]]] = []
        receiver, self.stop = self, threading.Event()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if receiver.mode == "hang":
                    receiver.stop.wait(30)
                    return
                if receiver.mode == "trickle":
                    while not receiver.stop.wait(0.05):
                        try:
                            self.wfile.write(b"x")
                        except OSError:
                            return
                    return
                receiver.taken.append((self.headers["Idempotency-Key"], body))
                self.send_response(200 if receiver.mode == "ok" else 500)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/hook?x=1"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))
        self.thread.start()

    def close(self) -> None:
        self.stop.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    one = Receiver()
    yield one
    one.close()


def notification(endpoint: str = "a") -> Notification:
    alert = Alert(
        key=f"r|{endpoint}|", rule="r", endpoint=endpoint, name="A", site="s", severity="critical", state="firing",
        summary="ümlaut\r\nX: y", value=1, first_at=START, last_at=START,
    )  # fmt: skip
    return Notification(id=f"{alert.key}@1:firing", kind="firing", at=START, alerts=(alert,))


async def send(channel: Any, seconds: float = 5.0, endpoint: str = "a") -> str:
    deadline = asyncio.get_running_loop().time() + seconds
    async with asyncio.timeout_at(deadline):
        return str(await channel.send(notification(endpoint), deadline=deadline))


async def test_a_webhook_is_taken(receiver: Receiver) -> None:
    hook = webhook.build(name="w", options={"url": receiver.url, "headers": {"X-Key": "1"}})
    assert await send(hook) == "HTTP 200"
    ((key, body),) = receiver.taken
    assert key == "r|a|@1:firing"
    assert body["version"] == 1 and body["alerts"][0]["summary"] == "ümlaut\r\nX: y"


async def test_a_hostile_name_is_no_header(receiver: Receiver) -> None:
    hook = webhook.build(name="w", options={"url": receiver.url})
    await send(hook, endpoint="b\r\nEvil: ü")
    assert [key for key, _ in receiver.taken] == ["r|b%0D%0AEvil:%20%C3%BC|@1:firing"]


async def test_a_webhook_that_fails(receiver: Receiver) -> None:
    hook = webhook.build(name="w", options={"url": receiver.url})
    receiver.mode = "error"
    with pytest.raises(RmmError, match="HTTP 500"):
        await send(hook)
    for mode in ("hang", "trickle"):
        receiver.mode = mode
        began = time.monotonic()
        with pytest.raises((RmmError, TimeoutError)):
            await send(hook, 0.6)
        assert time.monotonic() - began < 3
    receiver.close()
    with pytest.raises(RmmError):
        await send(hook)


@pytest.mark.parametrize(
    "options", [{}, {"url": "ftp://x"}, {"url": "http://x", "key": 1}, {"url": "http://x", "headers": {"a": "b\r\nc"}}]
)
def test_wrong_options(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        webhook.build(name="w", options=options)


async def test_the_log(tmp_path: Path) -> None:
    channel = log.build(name="log", options={"file": str(tmp_path / "deep" / "n.log")})
    await send(channel)
    await send(channel, endpoint="b")
    lines = (tmp_path / "deep" / "n.log").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["alerts"][0]["endpoint"] for line in lines] == ["a", "b"]
    with pytest.raises(ConfigError):
        log.build(name="log", options={"path": "x"})
    (tmp_path / "folder").mkdir()
    with pytest.raises(RmmError):
        await send(log.build(name="log", options={"file": str(tmp_path / "folder")}))


class Buggy(MemoryChannel):
    async def send(self, notification: Notification, *, deadline: float) -> str:
        raise ZeroDivisionError


async def test_a_broken_channel_delays_no_other(opened: Opener, clock: Time, receiver: Receiver) -> None:
    receiver.mode = "hang"
    hook = webhook.build(name="hook", options={"url": receiver.url})
    good = MemoryChannel("good")
    async with opened(channels=[Buggy("buggy"), hook, good]) as coordinator:
        began = time.monotonic()
        # More than one page of the outbox, so that a backlog of the broken ones would starve the good one.
        for letter in "ef":  # each on a site of its own, or they would be one incident
            batch = [encoded(f"{letter}{n}", clock.at, 1, "OK", f"{letter}{n}", volumes=FULL) for n in range(300)]
            await coordinator.fold(batch)
        while len(good.sent) < 300:
            await asyncio.sleep(0.01)
            assert time.monotonic() - began < 5
    assert len({one.id for one in good.sent}) == len(good.sent)


async def test_a_channel_that_comes_back_gets_everything_in_order(
    opened: Opener, clock: Time, channel: MemoryChannel
) -> None:
    channel.broken = True
    for number in range(30):  # more often than it is tried at the head of the queue
        async with opened() as coordinator:
            await coordinator.fold([encoded(f"e{number:02}", clock.at, number + 1, volumes=FULL)])
            await coordinator.finish()
        clock.add(minutes=5)
    channel.broken = False
    async with opened() as coordinator:
        await coordinator.finish()
    assert {one.alerts[0].endpoint for one in channel.sent} == {f"e{number:02}" for number in range(30)}


POSTGRES = Path(__file__).parents[1] / "postgres"

CHILD = """
import asyncio, os, signal, sys
from datetime import UTC, datetime
from pathlib import Path
sys.path.insert(0, sys.argv[4])
from cluster import adopt
adopt()
from rmm.channels.webhook import WebhookChannel
from rmm.coordinator import Coordinator
from rmm.model.rule import Rule
from rmm.settings.rules import shipped_rules
from rmm.loop import SystemClock

class Stopped(WebhookChannel):
    async def send(self, notification, *, deadline):
        if sys.argv[3] == "after":
            await super().send(notification, deadline=deadline)  # taken, and not yet marked as such
        os.kill(os.getpid(), signal.SIGKILL)

async def main():
    disk = Rule(id="volume_full", collector="volumes", field="used_pct", critical=90)
    hook = (Stopped if sys.argv[3] != "no" else WebhookChannel)("hook", sys.argv[2], {}, "")
    rules = [*shipped_rules(), disk]
    keys = {"volumes": ("volume",)}
    async with Coordinator.open(Path(sys.argv[1]), rules=rules, keys=keys, channels=[hook], clock=SystemClock()) as it:
        await it.fold([line.rstrip(b"\\n") for line in sys.stdin.buffer])
        await it.finish()

asyncio.run(main())
"""


@pytest.mark.crash
@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_kill_between_commit_and_delivery(tmp_path: Path, receiver: Receiver, clock: Time, moment: str) -> None:
    now = datetime.now(UTC)  # each on a site of its own, or they would be one incident
    batch = b"\n".join(encoded(f"e{n}", now, 1, "OK", f"s{n}", volumes=FULL) for n in range(5)) + b"\n"

    def child(mode: str) -> int:
        command = [sys.executable, "-c", CHILD, str(tmp_path), receiver.url, mode, os.fspath(POSTGRES)]
        return subprocess.run(command, input=batch, timeout=60, check=False).returncode

    assert child(moment) == -9
    decided = content(tmp_path)["outbox"]
    assert len(decided) == 5
    assert child(moment) == -9
    assert child("no") == 0  # the same observations again: nothing new is decided
    assert content(tmp_path)["outbox"] == decided
    keys = [key for key, _ in receiver.taken]
    assert set(keys) == {row[0] for row in decided}
    assert len(keys) == (5 if moment == "before" else 7)  # what was taken twice has the same id
    assert child("no") == 0
    assert len(receiver.taken) == len(keys)
