"""An inventory that changes between two polls: told by rmm changes, and an alert by a rule on change."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

MANIFEST = """\
name: crew
title: Crew
schema: 1
interval: 86400
timeout: 20
cost: C1
owner: us
unchanged_ttl: 604800
sources:
  person: {}
rows: person
key: [id]
fields:
  id: {type: text, kind: text, prop: Id}
  role: {type: text, kind: state, prop: Role}
rules:
  - {id: crew_grew, op: added, critical: true, where: {role: captain}, summary: "{id} is {role} of {endpoint} now"}
"""
SCRIPT = "ConvertTo-Json -InputObject @{ person = @() } -Compress -Depth 4\n"
# A configuration's own rules, about what the product ships and about what a user has.
RULES = """\
rules:
  - {id: demoted, collector: crew, field: role, op: changed, warning: true, summary: "{id}: {before}, now {after}"}
  - {id: program_added, collector: software, op: added, warning: true, summary: "{name} on {endpoint}"}
"""


def crew(folder: Path, **roles: str) -> None:
    """The collector, with a sample of these people: the lab's machines give it."""
    samples = folder / "crew" / "samples"
    samples.mkdir(parents=True, exist_ok=True)
    (folder / "crew" / "collector.yaml").write_text(MANIFEST)
    (folder / "crew" / "collect.ps1").write_text(SCRIPT)
    people = [{"Id": name, "Role": role} for name, role in roles.items()]
    sample = {"observed_at": "2026-11-20T10:00:00Z", "document": {"person": people}}
    (samples / "server2022-typical.raw.json").write_text(json.dumps(sample))


@pytest.mark.timeout(180)
def test_a_change_is_told_and_rules_are_about_it(lab_of: Callable[..., Any], tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    crew(mine, ann="captain", bob="mate")
    lab = lab_of(1, collectors=mine)
    own = f"collectors:\n  folders: [{json.dumps(str(mine))}]\n"

    def poll(lab: Any) -> None:
        settings = lab.config / "rmm.yaml"
        settings.write_text(settings.read_text() + own)
        (lab.config / "rules").mkdir(exist_ok=True)
        (lab.config / "rules" / "mine.yaml").write_text(RULES)
        (one,) = lab.observations("--all")
        assert one["collectors"]["crew"]["outcome"] == "ok", one["collectors"]["crew"]

    poll(lab)
    assert "nothing has changed" in lab.rmm("changes").stdout
    lab.stop()
    crew(mine, ann="mate", cat="captain", dan="mate")
    lab = lab_of(1, collectors=mine, folder=lab.config.parent)
    poll(lab)
    told = json.loads(lab.rmm("changes", "--output", "json").stdout)
    assert sorted((row["what"], row["row"], row["from"]) for row in told if row["collector"] == "crew") == [
        ("added", "cat", None), ("added", "dan", None), ("changed", "ann", "captain"), ("removed", "bob", None),
    ]  # fmt: skip
    alerts = {a["summary"]: a for a in json.loads(lab.rmm("alerts", "list", "--output", "json").stdout)}
    name = lab.info["endpoints"][0]["name"]
    assert alerts[f"cat is captain of {name} now"]["severity"] == "critical"
    assert alerts["ann: captain, now mate"]["severity"] == "warning"
    assert not any(summary.startswith("dan") for summary in alerts)


def test_a_rule_on_change_that_can_never_fire_is_refused(lab_of: Callable[..., Any]) -> None:
    lab = lab_of(1)
    (lab.config / "rules").mkdir()
    wrong = "  - {id: a, collector: cpu, field: util_pct, op: changed, warning: true}\n"
    wrong += "  - {id: b, collector: hardware, op: added, warning: true}\n"
    wrong += "  - {id: c, collector: software, op: added, warning: true, where: {nmae: x}}\n"
    (lab.config / "rules" / "mine.yaml").write_text("rules:\n" + wrong)
    done = lab.rmm("poll")
    assert done.returncode == 2
    for text in (
        "mine.yaml:2: rules[0].op: changes are told of inventories only, and cpu is none",
        "mine.yaml:3: rules[1].op: rows come and go only where there is a `key`",
        "mine.yaml:4: rules[2].where: software has no 'nmae'; did you mean name?",
    ):
        assert text in done.stderr
