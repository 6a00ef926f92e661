import pytest

from rmm.bus.memory import MemoryBus, matches
from rmm.errors import BusError, BusFull
from rmm.ports import Bus, Delivery


async def test_messages_come_in_order_and_unacknowledged_ones_again() -> None:
    bus: Bus = MemoryBus()
    for n in range(5):
        await bus.publish("s", b"%d" % n)
    got = []
    async with bus.subscribe("s") as messages:
        async for delivery in messages:
            got.append(delivery.data)
            if len(got) == 3:
                break
            await delivery.ack()
    await bus.aclose()
    async with bus.subscribe("s") as messages:
        again = [(delivery.data, delivery.attempt) async for delivery in messages]
    assert got == [b"0", b"1", b"2"]
    assert again == [(b"2", 2), (b"3", 1), (b"4", 1)]


async def test_who_publishes_what_nobody_acknowledges_is_refused() -> None:
    bus = MemoryBus(capacity=2)
    await bus.publish("s", b"1")
    await bus.publish("s", b"2")
    with pytest.raises(BusFull):
        await bus.publish("s", b"3")
    await bus.publish("t", b"1")
    async with bus.subscribe("s") as messages:
        await (await anext(messages)).ack()
    await bus.publish("s", b"3")
    await bus.aclose()
    with pytest.raises(BusError):
        await bus.publish("s", b"4")


async def test_a_late_acknowledgement_still_counts() -> None:
    bus = MemoryBus()
    await bus.publish("s", b"1")
    await bus.publish("s", b"2")
    late: list[Delivery] = []
    async with bus.subscribe("s") as messages:
        late += [await anext(messages), await anext(messages)]
    async with bus.subscribe("s") as messages:
        await anext(messages)
        for delivery in late:
            await delivery.ack()
    await bus.aclose()
    async with bus.subscribe("s") as messages:
        assert [delivery.data async for delivery in messages] == []


@pytest.mark.parametrize(
    ("pattern", "subject", "is_one"),
    [
        ("a.b", "a.b", True),
        ("a.*", "a.b", True),
        ("a.*", "a.b.c", False),
        ("a.>", "a.b.c", True),
        ("a.>", "a", False),
        ("*.b", "a.b", True),
        ("a", "b", False),
    ],
)
def test_patterns(pattern: str, subject: str, is_one: bool) -> None:
    assert matches(pattern, subject) is is_one
