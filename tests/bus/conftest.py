"""The bus in its forms: in memory, over one real server, and over a cluster of which one server has been killed."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import nats_servers

from rmm.bus.jetstream import Login, open_bus
from rmm.bus.memory import MemoryBus
from rmm.bus.provision import make_streams
from rmm.ports import Bus

SITES = ("a", "b")


class Broker(Protocol):
    """Where buses come from: all of one broker are about the same messages."""

    def bus(self) -> AbstractAsyncContextManager[Bus]: ...


class MemoryBroker:
    def __init__(self, share: int) -> None:
        self._bus = MemoryBus(share)

    @asynccontextmanager
    async def bus(self) -> AsyncIterator[Bus]:
        yield self._bus


class JetStreamBroker:
    def __init__(self, urls: list[str], share: int, replicas: int) -> None:
        self._login = Login(urls=tuple(urls))
        self._made = False
        self._share = share
        self._replicas = replicas

    @asynccontextmanager
    async def bus(self) -> AsyncIterator[Bus]:
        async with open_bus(self._login) as bus:
            if not self._made:
                await make_streams(bus.link, sites=SITES, replicas=self._replicas, share=self._share)
                self._made = True
            yield bus


@pytest.fixture(params=["memory", "server", pytest.param("cluster", marks=pytest.mark.slow)])
def broker(request: Any) -> Iterator[Broker]:
    """`pytest.mark.share(n)` says how many messages of a subject may wait."""
    marker = request.node.get_closest_marker("share")
    share = marker.args[0] if marker else 256
    with contextlib.ExitStack() as stack:
        if request.param == "memory":
            yield MemoryBroker(share)
        elif request.param == "server":
            yield JetStreamBroker([stack.enter_context(nats_servers.server()).url], share, 1)
        else:
            three = stack.enter_context(nats_servers.cluster(3))
            yield JetStreamBroker(three.urls, share, 3)
