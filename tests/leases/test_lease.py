"""The state machine of leases: whatever is slow, stopped, cut off or lost, one holder may write by the fence rule."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rmm.core.lease import Tenure, fence_of, owner_of
from rmm.errors import LeaseLost
from rmm.model.lease import EXPIRED, HELD, OFFLINE, Claim, Remembered, Terms

TERMS = Terms()
SHARDS = 6


@dataclass
class Bucket:
    """What the broker has: revisions that grow, and keys that are forgotten `ttl` seconds after their last write."""

    kept: dict[str, tuple[object, int, float]] = field(default_factory=dict)
    revision: int = 0

    def forget(self, now: float) -> None:
        self.kept = {key: one for key, one in self.kept.items() if now - one[2] < TERMS.ttl}

    def put(self, key: str, value: object, after: int, now: float) -> int:
        self.forget(now)
        if (self.kept[key][1] if key in self.kept else 0) != after:
            return 0
        self.revision += 1
        self.kept[key] = (value, self.revision, now)
        return self.revision


class Collector:
    """What `site.leases` does, without an event loop: `answers` says whether the broker's words arrive."""

    def __init__(self, name: str, bucket: Bucket, remembered: Remembered | None = None, life: int = 0) -> None:
        self.name = name
        self.bucket = bucket
        self.tenure = Tenure("hq", name, f"{name}/{life}", SHARDS, TERMS, remembered)
        self.linked = self.deaf = False
        self.busy: set[int] = set()
        self.life = life
        self.linked = True

    def turn(self, now: float) -> None:
        if not self.linked and not self.deaf:
            self.tenure.failed(now, now)
            return
        for shard, claim, revision in self.tenure.renewals(now):
            written = self.bucket.put(f"shard.{shard}", claim, revision, now)
            if not self.deaf:
                self.renewed(shard, claim, written, now)
        if self.deaf:
            self.tenure.failed(now, now)
        else:
            self.look(now)

    def renewed(self, shard: int, claim: Claim, written: int, now: float) -> None:
        found = self.bucket.kept.get(f"shard.{shard}")
        if not written and found and self.tenure.adopt(shard, found[0], found[1]):  # type: ignore[arg-type]
            written = self.bucket.put(f"shard.{shard}", claim, found[1], now)
        if written:
            self.tenure.wrote(shard, claim, written, now)
        else:
            self.tenure.refused(shard)

    def look(self, now: float) -> None:
        self.bucket.forget(now)
        member = f"member.{self.name}"
        self.bucket.put(member, None, self.bucket.kept.get(member, (None, 0, 0.0))[1], now)
        members = [key.split(".")[1] for key in self.bucket.kept if key.startswith("member.")]
        claims = {
            int(key.split(".")[1]): (value[0], value[1])
            for key, value in self.bucket.kept.items()
            if key.startswith("shard.")
        }
        plan = self.tenure.looked(now, members, claims, self.busy)  # type: ignore[arg-type]
        for shard, after in plan.take.items():
            claim = self.tenure.claim(shard)
            if revision := self.bucket.put(f"shard.{shard}", claim, after, now):
                self.tenure.wrote(shard, claim, revision, now)
        for shard in plan.drop:
            lease = self.tenure.lease(shard, now)
            self.tenure.gave_up(shard)
            found = self.bucket.kept.get(f"shard.{shard}")
            if found and lease and found[1] == lease.revision:
                del self.bucket.kept[f"shard.{shard}"]
                self.bucket.revision += 1

    def may(self, shard: int, now: float) -> tuple[str, int] | None:
        try:
            lease = self.tenure.check(shard, now)
        except LeaseLost:
            return None
        return lease.state, lease.fence


def settle(collectors: list[Collector], now: float, seconds: float = 60.0) -> float:
    end = now + seconds
    while now < end:
        for one in collectors:
            one.turn(now)
        now += 1.0
    return now


def held_by(collectors: list[Collector], now: float) -> dict[int, str]:
    return {shard: one.name for one in collectors for shard in one.tenure.held(now)}


