"""Gates of several collectors of a site, each with its own data folder: one budget, whatever happens between them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec
import nats_servers
import pytest
from quick import Wire, until

from rmm.bus.jetstream import Login, open_bus
from rmm.bus.memory import MemoryBus
from rmm.bus.provision import make_streams
from rmm.core.escrow import BUCKET, Shared
from rmm.model.settings import LockoutSettings
from rmm.poller import agreement, colleagues
from rmm.poller.colleagues import Colleagues, forget
from rmm.poller.gate import Gate
from rmm.poller.guardfile import key_of
from rmm.poller.held import release
from rmm.ports import Keys
from tests.poller.test_gate import Domain, Hands, version

LIMITS = LockoutSettings()
KEY = key_of("corp|poll")
ONE = version(1)


@pytest.fixture(params=["memory", "server"])
async def keys(request: Any) -> AsyncIterator[Keys]:
    if request.param == "memory":
        yield MemoryBus().keys(BUCKET)
        return
    with nats_servers.server() as broker:
        async with open_bus(Login(urls=(broker.url,))) as bus:
            await make_streams(bus.link, sites=("hq",))
            yield bus.keys(BUCKET)


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(colleagues, "LOOK_S", 0.1)
    monkeypatch.setattr(colleagues, "SILENT_S", 0.5)
    monkeypatch.setattr(agreement, "WANT_S", 1.0)


class Site:
    def __init__(self, keys: Keys, folder: Path, names: Iterable[str]) -> None:
        self.keys = keys
        self.clock = Hands()
        self.names = tuple(names)
        self.wires = {name: Wire(keys) for name in self.names}
        self.folders = {name: folder / name for name in self.names}
        self.stack = AsyncExitStack()
        self.gates: dict[str, Gate] = {}
        self.with_: dict[str, Colleagues] = {}

    async def __aenter__(self) -> Site:
        for name in self.names:
            await self.start(name)
        return self

    async def start(self, name: str) -> None:
        """As a process of its own would; what an earlier one has on its disk is there."""
        with_ = Colleagues(
            self.wires[name], "hq", name, self.folders[name], self.clock, LIMITS,
            lambda: [one for one in self.names if one != name and not self.wires[one].cut],
        )  # fmt: skip
        self.with_[name] = with_
        await self.stack.enter_async_context(with_.running())
        self.gates[name] = Gate(self.folders[name], self.clock, LIMITS, colleagues=with_)

    async def __aexit__(self, *_: object) -> None:
        await self.stack.aclose()

    async def round(self, domain: Domain, count: int, *names: str, prefix: str = "h") -> list[str]:
        """Each endpoint is one of the collectors' in turn."""
        names = names or self.names
        visits = (domain.visit(self.gates[names[n % len(names)]], f"{prefix}{n}", ONE) for n in range(count))
        return list(await asyncio.gather(*visits))

    def share(self, name: str) -> int:
        path = self.folders[name] / "authguard" / f"{KEY}.share"
        return int(path.read_bytes()) if path.exists() else 0

    async def shared(self) -> Shared:
        found = await self.keys.get(f"hq.{KEY}")
        assert found is not None
        return msgspec.json.decode(found.value, type=Shared)

    def asked(self) -> int:
        return sum(wire.reads + wire.writes for wire in self.wires.values())


async def test_a_wrong_password_is_tried_once_by_two_collectors(keys: Keys, tmp_path: Path) -> None:
    domain = Domain()
    async with Site(keys, tmp_path, "ab") as site:
        results = await site.round(domain, 100)
        assert len(domain.log) == 1
        assert sorted(set(results)) == ["auth.rejected", "held auth.held"]
        for _ in range(3):  # and by whoever takes over
            await site.round(domain, 50, "a")
            await site.round(domain, 50, "b")
        assert len(domain.log) == 1


async def test_with_a_proven_password_nobody_is_asked(keys: Keys, tmp_path: Path) -> None:
    domain = Domain("1")
    async with Site(keys, tmp_path, "ab") as site:
        assert set(await site.round(domain, 40)) == {"accepted"}
        assert {site.share("a"), site.share("b")} == {1}
        await asyncio.sleep(0.3)
        for wire in site.wires.values():
            wire.delay_s = 0.2  # a broker at the other end of the world
        before = {name: wire.writes for name, wire in site.wires.items()}
        began = time.monotonic()
        assert set(await site.round(domain, 400)) == {"accepted"}
        assert time.monotonic() - began < 3.0
        assert {name: wire.writes for name, wire in site.wires.items()} == before


