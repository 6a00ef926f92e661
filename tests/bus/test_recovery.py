"""Brokers and subscribers that are killed: nothing confirmed is lost, nothing unacknowledged is purged."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import nats_servers
import pytest

from rmm.bus.jetstream import JetStreamBus, Login, open_bus
from rmm.bus.provision import make_streams
from rmm.errors import BusError, BusFull, KeyTaken

ACK_WAIT_S = 3.0
WORKER = Path(__file__).with_name("bus_worker.py")


async def until(condition: Callable[[], Any], within_s: float = 20.0) -> None:
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.02)


def lines(file: Path) -> list[bytes]:
    return file.read_bytes().split() if file.exists() else []


def messages(one: nats_servers.Server) -> int:
    """That the stream of envelopes has."""
    found = one.monitor("jsz?streams=true&accounts=true")["account_details"][0]["stream_detail"]
    return int(next(stream for stream in found if stream["name"] == "RMM_UP")["state"]["messages"])


class Traffic:
    """Publishers and subscribers that go on whatever happens, and what they know at the end."""

    def __init__(self, login: Login) -> None:
        self.login = login
        self.confirmed: set[bytes] = set()
        self.acknowledged: set[bytes] = set()
        self.stop = asyncio.Event()

    def has(self, count: int) -> bool:
        return len(self.confirmed) > count

    async def publish(self, site: str) -> None:
        number = 0
        async with open_bus(self.login, patient=True) as bus:
            while not self.stop.is_set():
                number += 1
                data = f"{site} {number}".encode()
                try:
                    await bus.publish(f"rmm.up.{site}", data)
                    self.confirmed.add(data)
                except BusFull:
                    await asyncio.sleep(0.02)
                except BusError:
                    await asyncio.sleep(0.05)

    async def subscribe(self) -> None:
        async with (
            open_bus(self.login, patient=True, ack_wait_s=ACK_WAIT_S) as bus,
            bus.subscribe("rmm.up.*") as found,
        ):
            async for delivery in found:
                if random.random() < 0.03:
                    with contextlib.suppress(BusError):
                        await delivery.later(0.1)
                    continue
                await asyncio.sleep(random.choice((0, 0, 0, 0.005)))
                self.acknowledged.add(delivery.data)
                await delivery.ack()

    async def run(self, faults: Callable[[], Awaitable[None]]) -> None:
        """Under these faults; then until everything that was confirmed has been acknowledged."""
        publishers = [asyncio.create_task(self.publish(site)) for site in ("a", "b", "c")]
        subscribers = [asyncio.create_task(self.subscribe()) for _ in range(2)]
        try:
            await faults()
            self.stop.set()
            await asyncio.gather(*publishers)
            await until(lambda: self.confirmed <= self.acknowledged, 45)
        finally:
            for task in (*publishers, *subscribers):
                task.cancel()
            await asyncio.gather(*publishers, *subscribers, return_exceptions=True)


async def emptied(login: Login, servers: list[nats_servers.Server]) -> None:
    """Acknowledge what is left (whose confirmation or acknowledgement was lost): then the brokers have nothing."""

    async def rest(bus: JetStreamBus) -> None:
        async with bus.subscribe("rmm.up.*") as found:
            async for delivery in found:
                await delivery.ack()

    async with open_bus(login, ack_wait_s=ACK_WAIT_S) as bus:
        task = asyncio.create_task(rest(bus))
        await until(lambda: all(messages(one) == 0 for one in servers), 20)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.mark.crash
async def test_a_broker_that_is_killed_again_and_again_loses_nothing() -> None:
    with nats_servers.server() as broker:
        login = Login(urls=(broker.url,))
        async with open_bus(login) as bus:
            await make_streams(bus.link, sites=("a", "b", "c"))
        traffic = Traffic(login)

        async def faults() -> None:
            for _ in range(4):
                await asyncio.sleep(random.uniform(0.3, 0.9))
                broker.kill()
                await asyncio.sleep(random.uniform(0, 0.3))
                await asyncio.to_thread(broker.start)
            before = len(traffic.confirmed)
            await until(lambda: len(traffic.confirmed) > before + 50)

        await traffic.run(faults)
        assert len(traffic.confirmed) > 200
        await emptied(login, [broker])


@pytest.mark.crash
@pytest.mark.slow
async def test_a_cluster_whose_servers_are_killed_in_turn_loses_nothing() -> None:
    with nats_servers.cluster(3) as three:
        login = Login(urls=tuple(three.urls))
        async with open_bus(login) as bus:
            await make_streams(bus.link, sites=("a", "b", "c"), replicas=3)
        traffic = Traffic(login)

        async def faults() -> None:
            for one in (*three.servers, three.servers[0]):
                await asyncio.sleep(1.0)
                one.kill()
                enough = len(traffic.confirmed) + 20
                await until(partial(traffic.has, enough), 30)  # two of three go on
                await asyncio.to_thread(one.start)

        await traffic.run(faults)
        await emptied(login, three.servers)


@pytest.mark.crash
async def test_a_subscriber_that_is_killed_loses_nothing_and_its_messages_go_on(tmp_path: Path) -> None:
    with nats_servers.server() as broker:
        login = Login(urls=(broker.url,))
        async with open_bus(login, ack_wait_s=ACK_WAIT_S) as bus:
            await make_streams(bus.link, sites=("a", "b"), share=2000)
            written = tmp_path / "acknowledged"
            published = {b"%d" % n for n in range(3000)}

            async def publish() -> None:
                for data in sorted(published, key=int):
                    await bus.publish(f"rmm.up.{'ab'[int(data) % 2]}", data)

            publishing = asyncio.create_task(publish())
            for _ in range(6):
                workers = [
                    subprocess.Popen([sys.executable, str(WORKER), broker.url, str(written)], env=dict(os.environ))
                    for _ in range(2)
                ]
                enough = len(lines(written)) + 50
                while len(lines(written)) < enough and not publishing.done():
                    await asyncio.sleep(0.02)
                await asyncio.sleep(random.uniform(0, 0.2))
                for worker in workers:
                    worker.kill()
                    worker.wait()
            await publishing
            known = set(lines(written))
            assert len(known) > 100
            async with bus.subscribe("rmm.up.*") as found, asyncio.timeout(30):
                while len(known) < len(published):
                    delivery = await anext(found)
                    known.add(delivery.data)
                    await delivery.ack()
            assert known == published
        await emptied(login, [broker])


async def test_what_is_held_back_keeps_nothing_else_in_the_broker() -> None:
    with nats_servers.server() as broker:
        async with open_bus(Login(urls=(broker.url,))) as bus:
            await make_streams(bus.link, sites=("a",))
            for n in range(50):
                await bus.publish("rmm.up.a" if n % 2 else "rmm.up.b", b"%d" % n)
            async with bus.subscribe("rmm.up.*") as found:
                held = [await anext(found) for _ in range(50)]
                for delivery in held[1:40]:
                    await delivery.ack()
                await until(lambda: messages(broker) == 11)
                for delivery in (*held[40:], held[0]):
                    await delivery.ack()
                await until(lambda: messages(broker) == 0)


async def test_listeners_and_questions_go_on_after_a_restart(caplog: Any) -> None:
    async def reply(subject: str, question: bytes) -> bytes:
        return question

    with nats_servers.server() as broker:
        login = Login(urls=(broker.url,))
        async with (
            open_bus(login) as bus,
            open_bus(login) as other,
            bus.hear("rmm.beat.*") as told,
            bus.answer("rmm.ask.>", reply),
        ):
            async with asyncio.timeout(5):
                await other.tell("rmm.beat.a", b"1")
                assert (await anext(told)).data == b"1"
            broker.kill()
            await until(lambda: not other.connected)
            began = time.monotonic()
            calls = (other.tell("rmm.beat.a", b"lost"), other.publish("rmm.up.a", b"lost"))
            said = await asyncio.gather(*calls, return_exceptions=True)
            assert [one.code for one in said if isinstance(one, BusError)] == ["bus.down", "bus.down"]
            assert time.monotonic() - began < 7
            assert not bus.connected
            assert bus.trouble is not None
            await asyncio.to_thread(broker.start)
            await until(lambda: bus.connected and other.connected)
            await other.tell("rmm.beat.a", b"2")
            async with asyncio.timeout(5):
                assert (await anext(told)).data == b"2"
            assert await other.ask("rmm.ask.a.x", b"again", timeout_s=5) == b"again"
    warnings = [one for one in caplog.records if one.levelname == "WARNING"]
    assert len(warnings) <= 2 * len((bus, other))  # lost, and refused: not one for each attempt


async def test_a_connection_whose_closing_fails_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a while of standing still: the server gives it up, and what waits can be written to nobody any more."""

    async def reset() -> None:
        raise ConnectionResetError("Connection lost")

    with nats_servers.server() as broker:
        login = Login(urls=(broker.url,))
        async with open_bus(login) as bus, open_bus(login) as other, bus.hear("rmm.beat.*") as told:
            client = bus.link.client
            assert client is not None
            transport: Any = client._transport
            monkeypatch.setattr(transport, "drain", reset)
            monkeypatch.setattr(client, "_flush_pending", reset)
            with contextlib.suppress(ConnectionResetError):
                await client._process_err("stale connection")
            assert client.is_closed
            await until(lambda: bus.connected and bus.link.client is not client, 5.0)
            await other.tell("rmm.beat.a", b"1")
            async with asyncio.timeout(5):
                assert (await anext(told)).data == b"1"
            await until(lambda: transport._io_writer.is_closing(), 5.0)


