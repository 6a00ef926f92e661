"""A site or group chooses how collectors are read: by script, by WQL, or by WQL where no script has to run anyway."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import yaml

COUNTED = ("pipelines", "queries", "shells_opened")
ONLY = ("cpu", "memory", "system")  # each has a WQL form


@pytest.fixture
def lab(lab_of: Callable[..., Any]) -> Any:
    return lab_of(5)


def _poll(lab: Any, number: int, source: str, *, disabled: list[str]) -> dict[str, int]:
    """What one poll of one endpoint cost the lab."""
    settings = lab.config / "rmm.yaml"
    content = yaml.safe_load(settings.read_text(encoding="utf-8"))
    listed = json.loads(lab.rmm("endpoints", "list", "--output", "json").stdout)
    endpoint = listed[number]
    content["groups"] = {endpoint["group"]: {"source": source}}
    content["collectors"] = {**content.get("collectors", {}), "disable": disabled}
    settings.write_text(yaml.safe_dump(content), encoding="utf-8")
    before = lab.stats()
    done = lab.rmm("poll", "--endpoint", endpoint["id"], "--all", "--output", "json")
    assert done.returncode == 0, done.stderr
    after = lab.stats()
    return {name: after[name] - before[name] for name in COUNTED}


def test_each_source(lab: Any) -> None:
    names = [row["name"] for row in json.loads(lab.rmm("collector", "list", "--output", "json").stdout)]
    others = [name for name in names if name not in (*ONLY, "availability")]
    by_script = _poll(lab, 0, "script", disabled=others)
    assert by_script == {"pipelines": 1, "queries": 0, "shells_opened": 1}
    by_wql = _poll(lab, 1, "wql", disabled=others)
    assert by_wql["queries"] >= len(ONLY)
    assert (by_wql["pipelines"], by_wql["shells_opened"]) == (0, 0)
    alone = _poll(lab, 2, "auto", disabled=others)
    assert alone == by_wql
    # `services` needs its script, so a pipeline runs anyway and has all of them.
    mixed = _poll(lab, 3, "auto", disabled=[name for name in others if name != "services"])
    assert mixed == by_script
    both = _poll(lab, 4, "wql", disabled=[name for name in others if name != "services"])
    assert both == {"pipelines": 1, "queries": by_wql["queries"], "shells_opened": 1}


def test_a_source_and_a_group_that_are_none_are_refused_or_told(lab: Any) -> None:
    settings = lab.config / "rmm.yaml"
    text = settings.read_text(encoding="utf-8")
    try:
        content = yaml.safe_load(text)
        content["groups"] = {"server2016": {"source": "wmi"}}
        settings.write_text(yaml.safe_dump(content), encoding="utf-8")
        refused = lab.rmm("poll")
        assert refused.returncode == 2
        assert "groups.server2016.source: 'wmi' is not one of script, wql, auto, jea" in refused.stderr
        content["groups"] = {"kiosks": {"source": "wql"}}
        settings.write_text(yaml.safe_dump(content), encoding="utf-8")
        assert "groups.kiosks: no endpoint of the list is in this group" in lab.rmm("poll", "--dry-run").stderr
    finally:
        settings.write_text(text, encoding="utf-8")