async def test_a_password_changed_in_the_middle_costs_two(keys: Keys, tmp_path: Path) -> None:
    domain = Domain("1")
    async with Site(keys, tmp_path, "ab") as site:
        running = asyncio.ensure_future(site.round(domain, 200))
        await until(lambda: len(domain.log) >= 40 or running.done())
        domain.good = "2"
        results = await running
        assert domain.most_bad <= 2
        assert results.count("auth.rejected") <= 2
        await site.round(domain, 50)
        assert domain.most_bad <= 2


async def test_an_endpoint_without_trust_is_held_alone(keys: Keys, tmp_path: Path) -> None:
    domain = Domain("1")
    domain.trustless = {"h7"}
    async with Site(keys, tmp_path, "ab") as site:
        await site.round(domain, 4, prefix="first")
        results = await site.round(domain, 60)
        assert results[7] in ("auth.host", "auth.rejected")  # as long as nobody else has shown which it is
        assert set(results[:7] + results[8:]) == {"accepted"}
        assert await domain.visit(site.gates["b"], "h7", ONE) == "held auth.host"
        assert set(await site.round(domain, 20, prefix="again")) == {"accepted"}


async def test_three_collectors_hand_two_rights_around(
    keys: Keys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agreement, "WANT_S", 10.0)
    domain = Domain("1")
    async with Site(keys, tmp_path, "abc") as site:
        for number in range(3):
            assert set(await site.round(domain, 60, prefix=f"r{number}-")) == {"accepted"}
        assert sum(site.share(name) for name in "abc") <= 2
        domain.good = "2"
        await site.round(domain, 60)
        assert domain.most_bad <= 2


async def test_cut_off_from_the_broker_both_go_on_and_a_wrong_password_costs_two(keys: Keys, tmp_path: Path) -> None:
    domain = Domain("1")
    async with Site(keys, tmp_path, "ab") as site:
        await site.round(domain, 20)
        for wire in site.wires.values():
            wire.cut = True
        assert set(await site.round(domain, 60)) == {"accepted"}
        domain.good = "2"
        for number in range(4):
            await site.round(domain, 30, prefix=f"r{number}-")
        assert domain.most_bad <= 2
        for wire in site.wires.values():
            wire.cut = False
        await asyncio.sleep(1.0)
        for number in range(4):
            await site.round(domain, 30, prefix=f"s{number}-")
        assert domain.most_bad <= 2


async def test_one_cut_off_and_one_not(keys: Keys, tmp_path: Path) -> None:
    domain = Domain("1")
    async with Site(keys, tmp_path, "ab") as site:
        await site.round(domain, 20)
        site.wires["a"].cut = True
        domain.good = "2"
        for number in range(4):
            await site.round(domain, 30, prefix=f"r{number}-")
        assert domain.most_bad <= 2


async def test_who_never_reached_the_broker_sends_nothing(keys: Keys, tmp_path: Path) -> None:
    domain = Domain("1")
    site = Site(keys, tmp_path, "ab")
    site.wires["a"].cut = True
    async with site:
        assert set(await site.round(domain, 10, "a")) == {"held auth.held"}
        assert domain.log == []
        site.wires["a"].cut = False
        await asyncio.sleep(0.6)
        assert set(await site.round(domain, 10, "a")) == {"accepted"}


async def test_a_restart_finds_its_right_and_what_was_in_the_air_counts(keys: Keys, tmp_path: Path) -> None:
    domain = Domain()
    async with Site(keys, tmp_path, "ab") as site:
        await site.round(Domain("1"), 20)
        domain.good = "2"
        folder = site.folders["a"] / "authguard"
        (folder / f"{KEY}.flights").write_bytes(b"\1")  # as kill -9 leaves it
        await site.start("a")
        for number in range(3):
            await site.round(domain, 20, prefix=f"r{number}-")
        assert domain.most_bad <= 1  # with the one in the air that makes two


