"""Routes and inhibitions in rmm.yaml: what is read, and what is said of mistakes."""

from __future__ import annotations

from typing import Any

import pytest

from rmm.document import Problem, read_document
from rmm.model.routing import Inhibition, Route
from rmm.settings.channels import Known, channel_types, read_inhibitions, read_routes, seconds_of

KNOWN = Known(("mail", "pager"), ("hq", "berlin"))


def routes(text: str) -> tuple[tuple[Route, ...], list[str]]:
    document, problems = read_document(text), []  # type: ignore[var-annotated]
    found = read_routes(document, document.data["routes"], KNOWN, problems)
    return found, said(problems)


def said(problems: list[Problem]) -> list[str]:
    return [f"{one.line}: {one.key}: {one.message}" for one in problems]


def test_routes() -> None:
    found, problems = routes(
        "routes:\n"
        "- {match: {severity: critical, tag: [a, b*]}, channels: [pager], continue: true, repeat_interval: 4h}\n"
        "- {name: rest, channels: [mail], group_by: [site], group_wait: 1.5, group_interval: 5m}\n"
        "- {channels: [], match: {rule: noise}}\n"
        "- {channels: [mail], digest: daily}\n"
    )
    assert problems == []
    first, second, third, fourth = found
    assert first == Route(
        name="route 1", match={"severity": "critical", "tag": ["a", "b*"]}, channels=("pager",), more=True,
        repeat_interval=14_400,
    )  # fmt: skip
    assert (second.name, second.group_wait, second.group_interval) == ("rest", 1.5, 300)
    assert third.channels == () and fourth.digest == "07:00"


@pytest.mark.parametrize(
    ("route", "expected"),
    [
        ("{channels: [nobody]}", "2: routes[0].channels: there is no channel 'nobody'; there are mail, pager"),
        ("{chanels: [mail]}", "2: routes[0].chanels: unknown key; did you mean channels?"),
        ("{match: {colour: red}}", "2: routes[0].match.colour: not one of severity, site"),
        ("{match: {severity: high}}", "2: routes[0].match.severity: 'high' is not one of warning, critical"),
        ("{match: {site: [hq, oslo]}}", "2: routes[0].match.site: 'oslo' is not one of hq, berlin"),
        ("{match: {rule: {a: b}}}", "2: routes[0].match.rule: a text or a list of texts is expected"),
        ("{group_by: [colour]}", "2: routes[0].group_by: 'colour' is not one of"),
        ("{group_wait: soon}", "2: routes[0].group_wait: a time up to 30 days is expected"),
        ("{group_wait: -1}", "2: routes[0].group_wait: a time up to 30 days is expected"),
        ("{repeat_interval: 31d}", "2: routes[0].repeat_interval: a time up to 30 days is expected"),
        ("{digest: weekly}", "2: routes[0].digest: 'weekly' is not hourly, daily, or a time of day"),
        ("{digest: hourly, group_wait: 5}", "2: routes[0].digest: a digest has its own time"),
        ("{name: default}", "2: routes[0].name: 1 to 64 characters"),
        ("{continue: perhaps}", "2: routes[0].more: Expected `bool`"),
        ("[mail]", "2: routes[0]: a mapping of keys is expected"),
    ],
)
def test_mistakes(route: str, expected: str) -> None:
    _, problems = routes(f"routes:\n- {route}\n")
    assert len(problems) == 1 and problems[0].startswith(expected), problems


def test_a_name_that_is_used_twice() -> None:
    _, problems = routes("routes:\n- {name: a}\n- {name: a}\n")
    assert problems == ["3: routes[1].name: this name is used twice"]


def test_inhibitions() -> None:
    document = read_document(
        "inhibit:\n- {source: {rule: a}, target: {severity: warning}, equal: [site]}\n"
        "- {source: {colour: a}, target: {}, equal: [shape]}\n- {target: {rule: a}}\n"
    )
    problems: list[Problem] = []
    found = read_inhibitions(document, document.data["inhibit"], KNOWN, problems)
    assert found[0] == Inhibition(source={"rule": "a"}, target={"severity": "warning"}, equal=("site",))
    assert [one.key for one in problems] == [
        "inhibit[1].source.colour", "inhibit[1].target", "inhibit[1].equal", "inhibit[2].source",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("given", "expected"),
    [(5, 5), ("5", 5), ("1.5", 1.5), ("2m", 120), ("1d", 86_400), ("x", None), (True, None), ([], None), ("1w", None)],
)
def test_times(given: Any, expected: float | None) -> None:
    assert seconds_of(given) == expected


def test_types_are_the_files_of_a_folder() -> None:
    found = channel_types()
    assert {"email", "pagerduty", "slack", "teams", "syslog", "webhook", "apprise", "eventlog", "log"} <= set(found)
    assert not any(name.startswith("_") for name in found)
