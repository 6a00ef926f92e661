"""The fold is idempotent and order-free."""

import random
from datetime import timedelta

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from observations import START, observe

from rmm.core.merge import merge
from rmm.model.observation import CollectorResult, Fault, Observation
from rmm.model.state import EndpointState


def one(minute: int, seq: int, names: list[str], outcome: str) -> Observation:
    fault = Fault("timeout") if outcome == "lost" else None
    parts = {
        name: CollectorResult(
            outcome="fault" if outcome == "fault" else "ok",
            readings=({"value": minute * 100 + seq},) if outcome == "ok" else (),
            fault=Fault("script.failed") if outcome == "fault" else None,
        )
        for name in names
    }
    made: Observation = msgspec.structs.replace(
        observe(minute=minute, seq=seq, fault=fault),
        collectors={} if fault else parts,
        identity={"name": f"srv{seq}"} if outcome == "ok" and minute % 2 else {},
    )
    return made


observations = st.lists(
    st.builds(
        one,
        st.integers(0, 6),
        st.integers(1, 3),
        st.lists(st.sampled_from(["cpu", "os", "disk"]), unique=True),
        st.sampled_from(["ok", "fault", "lost"]),
    ),
    min_size=1,
    max_size=8,
    unique_by=lambda o: (o.observed_at, o.seq),
)


def fold(items: list[Observation]) -> EndpointState:
    state = None
    for item in items:
        state = merge(state, item)
    assert state is not None
    return state


@given(observations, st.randoms())
def test_order_and_redelivery_change_nothing(items: list[Observation], chance: random.Random) -> None:
    shuffled = items + chance.choices(items, k=len(items))
    chance.shuffle(shuffled)
    assert msgspec.json.encode(fold(shuffled)) == msgspec.json.encode(fold(items))


@given(observations)
def test_the_newest_wins_and_failures_are_counted(items: list[Observation]) -> None:
    order = sorted(items, key=lambda o: (o.observed_at, o.epoch, o.seq))
    state = fold(items)
    assert (state.observed_at, state.seq, state.status) == (order[-1].observed_at, order[-1].seq, order[-1].status)
    good = max((o.observed_at for o in items if o.fault is None), default=None)
    assert state.succeeded_at == good
    assert state.failures == len({o.observed_at for o in items if o.fault and (not good or o.observed_at > good)})
    for name, known in state.collectors.items():
        tried = [o for o in order if name in o.collectors]
        assert known.attempted_at == tried[-1].observed_at
        read = [o for o in tried if o.collectors[name].readings]
        assert known.at == (read[-1].observed_at if read else None)


def test_back_off_belongs_to_the_newest_observation() -> None:
    late, early = observe(minute=9, seq=2, fault=Fault("timeout")), observe(minute=1, fault=Fault("timeout"))
    state = merge(merge(None, late, START), early, START - timedelta(days=1))
    assert (state.not_before, state.failures) == (START, 2)
    assert merge(state, late, None) is state
    for minute in range(10, 60):
        state = merge(state, observe(minute=minute, seq=3, fault=Fault("timeout")))
    assert state.failures == 16
    assert merge(state, observe(minute=60)).not_before is None


def test_a_fault_keeps_the_last_readings() -> None:
    state = merge(None, observe(minute=0, cpu=[{"core": "_Total", "util_pct": 1.0}]))
    after = merge(state, observe(minute=1, fault=Fault("timeout")))
    assert after.status == "TIMEOUT"
    assert after.failures == 1
    assert after.collectors == state.collectors
    assert merge(after, observe(minute=2)).failures == 0
