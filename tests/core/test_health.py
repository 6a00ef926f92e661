"""The health of several endpoints, and what takes points."""

from __future__ import annotations

from typing import Any

from rmm.core.health import health, lost, summary
from rmm.model.rule import Rule

RULES = {
    "a": Rule(id="a", quarter="security", points=20), "b": Rule(id="b", quarter="security", points=20),
    "c": Rule(id="c", quarter="performance", points=5), "d": Rule(id="d", quarter="none", points=5),
}  # fmt: skip


def alerts(*rules: str, severity: str = "critical") -> list[dict[str, Any]]:
    return [{"rule": rule, "severity": severity} for rule in rules]


def test_points_that_were_really_taken() -> None:
    assert lost("OK", alerts("a", "b", "c", "d", "gone"), RULES) == {"a": 20, "b": 5, "c": 5}
    assert lost("OK", alerts("a", severity="warning"), RULES) == {"a": 10}
    assert lost("UNREACHABLE", alerts("a"), RULES) == {"UNREACHABLE": 100}
    assert lost("", (), RULES) == lost("AUTH_HELD", alerts("a"), RULES) == {}
    assert health("OK", (), RULES) == (100, "Healthy", [])


def rows(*scores: tuple[str, int | None, str]) -> list[dict[str, Any]]:
    return [{"endpoint": name, "health": score, "health_status": word} for name, score, word in scores]


def test_the_mean_is_of_what_is_known() -> None:
    found = summary(
        rows(("x", 100, "Healthy"), ("y", 70, "Warning"), ("z", 0, "Unknown"), ("n", None, "Unknown")),
        {"y": {"a": 20, "c": 10}},
    )
    assert (found.endpoints, found.known, found.score, found.status) == (4, 2, 85, "Warning")
    assert [(one.what, one.endpoints, one.points) for one in found.reasons] == [("a", 1, 10), ("c", 1, 5)]
    # What takes points explains all that the score lacks.
    assert found.score == 100 - sum(one.points for one in found.reasons)


def test_nothing_known_and_everything_down() -> None:
    assert summary([], {}).status == "Unknown" and summary([], {}).score is None
    assert summary(rows(("x", 0, "Offline"), ("n", None, "Unknown")), {"x": {"TIMEOUT": 100}}).status == "Offline"