async def test_a_second_collector_that_comes_later_gets_its_right(
    keys: Keys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agreement, "WANT_S", 30.0)  # a busy machine takes its time
    domain = Domain("1")
    site = Site(keys, tmp_path, "ab")
    site.wires["b"].cut = True
    async with site:
        await site.round(domain, 10, "a")
        assert site.share("a") == 2
        site.wires["b"].cut = False
        await asyncio.sleep(0.6)
        assert set(await site.round(domain, 10, "b")) == {"accepted"}
        assert (site.share("a"), site.share("b")) == (1, 1)


async def test_a_release_by_an_operator_reaches_the_others(keys: Keys, tmp_path: Path) -> None:
    domain = Domain()
    async with Site(keys, tmp_path, "ab") as site:
        await site.round(domain, 20)
        await asyncio.sleep(0.3)
        domain.good = "1"
        domain.bad = 0
        spent = next(name for name in "ab" if domain.log and site.share(name))
        for name in "ab":
            assert await domain.visit(site.gates[name], "x", ONE) == "held auth.held"
        assert release(site.folders[spent], ONE.username, forget=True) >= 1
        await asyncio.sleep(1.5)
        assert await domain.visit(site.gates[spent], "x", ONE) == "accepted"
        await asyncio.sleep(0.5)
        other = "b" if spent == "a" else "a"
        assert await domain.visit(site.gates[other], "x", ONE) == "accepted"


async def test_a_dead_collector_keeps_its_right_until_an_operator_says_so(keys: Keys, tmp_path: Path) -> None:
    domain = Domain("1")
    site = Site(keys, tmp_path, "ab")
    site.wires["b"].cut = True
    async with site:
        await site.round(domain, 5, "a")  # it has both
        site.wires["a"].cut, site.wires["b"].cut = True, False
        await asyncio.sleep(0.6)
        assert set(await site.round(domain, 3, "b")) == {"held auth.held"}
        assert await forget(keys, "hq", "a") == 1
        site.gates["b"]._books.clear()  # what it has given up hope for is asked again after a minute
        assert set(await site.round(domain, 3, "b")) == {"accepted"}
        site.wires["a"].cut = False
        await asyncio.sleep(1.0)
        await site.with_["a"].look()
        await until(lambda: site.share("a") + site.share("b") <= 2, 3)


async def test_who_is_drained_gives_back_what_it_has(keys: Keys, tmp_path: Path) -> None:
    async with Site(keys, tmp_path, "ab") as site:
        await site.round(Domain("1"), 20)
        assert await site.with_["a"].leave() == 1
        assert site.share("a") == 0
        shared = await site.shared()
        assert (shared.shares, shared.pool) == ({"b": 1}, 1)


@pytest.mark.parametrize("garbage", [b"", b"\xff", b"{}x", b"[1]", b'{"shares": {"a": -4}}', b"x" * 4000])
async def test_a_damaged_record_changes_no_right(tmp_path: Path, garbage: bytes) -> None:
    keys, domain = MemoryBus().keys(BUCKET), Domain("1")
    async with Site(keys, tmp_path, "ab") as site:
        await site.round(domain, 20)
        found = await keys.get(f"hq.{KEY}")
        assert found is not None
        await keys.put(f"hq.{KEY}", garbage, after=found.revision)
        assert set(await site.round(domain, 20)) == {"accepted"}
        domain.good = "2"
        for number in range(3):
            await site.round(domain, 20, prefix=f"r{number}-")
        assert domain.most_bad <= 2


async def test_a_record_stays_small(tmp_path: Path) -> None:
    keys, domain = MemoryBus().keys(BUCKET), Domain("1")
    async with Site(keys, tmp_path, "ab") as site:
        await site.round(domain, 4)
        domain.trustless = {f"h{n}" for n in range(6)}
        for number in range(6):
            await domain.visit(site.gates["a"], f"h{number}", ONE)
            await domain.visit(site.gates["a"], "good", ONE)
        found = await keys.get(f"hq.{KEY}")
        assert found is not None
        assert len(found.value) <= 4096
        assert set((await site.shared()).proofs["1"].held) >= {"h0", "h1", "h2", "h3"}
