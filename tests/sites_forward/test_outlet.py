"""The outlet over the coordinator's: committed when both have it, graded by what the coordinator says."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import msgspec
import pytest
from model_hub import START, Time, observation

from rmm.core.outgoing import act_item, glance, grade_of, round_item
from rmm.errors import LeaseLost, TierError
from rmm.model.envelope import RoundEnd
from rmm.model.incident import Act
from rmm.model.observation import Change, CollectorResult, Observation, decode_observation, encode_observation
from rmm.model.outgoing import ALERTS, CHANGES, METRICS, Item
from rmm.poller.outlet import BusOutlet
from rmm.site.outlet import ForwardingOutlet


class Kept:
    """A log that can be full."""

    def __init__(self) -> None:
        self.items: list[Item] = []
        self.calls = 0
        self.error: TierError | None = None

    async def append(self, items: Sequence[Item]) -> None:
        self.calls += 1
        if self.error is not None:
            raise self.error
        self.items += items


async def _folded(batch: Sequence[bytes]) -> None:
    pass


async def test_committed_when_both_have_it() -> None:
    kept, clock = Kept(), Time()
    async with (
        BusOutlet.open(_folded) as local,
        ForwardingOutlet.open(local, kept.append, clock, fence_of=lambda site, shard: 40 + shard) as outlet,
    ):
        for number in range(1, 6):
            await outlet.publish("hq", 0, observation(number))
        assert await outlet.committed("hq", 0)
        assert await outlet.committed("hq", 7)  # nothing was published for it
    assert [one.id for one in kept.items] == [f"hq/0/e1/{number}" for number in range(1, 6)]
    assert {(one.fence, one.endpoint, one.shard, one.at) for one in kept.items} == {(40, "srv-1", 0, START)}
    assert kept.calls <= 2  # in batches


async def test_what_was_polled_under_no_lease_goes_under_that_of_the_moment_or_under_none() -> None:
    """It must not stay here for ever because another collector of the site has its shard by now."""
    kept, clock, fences = Kept(), Time(), [3, 3, 9]

    def fence_of(site: str, shard: int) -> int:
        if not fences:
            raise LeaseLost("another collector has it")
        return fences.pop(0)

    async with (
        BusOutlet.open(_folded) as local,
        ForwardingOutlet.open(local, kept.append, clock, fence_of=fence_of) as outlet,
    ):
        await outlet.publish("hq", 0, observation(1))
        await outlet.publish("hq", 0, observation(2))
        await outlet.publish("hq", 0, observation(3))  # the lease was lost, and is held again
        await outlet.publish("hq", 0, observation(4))  # it is lost for good
        assert await outlet.committed("hq", 0)
    assert [(one.id, one.fence) for one in kept.items] == [(f"hq/0/e1/{n}", f) for n, f in enumerate([3, 3, 9, 0], 1)]


async def test_what_waited_in_the_spool_goes_under_the_lease_of_its_poll_with_the_time_of_that() -> None:
    """Another collector has the shard by now: what was polled before that is late, and welcome."""
    kept, clock = Kept(), Time()

    def fence_of(site: str, shard: int) -> int:
        raise LeaseLost("another collector has it")

    one = decode_observation(observation(1))
    marked = encode_observation(msgspec.structs.replace(one, telemetry={"lease": 3.0}, duration_s=2.5))
    clock.move(hours=1)
    async with (
        BusOutlet.open(_folded) as local,
        ForwardingOutlet.open(local, kept.append, clock, fence_of=fence_of) as outlet,
    ):
        await outlet.publish("hq", 0, marked)
        assert await outlet.committed("hq", 0)
    assert [(item.fence, item.at) for item in kept.items] == [(3, one.observed_at + timedelta(seconds=2.5))]


async def test_a_full_log_leaves_it_in_the_spool_and_the_next_round_hands_it_over_again() -> None:
    kept, clock = Kept(), Time()
    kept.error = TierError("no room", code="disk.full")
    async with BusOutlet.open(_folded) as local, ForwardingOutlet.open(local, kept.append, clock) as outlet:
        await outlet.publish("hq", 0, observation(1, status="TIMEOUT"))
        assert not await outlet.committed("hq", 0)
        kept.error = None
        await outlet.publish("hq", 0, observation(1, status="TIMEOUT"))
        assert await outlet.committed("hq", 0)
    assert [one.grade for one in kept.items] == [ALERTS]  # it is still the change of status that it was


async def test_a_coordinator_that_fails_leaves_it_in_the_spool() -> None:
    async def failing(_batch: Sequence[bytes]) -> None:
        raise TierError("no database")

    kept = Kept()
    with pytest.raises(TierError, match="no database"):  # which ends the coordinator's own outlet
        async with BusOutlet.open(failing) as local, ForwardingOutlet.open(local, kept.append, Time()) as outlet:
            await outlet.publish("hq", 0, observation(1))
            assert not await outlet.committed("hq", 0)
    assert len(kept.items) == 1  # the hub gets it all the same


async def test_what_the_coordinator_says_is_waited_for() -> None:
    kept, outlets = Kept(), list[ForwardingOutlet]()

    async def fold(batch: Sequence[bytes]) -> None:
        await asyncio.sleep(0.2)
        ids = [glance(data).id for data in batch]
        outlets[0].folded(ids, {one for one in ids if one.endswith("/2")})

    async with BusOutlet.open(fold) as local, ForwardingOutlet.open(local, kept.append, Time(), judged=True) as outlet:
        outlets.append(outlet)
        for number in range(1, 4):
            await outlet.publish("hq", 0, observation(number))
        assert await outlet.committed("hq", 0)
    assert [one.grade for one in kept.items] == [METRICS, ALERTS, METRICS]
    assert not outlet._verdicts


async def test_a_coordinator_that_says_nothing_is_not_waited_for_long() -> None:
    kept = Kept()
    async with (
        BusOutlet.open(_folded) as local,
        ForwardingOutlet.open(local, kept.append, Time(), judged=True) as outlet,
    ):
        await outlet.publish("hq", 0, observation(1))
        async with asyncio.timeout(3):
            assert await outlet.committed("hq", 0)


async def test_what_stays_down_is_a_change_once_over_all_rounds() -> None:
    kept, statuses = Kept(), dict[str, str]()
    for number, status in enumerate(["OK", "TIMEOUT", "TIMEOUT", "OK", "OK"], 1):
        async with (
            BusOutlet.open(_folded) as local,
            ForwardingOutlet.open(local, kept.append, Time(), statuses=statuses) as outlet,
        ):
            await outlet.publish("hq", 0, observation(number, status=status))
            assert await outlet.committed("hq", 0)
    assert [one.grade for one in kept.items] == [METRICS, ALERTS, METRICS, ALERTS, METRICS]


async def test_rubbish_is_left_out() -> None:
    kept = Kept()
    async with BusOutlet.open(_folded) as local, ForwardingOutlet.open(local, kept.append, Time()) as outlet:
        await outlet.publish("hq", 0, b"\xff")
        await outlet.publish("hq", 0, observation(1))
        assert await outlet.committed("hq", 0)
    assert len(kept.items) == 1


def _observed(**parts: CollectorResult) -> bytes:
    return encode_observation(
        Observation(
            endpoint="srv-1", name="SRV-1", site="hq", shard=0, observed_at=START, duration_s=0.1, status="OK",
            fault=None, collectors=parts, epoch="e1", seq=1,
        )
    )  # fmt: skip


def test_grades() -> None:
    plain = CollectorResult(outcome="ok", readings=({"util_pct": 3},))
    changed = msgspec.structs.replace(plain, changes=(Change("added", "x"),))
    metrics, changes = glance(_observed(cpu=plain)), glance(_observed(cpu=plain, software=changed))
    assert metrics.id == "hq/0/e1/1"
    assert grade_of(metrics, (), "OK") == METRICS
    assert grade_of(changes, (), "OK") == CHANGES
    assert grade_of(metrics, {"hq/0/e1/1"}, "OK") == ALERTS
    assert grade_of(changes, (), "TIMEOUT") == ALERTS  # it is well again
    assert grade_of(metrics, (), "") == METRICS
    assert grade_of(glance(observation(1, status="TIMEOUT")), (), "") == ALERTS
    assert grade_of(glance(observation(1, status="TIMEOUT")), (), "TIMEOUT") == METRICS


def test_rounds_and_acts_are_entries() -> None:
    end = RoundEnd(began=START, ended=START, planned=3, tried=2, faults=(("c", "R0", "h", "m"),))
    one = round_item(end, START)
    assert (one.kind, one.grade, one.endpoint) == ("round", METRICS, "")
    assert msgspec.json.decode(one.body, type=RoundEnd) == end
    act = Act(at=START, who="eva", what="ack", key="k")
    acts = [act_item(act, START), act_item(act, START), act_item(msgspec.structs.replace(act, who="al"), START)]
    assert [item.kind for item in acts] == ["audit"] * 3
    assert len({item.id for item in acts}) == 2
    assert msgspec.json.decode(acts[0].body, type=Act) == act
