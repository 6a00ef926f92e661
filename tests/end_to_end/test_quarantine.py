"""Another machine answers for an endpoint: it is shown, a person accepts it, and it alone is let in."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import yaml

FIRST, SECOND = "11111111-2222-3333-4444-555555555555", "66666666-2222-3333-4444-555555555555"
# The runs of scripts there: one in the first round; two in the second, since another installation shows its hardware;
# one in the third; then yet another machine.
FAULTS = f"""
faults:
  - {{kind: identity, uuid: {FIRST}, machine: {FIRST}, skip: 1, machines: [0]}}
  - {{kind: identity, uuid: {SECOND}, machine: {SECOND}, skip: 4, machines: [0]}}
  - {{kind: identity, name: SRV99-OTHER, machines: [1]}}
"""


def prepared(lab: Any) -> Any:
    """Few collectors, and shards enough for two processes."""
    lab.few()
    path = lab.config / "rmm.yaml"
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    for site in content["sites"].values() if isinstance(content["sites"], dict) else content["sites"]:
        site["shards"] = 4
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return lab


def quarantined(lab: Any) -> dict[str, Any]:
    return {one["id"]: one for one in json.loads(lab.rmm("endpoints", "quarantined", "-o", "json").stdout)}


def polled(lab: Any, *arguments: str) -> dict[str, Any]:
    return {one["endpoint"]: one for one in lab.observations(*arguments)}


def test_another_machine_is_let_in_by_a_persons_word_alone(lab_of: Callable[..., Any]) -> None:
    lab = prepared(lab_of(6, FAULTS))
    ids = [endpoint["id"] for endpoint in lab.info["endpoints"]]
    board, named = ids[0], ids[1]
    first = polled(lab)
    assert (first[board]["status"], first[named]["status"]) == ("OK", "IDENTITY_MISMATCH")
    assert f"rmm endpoints accept {named}" in first[named]["fault"]["hint"]
    old = first[board]["collectors"]["hardware"]["readings"][0]["uuid"]
    assert list(quarantined(lab)) == [named]

    second = polled(lab)
    assert second[board]["status"] == "IDENTITY_MISMATCH"
    assert second[board]["collectors"] == {}
    assert f"rmm endpoints accept {board}" in second[board]["fault"]["hint"]
    found = quarantined(lab)
    assert list(found) == [named, board]  # longest first
    assert found[board]["expected"]["uuid"] == old
    assert (found[board]["seen"]["uuid"], found[board]["seen"]["machine"]) == (FIRST, FIRST)
    assert found[named]["seen"]["name"] == "SRV99-OTHER"
    assert found[named]["seen"]["uuid"]  # its hardware was read for whoever has to decide
    table = lab.rmm("endpoints", "quarantined").stdout
    assert old in table
    assert FIRST in table

    refused = lab.rmm("endpoints", "accept", board, named)  # nobody can be asked
    assert refused.returncode == 2
    assert quarantined(lab)[board]["accepted"] is None
    assert lab.rmm("endpoints", "accept", ids[2], "--yes").returncode == 2  # the right machine answers there
    done = lab.rmm("endpoints", "accept", board, named, "--reason", "new board", "--yes")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "2 accepted; the next poll stores what it reads")
    assert quarantined(lab)[board]["accepted"]

    third = polled(lab, "--due", "--workers", "2")  # before any back-off ends, in other processes
    assert {third[name]["status"] for name in (board, named)} == {"OK"}
    assert third[board]["collectors"]["hardware"]["readings"][0]["uuid"] == FIRST
    # Nothing of the machine before is left as if it were this one's, nor are rates since its counters.
    assert third[board]["collectors"].keys() == first[board]["collectors"].keys()
    assert third[board]["collectors"]["cpu"]["readings"][0]["util_pct"] is None
    assert quarantined(lab) == {}
    changes = json.loads(lab.rmm("changes", board, "-o", "json").stdout)
    told = {(one["collector"], one["what"], one["field"], one["from"], one["to"]) for one in changes}
    assert ("identity", "accepted", "uuid", old, FIRST) in told
    assert ("hardware", "changed", "uuid", old, FIRST) in told
    assert any(one["row"].endswith(": new board") for one in changes)

    fourth = polled(lab)
    assert fourth[board]["status"] == "IDENTITY_MISMATCH"  # one machine was accepted, and this is another
    assert fourth[named]["status"] == "OK"
    assert quarantined(lab)[board]["expected"]["uuid"] == FIRST
    assert quarantined(lab)[board]["seen"]["uuid"] == SECOND
