import asyncio

import pytest

from rmm.bus.memory import MemoryBus
from rmm.errors import BusError
from rmm.ports import Bus, Delivery


async def test_messages_come_in_order_and_unacknowledged_ones_again() -> None:
    bus = MemoryBus()
    for n in range(5):
        await bus.publish("s", b"%d" % n)
    got = []
    async for delivery in bus.subscribe("s"):
        got.append(delivery.data)
        if len(got) < 3:
            await delivery.ack()
        else:
            break
    await bus.aclose()
    again = []
    async for delivery in bus.subscribe("s"):
        again.append(delivery.data)
        await delivery.ack()
    assert got == [b"0", b"1", b"2"]
    assert again == [b"2", b"3", b"4"]


async def test_a_publisher_waits_for_a_slow_subscriber() -> None:
    bus = MemoryBus(capacity=2)
    await bus.publish("s", b"1")
    await bus.publish("s", b"2")
    third = asyncio.create_task(bus.publish("s", b"3"))
    await asyncio.sleep(0.02)
    assert not third.done()
    async for delivery in bus.subscribe("s"):
        await delivery.ack()
        break
    await asyncio.wait_for(third, 1)
    await bus.aclose()
    with pytest.raises(BusError):
        await bus.publish("s", b"4")


async def test_a_subscriber_that_never_acknowledges_holds_the_publisher_back() -> None:
    bus = MemoryBus(capacity=2, most_unacknowledged=3)
    taken: list[Delivery] = []

    async def take() -> None:
        async for delivery in bus.subscribe("s"):
            taken.append(delivery)

    subscriber = asyncio.create_task(take())
    for n in range(3):
        await bus.publish("s", b"%d" % n)
    await asyncio.sleep(0.02)
    fourth = asyncio.create_task(bus.publish("s", b"3"))
    await asyncio.sleep(0.02)
    assert not fourth.done()
    await taken[0].ack()
    await asyncio.wait_for(fourth, 1)
    await bus.aclose()
    await asyncio.wait_for(subscriber, 1)
    assert [delivery.data for delivery in taken] == [b"0", b"1", b"2", b"3"]


async def test_a_late_acknowledgement_still_counts() -> None:
    bus: Bus = MemoryBus()
    await bus.publish("s", b"1")
    await bus.publish("s", b"2")
    late: list[Delivery] = []
    async for delivery in bus.subscribe("s"):
        late.append(delivery)
        if len(late) == 2:
            break
    second = bus.subscribe("s")
    await anext(second)
    for delivery in late:
        await delivery.ack()
    await bus.aclose()
    assert [delivery.data async for delivery in second] == []


async def test_subjects_do_not_block_each_other() -> None:
    bus = MemoryBus(capacity=1)
    await bus.publish("a", b"1")
    await asyncio.wait_for(bus.publish("b", b"1"), 1)
    waiting = asyncio.create_task(bus.publish("a", b"2"))
    await asyncio.sleep(0.02)
    await bus.aclose()
    with pytest.raises(BusError):
        await waiting
