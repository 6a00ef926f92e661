"""What every bus does: one suite for all of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from rmm.errors import BusError, BusFull, KeyTaken
from rmm.ports import Bus, Delivery, Keyed


async def taken(messages: AsyncIterator[Delivery], count: int, *, ack: bool = True) -> list[Delivery]:
    """So many deliveries, within half a minute: a cluster on a busy machine takes its time."""
    found = []
    async with asyncio.timeout(30):
        for _ in range(count):
            found.append(await anext(messages))
            if ack:
                await found[-1].ack()
    return found


async def nothing(messages: AsyncIterator[Any], for_s: float = 0.3) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(for_s):
            await anext(messages)


def data(deliveries: list[Delivery]) -> list[bytes]:
    return [one.data for one in deliveries]


async def test_messages_come_in_order_and_unacknowledged_ones_again(broker: Any) -> None:
    async with broker.bus() as bus:
        for n in range(6):
            await bus.publish("rmm.up.a", b"%d" % n)
        async with bus.subscribe("rmm.up.*") as messages:
            first = await taken(messages, 2)
            left = await taken(messages, 1, ack=False)
        async with bus.subscribe("rmm.up.*") as messages:
            again = await taken(messages, 4)
            await nothing(messages)
    assert data(first) == [b"0", b"1"]
    assert [one.subject for one in first] == ["rmm.up.a"] * 2
    assert [one.attempt for one in first] == [1, 1]
    assert data(left) == [b"2"]
    assert data(again) == [b"2", b"3", b"4", b"5"]
    assert again[0].attempt > 1


async def test_what_is_acknowledged_never_comes_again(broker: Any) -> None:
    async with broker.bus() as bus:
        for n in range(3):
            await bus.publish("rmm.up.a", b"%d" % n)
        async with bus.subscribe("rmm.up.*") as messages:
            [first, second, third] = await taken(messages, 3, ack=False)
            await third.ack()
            await first.ack()
            await first.ack()
        async with bus.subscribe("rmm.up.*") as messages:
            assert data(await taken(messages, 1)) == [second.data]
            await nothing(messages)


async def test_a_message_that_is_published_meanwhile_arrives(broker: Any) -> None:
    async with broker.bus() as bus, broker.bus() as other, bus.subscribe("rmm.up.*") as messages:
        await nothing(messages)
        await other.publish("rmm.up.b", b"now")
        assert data(await taken(messages, 1)) == [b"now"]


@pytest.mark.share(3)
async def test_who_publishes_what_nobody_acknowledges_is_refused_and_others_are_not(broker: Any) -> None:
    async with broker.bus() as bus:
        for n in range(3):
            await bus.publish("rmm.up.a", b"%d" % n)
        with pytest.raises(BusFull):
            await bus.publish("rmm.up.a", b"too many")
        await bus.publish("rmm.up.b", b"of another")
        async with bus.subscribe("rmm.up.*") as messages:
            got = await taken(messages, 2)
            async with asyncio.timeout(10):
                while True:
                    try:
                        await bus.publish("rmm.up.a", b"room again")
                        break
                    except BusFull:
                        await asyncio.sleep(0.05)
            got += await taken(messages, 3)
    assert data(got) == [b"0", b"1", b"2", b"of another", b"room again"]


async def test_a_late_acknowledgement_still_counts(broker: Any) -> None:
    async with broker.bus() as bus:
        await bus.publish("rmm.up.a", b"1")
        await bus.publish("rmm.up.a", b"2")
        async with bus.subscribe("rmm.up.*") as messages:
            late = await taken(messages, 2, ack=False)
        async with bus.subscribe("rmm.up.*") as messages:
            await taken(messages, 1, ack=False)
            for delivery in late:
                await delivery.ack()
        async with bus.subscribe("rmm.up.*") as messages:
            await nothing(messages)


async def test_later_is_not_before_its_time_and_holds_nobody_up(broker: Any) -> None:
    async with broker.bus() as bus:
        loop = asyncio.get_running_loop()
        for n in range(3):
            await bus.publish("rmm.up.a", b"%d" % n)
        async with bus.subscribe("rmm.up.*") as messages:
            [first] = await taken(messages, 1, ack=False)
            began = loop.time()
            await first.later(0.6)
            assert data(await taken(messages, 2)) == [b"1", b"2"]
            [again] = await taken(messages, 1)
            assert loop.time() - began >= 0.55
            assert (again.data, again.attempt) == (b"0", 2)


async def test_later_counts_for_the_next_subscriber_too(broker: Any) -> None:
    async with broker.bus() as bus:
        await bus.publish("rmm.up.a", b"0")
        async with bus.subscribe("rmm.up.*") as messages:
            await (await taken(messages, 1, ack=False))[0].later(0.8)
        async with bus.subscribe("rmm.up.*") as messages:
            await nothing(messages, 0.4)
            assert data(await taken(messages, 1)) == [b"0"]


async def test_subscribers_of_one_pattern_share(broker: Any) -> None:
    async with broker.bus() as bus, broker.bus() as other:
        got: list[bytes] = []

        async def work(one: Bus) -> None:
            async with one.subscribe("rmm.up.*") as messages:
                async for delivery in messages:
                    got.append(delivery.data)
                    await delivery.ack()

        workers = [asyncio.create_task(work(one)) for one in (bus, other)]
        for n in range(100):
            await bus.publish("rmm.up.a", b"%d" % n)
        async with asyncio.timeout(10):
            while len(got) < 100:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
        assert sorted(map(int, got)) == list(range(100))


async def test_who_is_cancelled_gives_back_at_once(broker: Any) -> None:
    async with broker.bus() as bus:
        for n in range(5):
            await bus.publish("rmm.up.a", b"%d" % n)
        started = asyncio.Event()

        async def work() -> None:
            async with bus.subscribe("rmm.up.*") as messages:
                await anext(messages)
                started.set()
                await anext(messages)
                await asyncio.sleep(60)

        task = asyncio.create_task(work())
        await started.wait()
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        async with bus.subscribe("rmm.up.*") as messages:
            assert data(await taken(messages, 5)) == [b"0", b"1", b"2", b"3", b"4"]


async def test_what_is_told_is_heard_in_order_by_all_who_listen_now(broker: Any) -> None:
    async with broker.bus() as bus, broker.bus() as other:
        await bus.tell("rmm.down.a", b"before")
        async with bus.hear("rmm.down.a") as one, other.hear("rmm.down.*") as two:
            for n in range(3):
                await bus.tell("rmm.down.a", b"%d" % n)
            await bus.tell("rmm.down.b", b"b")
            async with asyncio.timeout(5):
                assert [(await anext(one)).data for _ in range(3)] == [b"0", b"1", b"2"]
                told = [await anext(two)]
                while told[-1].data != b"b":
                    told.append(await anext(two))
            # What one connection said before another listened may still be on its way.
            assert [one.data for one in told if one.data != b"before"] == [b"0", b"1", b"2", b"b"]
            assert [one.subject for one in told[-2:]] == ["rmm.down.a", "rmm.down.b"]
            await nothing(one)


async def test_a_question_has_one_answer(broker: Any) -> None:
    async with broker.bus() as bus, broker.bus() as other:
        asked: list[str] = []

        async def reply(subject: str, question: bytes) -> bytes:
            asked.append(subject)
            return b"you said " + question

        async with bus.answer("rmm.ask.*.*", reply), other.answer("rmm.ask.*.*", reply):
            answers = [await other.ask("rmm.ask.a.x", b"%d" % n, timeout_s=5) for n in range(4)]
        assert answers == [b"you said %d" % n for n in range(4)]
        assert asked == ["rmm.ask.a.x"] * 4


async def test_without_an_answer_it_says_why(broker: Any) -> None:
    async with broker.bus() as bus:
        with pytest.raises(BusError) as nobody:
            await bus.ask("rmm.ask.a.x", b"", timeout_s=5)

        async def slow(subject: str, question: bytes) -> bytes:
            if question:
                raise ValueError("no")
            await asyncio.sleep(60)
            return b""

        async with bus.answer("rmm.ask.*.*", slow):
            codes = []
            for question in (b"", b"fails"):
                with pytest.raises(BusError) as error:
                    await bus.ask("rmm.ask.a.x", question, timeout_s=0.3)
                codes.append(error.value.code)
        with pytest.raises(BusError) as after:
            await bus.ask("rmm.ask.a.x", b"", timeout_s=5)
    assert nobody.value.code == after.value.code == "bus.nobody"
    assert codes == ["bus.timeout", "bus.timeout"]


async def test_a_slow_answer_does_not_hold_up_others(broker: Any) -> None:
    async with broker.bus() as bus:

        async def reply(subject: str, question: bytes) -> bytes:
            await asyncio.sleep(float(question))
            return subject.encode()

        async with bus.answer("rmm.ask.*.*", reply), asyncio.TaskGroup() as group:
            slow = group.create_task(bus.ask("rmm.ask.a.slow", b"1", timeout_s=5))
            await asyncio.sleep(0.1)
            assert await bus.ask("rmm.ask.a.quick", b"0", timeout_s=0.5) == b"rmm.ask.a.quick"
        assert slow.result() == b"rmm.ask.a.slow"


async def test_a_key_is_written_by_whoever_knows_its_revision(broker: Any) -> None:
    async with broker.bus() as bus, broker.bus() as other:
        keys, theirs = bus.keys("rmm_leases"), other.keys("rmm_leases")
        assert await keys.get("a.shard.1") is None
        first = await keys.put("a.shard.1", b"mine", after=0)
        with pytest.raises(KeyTaken):
            await theirs.put("a.shard.1", b"theirs", after=0)
        with pytest.raises(KeyTaken):
            await theirs.put("a.shard.1", b"theirs", after=first + 1)
        second = await theirs.put("a.shard.1", b"theirs", after=first)
        assert second > first
        assert await keys.get("a.shard.1") == Keyed(b"theirs", second)
        with pytest.raises(KeyTaken):
            await keys.drop("a.shard.1", after=first)
        with pytest.raises(KeyTaken):
            await keys.drop("a.shard.1", after=0)
        await keys.drop("a.shard.1", after=second)
        assert await keys.get("a.shard.1") is None
        with pytest.raises(KeyTaken):
            await keys.drop("a.shard.1", after=second)
        await keys.drop("a.shard.1", after=0)
        with pytest.raises(KeyTaken):
            await keys.put("a.shard.1", b"again", after=second)
        assert await keys.put("a.shard.1", b"again", after=0) > second


async def test_of_many_who_write_a_key_one_has_it(broker: Any) -> None:
    async with broker.bus() as bus, broker.bus() as other:
        attempts = [
            one.keys("rmm_leases").put("a.shard.7", b"%d" % n, after=0) for n in range(10) for one in (bus, other)
        ]
        results = await asyncio.gather(*attempts, return_exceptions=True)
        assert sum(isinstance(one, int) for one in results) == 1
        assert sum(isinstance(one, KeyTaken) for one in results) == 19


async def test_all_keys_of_a_pattern(broker: Any) -> None:
    async with broker.bus() as bus:
        keys = bus.keys("rmm_leases")
        written = {}
        for key in ("a.shard.1", "a.shard.2", "a.member.x", "b.shard.1"):
            written[key] = await keys.put(key, key.encode(), after=0)
        dropped = await keys.put("a.shard.3", b"", after=0)
        await keys.drop("a.shard.3", after=dropped)
        await asyncio.sleep(0.2)  # a follower of a cluster may be asked
        found = {
            pattern: await keys.all(pattern)
            for pattern in ("a.shard.*", "a.>", "*.shard.*", "a.nothing.*", "b.shard.1")
        }
        assert await bus.keys("rmm_guard").all("a.>") == {}
    assert {pattern: sorted(one) for pattern, one in found.items()} == {
        "a.shard.*": ["a.shard.1", "a.shard.2"],
        "a.>": ["a.member.x", "a.shard.1", "a.shard.2"],
        "*.shard.*": ["a.shard.1", "a.shard.2", "b.shard.1"],
        "a.nothing.*": [],
        "b.shard.1": ["b.shard.1"],
    }
    assert found["a.shard.*"]["a.shard.2"] == Keyed(b"a.shard.2", written["a.shard.2"])


async def test_keys_that_nobody_writes_are_gone(broker: Any) -> None:
    async with broker.bus() as bus:
        keys = bus.keys("rmm_leases", ttl_s=1.0)
        kept = await keys.put("a.shard.1", b"kept", after=0)
        gone = await keys.put("a.shard.2", b"gone", after=0)
        for _ in range(8):
            await asyncio.sleep(0.4)
            kept = await keys.put("a.shard.1", b"kept", after=kept)
        assert await keys.get("a.shard.2") is None
        assert sorted(await keys.all("a.>")) == ["a.shard.1"]
        with pytest.raises(KeyTaken):
            await keys.put("a.shard.2", b"too late", after=gone)
        assert await keys.put("a.shard.2", b"new", after=0) > gone


@pytest.mark.parametrize("key", ["a", "a.", "a..b", "a.*", "a.>", "a.b c", "a.\r\nPUB x 0", "ä.b", ""])
async def test_what_cannot_be_a_key_is_refused(broker: Any, key: str) -> None:
    async with broker.bus() as bus:
        keys = bus.keys("rmm_leases")
        for call in (keys.get(key), keys.put(key, b"", after=0), keys.drop(key, after=1)):
            with pytest.raises(BusError) as error:
                await call
            assert error.value.code == "bus.key_name"


async def test_a_closed_bus_says_so_and_what_iterates_ends(broker: Any) -> None:
    async with broker.bus() as bus:

        async def reply(subject: str, question: bytes) -> bytes:
            return b""

        async def count(messages: AsyncIterator[Any]) -> int:
            return len([one async for one in messages])

        async with (
            bus.subscribe("rmm.up.*") as messages,
            bus.hear("rmm.down.a") as told,
            bus.answer("rmm.ask.>", reply),
        ):
            ends = [asyncio.create_task(count(messages)), asyncio.create_task(count(told))]
            await asyncio.sleep(0.1)
            await bus.aclose()
            async with asyncio.timeout(5):
                assert await asyncio.gather(*ends) == [0, 0]
        keys = bus.keys("rmm_leases")
        for call in (
            bus.publish("rmm.up.a", b""),
            bus.tell("rmm.down.a", b""),
            bus.ask("rmm.ask.a.x", b"", timeout_s=1),
            keys.get("a.b"),
            keys.put("a.b", b"", after=0),
            keys.drop("a.b", after=1),
            keys.all("a.>"),
        ):
            with pytest.raises(BusError) as error:
                await call
            assert error.value.code == "bus.closed"
        for context in (bus.hear("rmm.down.a"), bus.answer("rmm.ask.>", reply)):
            with pytest.raises(BusError):
                async with context:
                    pass
        await bus.aclose()