def test_one_collector_takes_everything_after_it_has_settled() -> None:
    alone = Collector("a", Bucket())
    alone.turn(0.0)
    assert alone.tenure.held(0.0) == {}
    now = settle([alone], 0.0, 10.0)
    assert set(alone.tenure.held(now)) == set(range(SHARDS))


def test_a_new_member_gets_its_own_shards_and_no_other_moves() -> None:
    bucket = Bucket()
    two = [Collector("a", bucket), Collector("b", bucket)]
    now = settle(two, 0.0)
    before = held_by(two, now)
    assert len(before) == SHARDS
    three = [*two, Collector("c", bucket)]
    now = settle(three, now)
    after = held_by(three, now)
    assert len(after) == SHARDS
    assert after == {shard: owner_of(shard, ["a", "b", "c"]) for shard in range(SHARDS)}
    assert {shard for shard in before if before[shard] != after[shard]} == {s for s in after if after[s] == "c"}


def test_rendezvous_moves_what_the_new_member_gets_and_spreads_evenly() -> None:
    members = [f"m{n}" for n in range(4)]
    before = {shard: owner_of(shard, members) for shard in range(4000)}
    after = {shard: owner_of(shard, [*members, "new"]) for shard in range(4000)}
    moved = [shard for shard in before if before[shard] != after[shard]]
    assert {after[shard] for shard in moved} == {"new"}
    assert 700 < len(moved) < 900
    assert all(900 < count < 1100 for count in Counter(before.values()).values())


def test_a_dead_member_is_inherited_within_the_time_to_live_and_one_look() -> None:
    bucket = Bucket()
    three = [Collector(name, bucket) for name in "abc"]
    now = settle(three, 0.0)
    before = held_by(three, now)
    dead = now - 1.0  # its last turn
    while len(held_by(three[:2], now)) < SHARDS:
        now += 1.0
        for one in three[:2]:
            one.turn(now)
        assert now - dead <= TERMS.ttl + 3
    after = held_by(three[:2], now)
    assert {s for s in before if before[s] != after[s]} == {s for s in before if before[s] == "c"}


def test_a_round_keeps_its_shard_until_it_is_over_but_not_for_ever() -> None:
    bucket = Bucket()
    one = Collector("a", bucket)
    now = settle([one], 0.0)
    one.busy = set(range(SHARDS))
    other = Collector("b", bucket)
    theirs = {shard for shard in range(SHARDS) if owner_of(shard, ["a", "b"]) == "b"}
    assert theirs
    now = settle([one, other], now, 30)
    assert not other.tenure.held(now)
    assert not theirs & set(one.tenure.held(now))  # no new round of them begins
    assert all(one.may(shard, now) for shard in theirs)  # the one that runs goes on
    one.busy = set()
    now = settle([one, other], now, 3)
    assert set(other.tenure.held(now)) == theirs
    busy = Collector("c", bucket)
    one.busy = other.busy = set(range(SHARDS))
    now = settle([one, other, busy], now, TERMS.give_up + 20)
    assert set(busy.tenure.held(now)) == {s for s in range(SHARDS) if owner_of(s, ["a", "b", "c"]) == "c"}


def test_who_was_stopped_past_its_time_writes_nothing_and_asks_first() -> None:
    bucket = Bucket()
    two = [Collector("a", bucket), Collector("b", bucket)]
    now = settle(two, 0.0)
    mine = set(two[0].tenure.held(now))
    fences = {shard: two[0].tenure.held(now)[shard].fence for shard in mine}
    now = settle(two[1:], now, 40)
    assert [two[0].may(shard, now) for shard in mine] == [None] * len(mine)
    two[0].linked = False  # its connection was closed while it was stopped, and is made anew
    two[0].turn(now)
    assert [two[0].may(shard, now) for shard in mine] == [None] * len(mine)
    two[0].linked = True
    two[0].turn(now)
    assert [two[0].may(shard, now) for shard in mine] == [None] * len(mine)
    assert sorted(two[0].tenure.lost()) == sorted(mine)
    now = settle(two, now)
    assert {shard: two[0].tenure.held(now)[shard].fence > fences[shard] for shard in mine} == dict.fromkeys(mine, True)


