"""The fold is idempotent and order-free."""

import random

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from observations import observe

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
    return msgspec.structs.replace(observe(minute=minute, seq=seq, fault=fault), collectors={} if fault else parts)


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
    unique_by=lambda o: o.observed_at,
)


def fold(items: list[Observation]) -> EndpointState:
    state = None
    for item in items:
        state = merge(state, item)
    assert state is not None
    return msgspec.structs.replace(state, failures=0)


@given(observations, st.randoms())
def test_order_and_redelivery_change_nothing(items: list[Observation], chance: random.Random) -> None:
    shuffled = items + chance.choices(items, k=len(items))
    chance.shuffle(shuffled)
    expected, got = fold(sorted(items, key=lambda o: o.observed_at)), fold(shuffled)
    assert msgspec.json.encode(got) == msgspec.json.encode(
        msgspec.structs.replace(expected, collectors={n: expected.collectors[n] for n in got.collectors})
    )
    assert set(got.collectors) == set(expected.collectors)


def test_a_fault_keeps_the_last_readings() -> None:
    state = merge(None, observe(minute=0, cpu=[{"core": "_Total", "util_pct": 1.0}]))
    after = merge(state, observe(minute=1, fault=Fault("timeout")))
    assert after.status == "TIMEOUT"
    assert after.failures == 1
    assert after.collectors == state.collectors
    assert merge(after, observe(minute=2)).failures == 0
