"""Alertmanager's API of our own: what is pushed, what is refused, what amtool makes of it."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from folding import START, Opener, Time, encoded

from rmm.channels.memory import MemoryChannel
from rmm.coordinator import alert_api
from rmm.coordinator.alert_api import AlertApi
from rmm.core.alerting.external import Posted, Refused, changes, expired, filters_of, key_of, passes
from rmm.errors import ConfigError
from rmm.model.endpoint import Secret

pytestmark = pytest.mark.databases("sqlite", "postgres")

TOKEN = "a-token-of-those-who-push"
DISK = {"labels": {"alertname": "DiskFull", "instance": "db1", "severity": "page"}, "annotations": {"summary": "full"}}
AMTOOL = shutil.which("amtool") or shutil.which("amtool", path=str(Path(sys.prefix) / "amtool" / "usr" / "bin"))


class Client:
    def __init__(self, url: str) -> None:
        self.url = url
        host, _, port = url.removeprefix("http://").rpartition(":")
        self._place = host, int(port)

    async def raw(self, data: bytes) -> bytes:
        reader, writer = await asyncio.open_connection(*self._place)
        writer.write(data)
        answer = await reader.read()
        writer.close()
        return answer

    async def ask(self, method: str, path: str, body: Any = None, token: str = TOKEN) -> tuple[int, Any]:
        data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        head = f"{method} /api/v2/{path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
        answer = await self.raw(head.encode() + b"Content-Length: %d\r\n\r\n" % len(data) + data)
        top, _, content = answer.partition(b"\r\n\r\n")
        return int(top.split()[1]), json.loads(content) if content else None


@asynccontextmanager
async def serving(opened: Opener, clock: Time) -> AsyncIterator[tuple[Client, Any]]:
    ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    async with opened() as coordinator:
        api = AlertApi(coordinator._place, coordinator, Secret(TOKEN), ["memory"], clock)
        task = asyncio.create_task(api.serve("127.0.0.1", 0, ready.set_result))
        try:
            yield Client(await asyncio.wait_for(ready, 5)), coordinator
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def test_what_is_pushed_is_told_and_ends(opened: Opener, clock: Time, channel: MemoryChannel) -> None:
    async with serving(opened, clock) as (client, coordinator):
        assert await client.ask("POST", "alerts", [DISK]) == (200, None)
        assert await client.ask("POST", "alerts", [DISK, DISK]) == (200, None)
        await coordinator.finish()
        ((alert,),) = (one.alerts for one in channel.sent)
        assert (alert.rule, alert.name, alert.severity, alert.summary) == (
            "external:DiskFull",
            "db1",
            "critical",
            "full",
        )
        status, found = await client.ask("GET", "alerts?filter=alertname%3D%22DiskFull%22")
        assert status == 200 and found[0]["labels"] == DISK["labels"]
        assert (await client.ask("GET", "alerts?filter=alertname%21%3DDiskFull"))[1] == []
        # A round of a site does not end it, nor does another process.
        await coordinator.fold([encoded("e", clock.at, 1, cpu=[])])
        await coordinator.finish()
        assert len((await client.ask("GET", "alerts"))[1]) == 1
        ended = {**DISK, "endsAt": clock.at.isoformat()}
        assert await client.ask("POST", "alerts", [ended]) == (200, None)
        await coordinator.finish()
        assert [one.kind for one in channel.sent] == ["firing", "resolved"]
        assert (await client.ask("GET", "alerts"))[1] == []


async def test_what_nobody_pushes_any_more_ends(
    opened: Opener, clock: Time, channel: MemoryChannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alert_api, "EXPIRE_S", 0.05)
    async with serving(opened, clock) as (client, _):
        await client.ask("POST", "alerts", [DISK])
        clock.add(minutes=4)
        await asyncio.sleep(0.3)
        assert len((await client.ask("GET", "alerts"))[1]) == 1
        clock.add(minutes=2)
        for _ in range(100):
            await asyncio.sleep(0.05)
            if len(channel.sent) == 2:
                break
    assert [one.kind for one in channel.sent] == ["firing", "resolved"]


async def test_who_may_not_and_what_is_not_taken(opened: Opener, clock: Time, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(opened, clock) as (client, coordinator):
        for token in ("", "wrong", TOKEN + "x"):
            assert (await client.ask("POST", "alerts", [DISK], token))[0] == 401
            assert (await client.ask("GET", "status", None, token))[0] == 401
        wrong: list[Any] = [
            b"{", b"[1]", b"\xff", b"[" * 10_000, [{}], [{"labels": {}}], [{"labels": {"a": ""}}],
            [{"labels": {"a b": "c"}}],
            [{"labels": {"a": "x" * 3000}}], [{"labels": {f"a{n}": "x" for n in range(100)}}], [DISK] * 1001,
            [{**DISK, "startsAt": "soon"}],
        ]  # fmt: skip
        for body in wrong:
            status, said = await client.ask("POST", "alerts", body)
            assert status == 400 and isinstance(said, str), body
        assert (await client.ask("POST", "alerts", b" " * (2 << 20)))[0] == 413
        assert (await client.ask("DELETE", "alerts"))[0] == 404
        assert (await client.ask("GET", "alerts?filter=a%3D~b"))[0] == 400
        assert (await client.raw(b"GET / HTTP/1.1\r\nX: " + b"a" * 40_000 + b"\r\n\r\n")).startswith(b"HTTP/1.1 431")
        assert (await client.raw(b"\x00\x01\r\n\r\n")).startswith(b"HTTP/1.1 400")
        monkeypatch.setattr(alert_api, "REQUEST_S", 0.2)
        assert await client.raw(b"GET /api/v2/st") == b""
        assert await coordinator.alerts() == []
        with pytest.raises(ConfigError, match="loopback"):
            await AlertApi(coordinator._place, coordinator, Secret(TOKEN), [], clock).serve("0.0.0.0", 0, print)


@pytest.mark.skipif(AMTOOL is None, reason="no amtool")
async def test_amtool(opened: Opener, clock: Time, tmp_path: Path) -> None:
    (tmp_path / "http.yml").write_text(f"authorization: {{credentials: {TOKEN}}}\n")

    def amtool(*words: str) -> str:
        command = [
            str(AMTOOL),
            f"--alertmanager.url={client.url}",
            f"--http.config.file={tmp_path / 'http.yml'}",
            *words,
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    async with serving(opened, clock) as (client, _):
        await asyncio.to_thread(amtool, "alert", "add", "DiskFull", "instance=db1", "--annotation=summary=disk is full")
        found = json.loads(await asyncio.to_thread(amtool, "alert", "query", "-o", "json", "DiskFull"))
        assert [one["annotations"]["summary"] for one in found] == ["disk is full"]
        assert "disk is full" in await asyncio.to_thread(amtool, "alert", "query")
        assert "rmm notify list" in await asyncio.to_thread(amtool, "config", "show")
        assert "disabled" in await asyncio.to_thread(amtool, "cluster", "show")
        words = ("silence", "add", "alertname=external:DiskFull", "-d", "2h", "-a", "me", "-c", "why")
        number = (await asyncio.to_thread(amtool, *words)).strip()
        found = json.loads(await asyncio.to_thread(amtool, "silence", "query", "-o", "json"))
        assert [(one["id"], one["createdBy"], one["comment"]) for one in found] == [(number, "me", "why")]
        assert found[0]["matchers"][0]["value"] == "external:DiskFull"
        await asyncio.to_thread(amtool, "silence", "expire", number)
        assert json.loads(await asyncio.to_thread(amtool, "silence", "query", "-o", "json")) == []


def test_what_pushes_make_of_alerts() -> None:
    one = Posted({"alertname": "a|b\r\n", "x": "1"})
    (change,) = changes([one], {}, START)
    alert = change.alert
    assert (
        alert.key == key_of({"x": "1", "alertname": "a|b\r\n"}) and alert.key.count("|") == 2 and "\n" not in alert.key
    )
    live = {alert.key: alert}
    (again,) = changes([one], live, START + timedelta(minutes=1))
    assert (again.tell, again.alert.count, again.alert.first_at) == ("", 2, START)
    (worse,) = changes([Posted({**one.labels}, endsAt=START + timedelta(days=400))], live, START)
    assert worse.alert.value["ends_at"] < (START + timedelta(days=8)).isoformat()
    assert expired(live, START + timedelta(minutes=4)) == []
    assert [one.tell for one in expired(live, START + timedelta(minutes=5))] == ["resolved"]
    assert changes([Posted(one.labels, endsAt=START)], {}, START) == []  # the end of what is not known
    many = {str(n): msgspec.structs.replace(alert, key=str(n)) for n in range(10_000)}
    with pytest.raises(Refused):
        changes([one], many, START)
    assert passes({"a": 'x"y'}, filters_of(['a="x\\"y"', "b!=c", "{a!=z}"]))
    assert not passes({"a": "x"}, filters_of(["a!=x"]))
    with pytest.raises(Refused):
        filters_of(["nonsense"])
