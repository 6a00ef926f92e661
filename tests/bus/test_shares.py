"""What every bus does when one site says or asks more than its share; the same suite for all of them."""

from __future__ import annotations

import asyncio
from typing import Any

from rmm.errors import BusError
from rmm.ports import Told


async def test_a_site_that_says_much_is_not_heard_instead_of_others(broker: Any, caplog: Any) -> None:
    """More than a listener keeps, before and after what others say, and more than is read at once."""
    async with broker.bus() as bus, broker.bus() as other, bus.hear("rmm.beat.*") as told:
        for n in range(6000):
            await other.tell("rmm.beat.a", b"%d" % n)
            if n in (1000, 4000):
                await other.tell("rmm.beat.b", b"%d" % n)
        await other.tell("rmm.beat.c", b"last")
        found: list[Told] = []
        async with asyncio.timeout(20):
            while not found or found[-1].subject != "rmm.beat.c":
                if not found:
                    await asyncio.sleep(1.0)  # nobody takes anything meanwhile
                found.append(await anext(told))
    assert [one.data for one in found if one.subject == "rmm.beat.b"] == [b"1000", b"4000"]
    flood = [int(one.data) for one in found if one.subject == "rmm.beat.a"]
    assert flood == sorted(flood)
    assert flood[-1] == 5999
    assert len([one for one in caplog.records if "says more than is heard" in one.message]) == 1


async def test_large_things_that_are_told_have_a_bound_in_bytes(broker: Any) -> None:
    async with broker.bus() as bus, broker.bus() as other, bus.hear("rmm.beat.*") as told:
        await other.tell("rmm.beat.b", b"1")
        for n in range(20):
            await other.tell("rmm.beat.a", b"%02d" % n + bytes(300_000))
        await other.tell("rmm.beat.b", b"2")
        await asyncio.sleep(1.0)
        found: list[Told] = []
        async with asyncio.timeout(20):
            while not found or found[-1].data != b"2":
                found.append(await anext(told))
    assert [int(one.data[:2]) for one in found if one.subject == "rmm.beat.a"] == [14, 15, 16, 17, 18, 19]
    assert [one.data for one in found if one.subject == "rmm.beat.b"] == [b"1", b"2"]


async def test_many_questions_of_one_site_do_not_hold_up_others(broker: Any, caplog: Any) -> None:
    async with broker.bus() as bus, broker.bus() as other:
        at_work, most, answered = 0, 0, asyncio.Event()

        async def reply(subject: str, question: bytes) -> bytes:
            nonlocal at_work, most
            if subject != "rmm.ask.a.bundle":
                return b"for " + question
            at_work += 1
            most = max(most, at_work)
            await answered.wait()
            at_work -= 1
            return b"at last"

        async with bus.answer("rmm.ask.*.bundle", reply):
            flood = [asyncio.create_task(other.ask("rmm.ask.a.bundle", b"", timeout_s=4)) for _ in range(600)]
            await asyncio.sleep(0.5)
            for n in range(8):
                assert await other.ask("rmm.ask.b.bundle", b"%d" % n, timeout_s=2) == b"for %d" % n
            answered.set()
            got = await asyncio.gather(*flood, return_exceptions=True)
        assert 1 <= got.count(b"at last") <= 20
        assert {one.code for one in got if isinstance(one, BusError)} == {"bus.timeout"}
        assert most == 4
    assert len([one for one in caplog.records if "too many at once" in one.message]) == 1


async def test_sites_that_ask_have_turns(broker: Any) -> None:
    """However many questions wait, the first one of another site is among the next."""
    async with broker.bus() as bus, broker.bus() as other:
        order: list[str] = []
        begin = asyncio.Event()

        async def reply(subject: str, question: bytes) -> bytes:
            await begin.wait()
            order.append(subject.split(".")[2])
            await asyncio.sleep(0.01)
            return b""

        async with bus.answer("rmm.ask.*.x", reply), asyncio.TaskGroup() as group:
            for site in ("a", "b", "c", "d", "e"):  # four of each in work, as far as there is room for all
                for _ in range(16):
                    group.create_task(other.ask(f"rmm.ask.{site}.x", b"", timeout_s=10))
                await asyncio.sleep(0.2)
            group.create_task(other.ask("rmm.ask.f.x", b"", timeout_s=10))
            await asyncio.sleep(0.2)
            begin.set()
    assert order[:16] == [*"aaaabbbbccccdddd"]
    assert {"e", "f"} <= set(order[16:23])
    assert len(order) == 81
