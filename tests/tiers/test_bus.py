import asyncio

import pytest

from rmm.bus.memory import MemoryBus
from rmm.errors import BusError


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
