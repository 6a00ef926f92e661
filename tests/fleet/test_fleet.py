"""Hub, broker and sites as processes. `make fleet` is the same with fifty sites, for longer."""

import json
import signal
import sqlite3
import time
from datetime import datetime
from pathlib import Path

import pytest

from tests.fleet.fleet import Fleet
from tests.fleet.pieces import rmm, wait_for
from tests.fleet.shared import Shared
from tests.postgres.cluster import Cluster

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

RULES = """
rules:
  - {id: it_runs, collector: memory, field: used_pct, op: ">=", warning: 0, summary: "{endpoint} uses {value} %"}
"""


def said(text: str) -> None:
    print(text, flush=True)


def test_nothing_is_lost_or_doubled_whatever_fails(tmp_path: Path) -> None:
    with Fleet(tmp_path, sites=3, endpoints=2, seed=7, say=said) as fleet:
        fleet.settled(90)
        for fault in fleet.plan():
            fault(4.0)
        fleet.settled(120, again=True)  # all of them go on
        verdicts = fleet.finish()
    for one in verdicts:
        assert one.observed > 5, one
        assert (one.lost, one.doubled, one.equal) == (0, 0, True), one


def test_who_shares_a_site_loses_and_doubles_nothing_and_stands_still_past_its_time(tmp_path: Path) -> None:
    """Two collectors each; site 2 has a wrong password in its vaults. Who holds most stands still, in a poll."""
    with Fleet(tmp_path, sites=2, endpoints=6, seed=3, say=said, collectors=2, wrong=1) as fleet:
        fleet.shared_out(90)
        fleet.settled(60)
        before, shared = fleet.wrong_logons(), Shared(fleet, share=1.0)
        shared.pause_holders(0.0)
        fleet.shared_out(60)
        fleet.settled(60)
        after = fleet.wrong_logons()
        verdicts = fleet.finish()
    said(f"{verdicts}; the others had the shards after {shared.took} s")
    assert (before, after) == (1, 1)  # the budget is 2
    for one in verdicts:
        assert not one.harmed, one
        assert (one.stale, one.refused) == (0, 0), one


def test_a_condition_at_a_site_is_told_by_the_hub_in_seconds(tmp_path: Path) -> None:
    with Fleet(tmp_path, sites=2, endpoints=3, seed=1, say=said, rules=RULES) as fleet:
        fleet.settled(90)
        told = fleet.hub_data / "notifications.log"
        wait_for("a notification of each endpoint", lambda: _ages(fleet.hub_data, 6), 30)
        ages = _ages(fleet.hub_data, 6)
        assert told.exists()
        print(f"from the observation to the hub's channel: {max(ages):.2f} s at most")
        assert max(ages) < 5.0
        status = json.loads(rmm("status", "--output", "json", "--config", str(fleet.hub_config)))
        assert len(status) == 6
        shown = json.loads(rmm("sites", "list", "--output", "json", "--config", str(fleet.hub_config)))
        assert {row["site"] for row in shown} == {"site-01", "site-02"}


def _ages(data: Path, least: int) -> list[float]:
    """Seconds from the observation to when the channel took it, for each alert of the rule; none before all are."""
    with sqlite3.connect(f"file:{data / 'fleet.sqlite'}?mode=ro", uri=True) as db:
        rows = db.execute("SELECT sent_at, body FROM outbox WHERE sent_at <> ''").fetchall()
    ages: dict[str, float] = {}
    for sent_at, body in rows:
        for alert in json.loads(body)["alerts"]:
            if alert["rule"] == "it_runs":
                age = datetime.fromisoformat(sent_at) - datetime.fromisoformat(alert["first_at"])
                ages.setdefault(alert["endpoint"], age.total_seconds())
    return list(ages.values()) if len(ages) >= least else []


def test_the_hub_waits_for_its_database(tmp_path: Path) -> None:
    database = Cluster()
    try:
        with Fleet(tmp_path, sites=2, endpoints=2, seed=1, say=said, database=database) as fleet:
            fleet.settled(90)
            database.stop(signal.SIGQUIT)
            time.sleep(20.0)  # longer than a round
            database.start()
            wait_for("the hub is at work again", lambda: "can be stored again" in fleet.hub.log.read_text(), 60)
            assert fleet.hub.starts == 1
            fleet.settled(60)
            verdicts = fleet.finish()
    finally:
        database.remove()
    assert all(one.observed and not one.lost and not one.doubled and one.equal for one in verdicts), verdicts
