"""Alerts from a lab's machines to a channel: the command line, as a person on call uses it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import yaml

Lab = Any  # of the conftest


def told(lab: Lab) -> list[dict[str, Any]]:
    file = lab.data / "notifications.log"
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []


def alerts(lab: Lab, *arguments: str) -> list[dict[str, Any]]:
    done = lab.rmm("alerts", "list", "--output", "json", *arguments)
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def change(lab: Lab, **sections: Any) -> None:
    path = lab.config / "rmm.yaml"
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    path.write_text(yaml.safe_dump({**content, **sections}), encoding="utf-8")


@pytest.mark.slow
def test_a_person_on_call(lab_of: Callable[..., Lab]) -> None:
    lab = lab_of(24)
    lab.few()
    assert lab.rmm("poll").returncode == 0
    first = told(lab)
    assert first and all(one["kind"] == "firing" for one in first)
    assert len({one["incident"]["id"] for one in first}) == len(first)
    assert len(first) < len(alerts(lab))  # what belongs together was told together
    # Acknowledged by a matcher, with the number that is expected; channels hear of it after the next round.
    number = len(alerts(lab, "--rule", "volume_full"))
    assert number
    wrong = lab.rmm("alerts", "ack", "--match", "rule=volume_full", "--expect", str(number + 1))
    assert wrong.returncode == 2 and f"{number} alerts fit" in wrong.stderr
    right = lab.rmm("alerts", "ack", "--match", "rule=volume_full", "--expect", str(number), "--reason", "known")
    assert right.stdout == f"{number} acknowledged\n"
    assert {one["state"] for one in alerts(lab, "--rule", "volume_full")} == {"acknowledged"}
    assert lab.rmm("poll").returncode == 0
    assert {one["kind"] for one in told(lab)[len(first):]} >= {"acknowledged"}  # fmt: skip
    # Maintenance is over everything while the whole site goes.
    window = {"name": "always", "weekly": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"], "at": "00:00",
              "lasts": "24h", "reason": "new switches"}  # fmt: skip
    change(lab, maintenance=[window])
    assert "always" in lab.rmm("maintenance", "check").stdout
    lab.stop()
    before = len(told(lab))
    for _ in range(2):
        assert lab.rmm("poll").returncode in (3, 4)
    assert len(told(lab)) == before
    down = alerts(lab, "--rule", "site_down")
    assert len(down) == 1
    story = lab.rmm("alerts", "explain", str(down[0]["number"])).stdout
    assert "not told (window): maintenance always: new switches" in story
    assert "site_down" in lab.rmm("alerts", "log", "--what", "untold", "--output", "json").stdout
    # The window is taken away: the site is told once, and none of its endpoints.
    change(lab, maintenance=[])
    assert lab.rmm("poll").returncode in (3, 4)
    assert [one["incident"]["title"].partition(":")[0] for one in told(lab)[before:]] == ["site lab"]
    assert "no maintenance windows" in lab.rmm("maintenance", "list").stdout
