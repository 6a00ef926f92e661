"""Two collectors at a site, as processes, that share its shards by lease."""

from pathlib import Path

import pytest

from tests.fleet.fleet import Fleet
from tests.fleet.shared import Shared

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def said(text: str) -> None:
    print(text, flush=True)


def test_who_shares_a_site_loses_and_doubles_nothing(tmp_path: Path) -> None:
    """Site 1 polls, site 2 has a wrong password; at both the one that holds most stands still past its time."""
    with Fleet(tmp_path, sites=2, endpoints=6, seed=3, say=said, collectors=2, wrong=1) as fleet:
        fleet.settled(90)
        fleet.shared_out(60)
        before = fleet.wrong_logons()
        shared = Shared(fleet, share=1.0)
        shared.pause_holders(0.0)
        fleet.settled(60)
        after = fleet.wrong_logons()
        verdicts = fleet.finish()
    print(verdicts, shared.took)
    assert 1 <= before <= after <= 2
    for one in verdicts:
        assert not one.harmed, one
        assert (one.stale, one.refused) == (0, 0), one
