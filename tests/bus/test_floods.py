"""A site that says as much as its connection carries: others are heard and answered by the hub meanwhile."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import nats_servers
import pytest

from rmm.bus.jetstream import SHARE, Login, open_bus
from rmm.bus.link import Listening, begin, end
from rmm.bus.provision import make_streams
from rmm.errors import BusError

SITES = ("a", "b")

# No client: bytes, as quickly as the server takes them.
FLOOD = """
import socket, sys, threading
host, port, subject, reply, size = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4], int(sys.argv[5])
there = socket.create_connection((host, port))
there.sendall(b'CONNECT {"verbose":false,"pedantic":false}\\r\\n')

def read():
    while data := there.recv(65536):
        if b'PING' in data:
            there.sendall(b'PONG\\r\\n')

threading.Thread(target=read, daemon=True).start()
one = f'PUB {subject} {reply} {size}\\r\\n'.encode() + b'x' * size + b'\\r\\n'
many = one * max(1, 65536 // len(one))
while True:
    there.sendall(many)
    print(many.count(b'PUB '), flush=True)
"""


@contextmanager
def flood(broker: nats_servers.Server, subject: str, *, reply: str = "", size: int = 10) -> Iterator[list[int]]:
    """While this lasts; then how many messages that were is in the list."""
    sent: list[int] = []
    arguments = ["127.0.0.1", str(broker.port), subject, reply, str(size)]
    process = subprocess.Popen([sys.executable, "-c", FLOOD, *arguments], stdout=subprocess.PIPE, text=True)
    try:
        yield sent
    finally:
        process.kill()
        said, _ = process.communicate()
        sent.extend(int(line) for line in said.split())


@pytest.mark.parametrize("size", [10, 3000])
async def test_beats_of_others_are_heard_while_one_site_floods(size: int, caplog: Any) -> None:
    with nats_servers.server() as broker:
        login = Login(urls=(broker.url,))
        async with open_bus(login, sites=SITES) as hub, open_bus(login) as other, hub.hear("rmm.beat.*") as told:
            heard: Counter[str] = Counter()

            async def listen() -> None:
                async for one in told:
                    heard[one.subject] += 1

            task = asyncio.create_task(listen())
            with flood(broker, "rmm.beat.a", size=size) as sent:
                while not heard["rmm.beat.a"]:
                    await asyncio.sleep(0.02)
                for _ in range(10):
                    await other.tell("rmm.beat.b", b"x")
                    await asyncio.sleep(0.2)
            await asyncio.sleep(0.5)
            task.cancel()
    print("a said", sum(sent), "heard", dict(heard))
    assert sum(sent) > 20 * heard["rmm.beat.b"]
    assert heard["rmm.beat.b"] >= 9
    assert len(caplog.records) <= 2


async def test_others_are_answered_while_one_site_floods(caplog: Any) -> None:
    async def reply(subject: str, question: bytes) -> bytes:
        await asyncio.to_thread(time.sleep, 0.01)  # as one that looks into files
        return b"ok"

    with nats_servers.server() as broker:
        login = Login(urls=(broker.url,))
        async with open_bus(login, sites=SITES) as hub, open_bus(login) as other, hub.answer("rmm.ask.*.bundle", reply):
            answered, took = 0, []
            with flood(broker, "rmm.ask.a.bundle", reply="_INBOX.x.y") as sent:
                await asyncio.sleep(0.5)
                for _ in range(8):
                    began = time.monotonic()
                    try:
                        answered += await other.ask("rmm.ask.b.bundle", b"", timeout_s=1.0) == b"ok"
                        took.append(round(time.monotonic() - began, 3))
                    except BusError:
                        pass
    print("a asked", sum(sent), "b was answered", answered, took)
    assert sum(sent) > 10_000
    assert answered >= 7
    assert len(caplog.records) <= 2


async def test_what_sites_publish_comes_while_one_floods_with_beats(caplog: Any) -> None:
    with nats_servers.server() as broker:
        login = Login(urls=(broker.url,))
        async with open_bus(login, sites=SITES) as hub, open_bus(login) as other:
            await make_streams(hub.link, sites=("a", "b"))
            async with hub.hear("rmm.beat.*") as told, hub.subscribe("rmm.up.*") as messages:

                async def listen() -> None:
                    async for _ in told:
                        pass

                task = asyncio.create_task(listen())
                took = []
                with flood(broker, "rmm.beat.a"):
                    await asyncio.sleep(0.3)
                    for n in range(10):
                        began = time.monotonic()
                        await other.publish("rmm.up.b", b"%d" % n)
                        async with asyncio.timeout(5):
                            delivery = await anext(messages)
                        await delivery.ack()
                        took.append(round(time.monotonic() - began, 3))
                        assert delivery.data == b"%d" % n
                task.cancel()
    print("published and taken after", took)
    assert len(caplog.records) <= 2


async def test_a_site_has_its_share_of_each_second_also_after_a_restart_of_the_broker() -> None:
    async def reply(subject: str, question: bytes) -> bytes:
        return question

    with nats_servers.server() as broker:
        login = Login(urls=(broker.url,))
        async with open_bus(login, sites=SITES) as hub, open_bus(login) as other:
            async with hub.hear("rmm.beat.*") as told, hub.answer("rmm.ask.*.x", reply):
                for again in range(2):
                    for n in range(SHARE + 20):
                        await other.tell("rmm.beat.a", b"%d" % n)
                    await other.tell("rmm.beat.b", b"calm")
                    heard: list[bytes] = []
                    async with asyncio.timeout(10):
                        while not heard or heard[-1] != b"calm":
                            heard.append((await anext(told)).data)
                    assert heard == [*(b"%d" % n for n in range(SHARE)), b"calm"]
                    for _ in range(3):  # the next second
                        await asyncio.sleep(1.2)
                        await other.tell("rmm.beat.a", b"next")
                        async with asyncio.timeout(5):
                            assert (await anext(told)).data == b"next"
                    assert await other.ask("rmm.ask.a.x", b"1", timeout_s=2) == b"1"
                    if not again:
                        broker.kill()
                        await asyncio.to_thread(broker.start)
                        async with asyncio.timeout(20):
                            while not (hub.connected and other.connected):
                                await asyncio.sleep(0.05)
            with pytest.raises(BusError) as error:  # nobody listens any more
                await other.ask("rmm.ask.a.x", b"", timeout_s=2)
            assert error.value.code == "bus.nobody"


async def test_what_still_comes_while_it_ends_asks_for_no_further_share() -> None:
    heard: list[bytes] = []
    with nats_servers.server() as broker:
        login = Login(urls=(broker.url,))
        async with open_bus(login) as hub, open_bus(login) as other:
            listening = Listening("rmm.beat.a", lambda message: heard.append(message.data), share=2)
            client = await hub.link.connected()
            await begin(client, [listening])
            assert listening.leave() is client  # the server does not know it yet
            for data in (b"1", b"2", b"3"):
                await other.tell("rmm.beat.a", data)
            async with asyncio.timeout(5):
                while len(heard) < 2:
                    await asyncio.sleep(0.02)
            await asyncio.sleep(1.2)  # the next second
            await begin(client, [listening])  # of a connection that is made just then
            await other.tell("rmm.beat.a", b"4")
            await other.link.flush()
            await hub.link.flush()
            await end([listening])
    assert heard == [b"1", b"2"]
