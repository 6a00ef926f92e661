"""What a visit keeps of an endpoint's identity."""

from __future__ import annotations

import gc
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from rounds import Bench, Peer

from rmm.core.merge import merge
from rmm.loop import SystemClock
from rmm.model.endpoint import Endpoint
from rmm.model.state import EndpointState
from rmm.poller.visit import Visitor

BY_ADDRESS = Endpoint(id="e", name="192.0.2.7", site="hq")


def known() -> EndpointState:
    """An endpoint by address, of which a name and a session configuration have been learnt an hour ago."""
    at = datetime.now(UTC) - timedelta(hours=1)
    return EndpointState(
        endpoint="e", name=BY_ADDRESS.name, site="hq", observed_at=at, status="OK", fault=None, duration_s=0.1,
        epoch="a", seq=1, identity={"name": "PC1", "session": "Own", "session_at": at.isoformat()}, identity_at=at,
    )  # fmt: skip


@pytest.mark.parametrize("peer", [{}, {"netbios": "PC1"}, {"netbios": "SOMEBODY"}])
async def test_a_poll_that_learns_a_part_does_not_forget_the_rest(tmp_path: Path, peer: dict[str, str]) -> None:
    state = known()
    bench = Bench(tmp_path, Peer(peer), concurrency=1, timeout=5.0)
    visitor = Visitor(bench.kit("b", SystemClock()))
    seen = await visitor.visit(BY_ADDRESS, 0, 2, ("availability",), state)
    assert (seen.fault is not None) == ("SOMEBODY" in peer.values())
    assert merge(state, seen).identity["name"] == "PC1"


async def test_a_visit_that_is_over_is_no_garbage_for_the_collector(tmp_path: Path) -> None:
    """What it holds (a state, readings, a session: 100 KB) goes at once, not after ten thousand more objects."""
    bench = Bench(tmp_path, Peer({"netbios": "PC1"}), concurrency=1, timeout=5.0)
    visitor = Visitor(bench.kit("b", SystemClock()))
    state = known()
    gc.collect()
    gc.disable()
    try:
        for seq in range(3):
            await visitor.visit(BY_ADDRESS, 0, seq, ("availability",), state)
        left = sys.getrefcount(state)
    finally:
        gc.enable()
    assert left == 2  # the variable here, and the argument of getrefcount