async def test_a_broker_that_stands_still_is_given_up() -> None:
    with nats_servers.server() as broker:
        async with open_bus(Login(urls=(broker.url,))) as bus:
            await make_streams(bus.link, sites=("a",))
            broker.pause()
            began = time.monotonic()
            with pytest.raises(BusError) as error:
                await bus.publish("rmm.up.a", b"x" * 500_000)
            assert error.value.code == "bus.timeout"
            assert time.monotonic() - began < 8
            broker.resume()
            async with asyncio.timeout(30):
                while True:
                    with contextlib.suppress(BusError):
                        await bus.publish("rmm.up.a", b"y")
                        break


async def test_without_a_broker_it_says_so_or_waits() -> None:
    [port] = nats_servers.free_ports(1)
    login = Login(urls=(f"nats://127.0.0.1:{port}",))
    with pytest.raises(BusError) as error:
        async with open_bus(login, wait_s=0.3):
            pass
    assert error.value.code == "bus.down"
    assert "refused" in str(error.value) or "failed" in str(error.value)
    with nats_servers.server() as broker:
        broker.kill()
        async with open_bus(Login(urls=(broker.url,)), wait_s=0.1, patient=True) as bus, bus.hear("x.y") as told:
            assert not bus.connected
            await asyncio.to_thread(broker.start)
            await until(lambda: bus.connected)
            await bus.tell("x.y", b"1")
            assert (await anext(told)).data == b"1"