def test_who_wakes_up_and_was_not_replaced_goes_on_with_its_fence() -> None:
    """Nobody else wrote the key, so nobody else can have polled under a later fence."""
    one = Collector("a", Bucket())
    now = settle([one], 0.0)
    fence = one.tenure.check(0, now).fence
    assert one.may(0, now + 13.5) is None
    assert one.tenure.lease(0, now + 13.5).state == EXPIRED  # type: ignore[union-attr]
    one.turn(now + 13.5)
    assert one.may(0, now + 13.5) == (HELD, fence)


def test_without_a_broker_the_last_shards_go_on_and_the_first_answer_decides() -> None:
    bucket = Bucket()
    two = [Collector("a", bucket), Collector("b", bucket)]
    now = settle(two, 0.0)
    before = held_by(two, now)
    for one in two:
        one.linked = False
    pauses = 0
    end = now + 3600
    while now < end:
        for one in two:
            one.turn(now)
        pauses += sum(two["ab".index(name)].may(shard, now) is None for shard, name in before.items())
        now += 1.0
    assert pauses == 0
    assert {one.may(shard, now)[0] for one in two for shard in one.tenure.held(now)} == {OFFLINE}  # type: ignore[index]
    for one in two:
        one.linked = True
        one.turn(now)
    now = settle(two, now, 3)
    assert held_by(two, now) == before  # nobody was first and took everything


def test_one_of_two_cut_off_both_poll_and_the_later_fence_wins() -> None:
    bucket = Bucket()
    two = [Collector("a", bucket), Collector("b", bucket)]
    now = settle(two, 0.0)
    mine = set(two[0].tenure.held(now))
    two[0].linked = False
    now = settle(two, now)
    for shard in mine:
        (offline, old), (held, new) = two[0].may(shard, now), two[1].may(shard, now)  # type: ignore[misc]
        assert (offline, held) == (OFFLINE, HELD)
        assert new > old
    two[0].linked = True
    two[0].turn(now)
    assert [two[0].may(shard, now) for shard in mine] == [None] * len(mine)


def test_a_restart_takes_its_own_back_at_once_and_under_a_new_fence() -> None:
    bucket = Bucket()
    one = Collector("a", bucket)
    now = settle([one], 0.0)
    fence = one.tenure.check(0, now).fence
    again = Collector("a", bucket, one.tenure.remembered(), life=1)
    again.turn(now + 1)
    assert again.may(0, now + 1)[1] > fence  # type: ignore[index]
    one.turn(now + 2)  # a copy of the process that still ran
    assert one.may(0, now + 2) is None


def test_a_start_without_a_broker_holds_what_was_held_last() -> None:
    bucket = Bucket()
    one = Collector("a", bucket)
    now = settle([one], 0.0)
    again = Collector("a", bucket, one.tenure.remembered(), life=1)
    again.linked = False
    assert again.may(0, now) is None
    now = settle([again], now, 30)
    assert again.may(0, now) == (OFFLINE, one.tenure.remembered().held[0])
    again.linked = True
    again.turn(now)
    assert again.may(0, now)[1] > one.tenure.remembered().held[0]  # type: ignore[index]


def test_a_broker_that_lost_its_store_gives_no_lower_fence() -> None:
    bucket = Bucket(revision=5000)
    one = Collector("a", bucket)
    now = settle([one], 0.0)
    fence = one.tenure.check(0, now).fence
    one.bucket = Bucket()
    now = settle([one], now, 30)
    assert one.tenure.check(0, now).fence > fence > 5000


def test_a_member_that_comes_and_goes_has_to_stay_longer_each_time() -> None:
    bucket = Bucket()
    one = Collector("a", bucket)
    now = settle([one], 0.0)
    moves = 0
    for _ in range(20):
        flapping = Collector("b", bucket)
        now = settle([one, flapping], now, 20)
        moves += bool(flapping.tenure.held(now))
        now = settle([one], now, 20)
    assert moves <= 3


