"""A few of the flipped bits of `make crash`, and that the judgement of them is not blind."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from tests.crash import flips, sweep, trace


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> sweep.Recording:
    if reason := trace.why_not():
        pytest.skip(reason)
    return sweep.record(tmp_path_factory.mktemp("recording"))


def test_what_turns_over_is_found_and_the_rest_goes_on(recording: sweep.Recording) -> None:
    result = flips.run(recording, 2, seed=7)
    assert not result.findings, result.findings
    assert set(result.outcomes) == set(flips.KINDS)
    assert result.outcomes["hot"][flips.FOUND] + result.outcomes["spool"][flips.FOUND] >= 2


def test_without_a_flip_nothing_is_found(recording: sweep.Recording, tmp_path: Path) -> None:
    for store in list(flips.stores(recording, 1000)):
        assert flips.judged(tmp_path, store.found, store.expected) == (flips.UNHARMED, [])


def test_another_value_is_seen(recording: sweep.Recording, tmp_path: Path) -> None:
    """As if the hot tier had no checksum: the fleet would show what no endpoint ever said."""
    *_, store = flips.stores(recording, 400)
    lost = dataclasses.replace(store.expected, acknowledged=store.expected.acknowledged | {("srv-1", 10**6)})
    outcome, wrong = flips.judged(tmp_path, store.found, lost)
    assert (outcome, wrong) == (flips.SILENT, ["srv-1: minutes [1000000]"])