async def test_a_stream_that_was_made_anew_loses_nothing_of_what_is_new() -> None:
    """The same numbers, other messages: what was acknowledged before says nothing of them."""
    with nats_servers.server() as broker:
        async with open_bus(Login(urls=(broker.url,))) as bus:
            await make_streams(bus.link, sites=("a",))
            async with bus.subscribe("rmm.up.*") as found:
                for n in range(5):
                    await bus.publish("rmm.up.a", b"old %d" % n)
                    await (await anext(found)).ack()
                await bus.link.request("$JS.API.STREAM.DELETE.RMM_UP")
                await make_streams(bus.link, sites=("a",))
                for n in range(5):
                    await bus.publish("rmm.up.a", b"new %d" % n)
                async with asyncio.timeout(15):
                    got = [await anext(found) for _ in range(5)]
                assert [one.data for one in got] == [b"new %d" % n for n in range(5)]
                await asyncio.sleep(1.5)
                assert messages(broker) == 5


@pytest.mark.crash
async def test_revisions_never_go_back() -> None:
    """A fencing token that came twice would let a stale holder write: not over a kill, nor with the bucket empty."""
    with nats_servers.server() as broker:
        async with open_bus(Login(urls=(broker.url,))) as bus:
            await make_streams(bus.link, sites=("a",))
            keys = bus.keys("rmm_leases", ttl_s=1)
            highest = 0
            for n in range(4):
                async with asyncio.timeout(20):
                    while True:
                        try:
                            revision = await keys.put("a.shard.1", b"x", after=0)
                            break
                        except (BusError, KeyTaken):  # not connected yet, or its time is not over
                            await asyncio.sleep(0.05)
                assert revision > highest
                highest = revision
                if n % 2:
                    await keys.drop("a.shard.1", after=revision)
                broker.kill()
                await asyncio.to_thread(broker.start)


def test_nothing_but_its_own_log_is_on_stderr(tmp_path: Path) -> None:
    """Whatever happens to the connection: no traceback, no warning of a task or socket that was left."""
    script = tmp_path / "noisy.py"
    script.write_text(
        "import asyncio, gc, sys\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "import nats_servers\n"
        "from rmm.bus.jetstream import JetStreamBus, Login, open_bus\n"
        "from rmm.bus.provision import make_streams\n"
        "from rmm.errors import BusError\n"
        "async def work(bus):\n"
        "    async with bus.subscribe('rmm.up.*') as found, bus.hear('a.b') as told:\n"
        "        async for one in found:\n"
        "            pass\n"
        "async def main(broker):\n"
        "    async with open_bus(Login(urls=(broker.url,))) as bus:\n"
        "        await make_streams(bus.link, sites=('a',))\n"
        "        task = asyncio.create_task(work(bus))\n"
        "        await bus.publish('rmm.up.a', b'1')\n"
        "        await asyncio.sleep(0.2)\n"
        "        broker.kill()\n"
        "        asking = asyncio.create_task(bus.ask('a.c', b'', timeout_s=1))\n"
        "        await asyncio.sleep(0.5)\n"
        "        await asyncio.to_thread(broker.start)\n"
        "        await asyncio.gather(asking, return_exceptions=True)\n"
        "        await asyncio.sleep(1)\n"
        "        task.cancel()\n"
        "        await asyncio.gather(task, return_exceptions=True)\n"
        "    async with open_bus(Login(urls=(broker.url,))) as bus:\n"
        "        broker.kill()\n"
        "    assert asyncio.all_tasks() == {asyncio.current_task()}, asyncio.all_tasks()\n"
        "with nats_servers.server() as broker:\n"
        "    asyncio.run(main(broker))\n"
        "gc.collect()\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "always", str(script)], capture_output=True, text=True, timeout=60, env=dict(os.environ)
    )
    lines = [line for line in done.stderr.splitlines() if not line.startswith("no connection to the broker")]
    assert (done.returncode, lines) == (0, [])