def test_the_fence_of_a_claim() -> None:
    assert fence_of(Claim("a", "h"), 7) == 7
    assert fence_of(Claim("a", "h", 7), 12) == 7
    assert fence_of(Claim("a", "h", 0, 40), 7) == 41


@pytest.mark.parametrize("seconds", [1.0, 12.0])
def test_it_stops_before_the_broker_forgets(seconds: float) -> None:
    one = Collector("a", Bucket())
    now = settle([one], 0.0)
    sent = now
    one.turn(sent)
    assert one.may(0, sent + seconds) is not None
    assert one.may(0, sent + TERMS.ttl - TERMS.margin) is None


ACTIONS = st.one_of(
    st.tuples(st.just("run"), st.sampled_from([1.0, 4.0, 16.0, 25.0, 60.0])),
    st.tuples(st.just("link"), st.integers(0, 2), st.booleans()),
    st.tuples(st.just("deaf"), st.integers(0, 2), st.booleans()),
    st.tuples(st.just("stop"), st.integers(0, 2), st.booleans()),
    st.tuples(st.just("restart"), st.integers(0, 2), st.booleans()),
    st.tuples(st.just("busy"), st.integers(0, 2), st.sets(st.integers(0, SHARDS - 1))),
)


@settings(max_examples=120, deadline=None)
@given(st.lists(ACTIONS, min_size=2, max_size=20), st.lists(st.floats(0.5, 6.0), min_size=3, max_size=3))
def test_whatever_happens_one_holder_may_write(actions: list[tuple[object, ...]], paces: list[float]) -> None:
    """At most one holds a shard; of those who go on without the broker each has a fence of its own, and a lower one.

    `begun` is what the hub keeps: the highest fence and since when. A write that it takes is by whoever began last.
    """
    bucket = Bucket()
    collectors = [Collector(name, bucket) for name in "abc"]
    due, stopped = [0.0, 0.0, 0.0], [False] * 3
    used: dict[int, dict[int, str]] = {shard: {} for shard in range(SHARDS)}  # fence -> whose it was
    now = 0.0
    for action, *rest in [("run", 25.0), *actions, ("run", 25.0)]:
        if action == "run":
            end = now + float(rest[0])  # type: ignore[arg-type]
            while now < end:
                now += 0.25
                for n, one in enumerate(collectors):
                    if now >= due[n] and not stopped[n]:
                        one.turn(now)
                        due[n] = now + (1.0 if one.tenure.link.up_since is None else paces[n])
                    _judge(collectors, used, now)
            continue
        n = int(rest[0])  # type: ignore[call-overload]
        one = collectors[n]
        if action == "link":
            one.linked = bool(rest[1])
        elif action == "deaf":
            one.deaf = bool(rest[1])  # what it says arrives, what is answered does not
        elif action == "stop":
            stopped[n] = bool(rest[1])
        elif action == "busy":
            one.busy = rest[1]
        else:
            kept = one.tenure.remembered() if rest[1] else None
            collectors[n] = Collector(one.name, bucket, kept, one.life + 1)
            collectors[n].linked = one.linked


def _judge(collectors: list[Collector], used: dict[int, dict[int, str]], now: float) -> None:
    for shard in range(SHARDS):
        found = [(one.name, *right) for one in collectors if (right := one.may(shard, now))]
        holders = [name for name, state, _ in found if state == HELD]
        assert len(holders) <= 1, (shard, found)
        fences = [fence for _, _, fence in found]
        assert len(set(fences)) == len(fences), (shard, found)
        if holders:
            assert max(found, key=lambda one: one[2])[1] == HELD, (shard, found)
        for name, state, fence in found:
            assert used[shard].setdefault(fence, name) == name  # never two with one fence
            if state == HELD:
                assert fence == max(used[shard]), (shard, found)  # monotonic over holders
