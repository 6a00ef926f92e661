"""Fault plans with mistakes: every one is told in words of the plan, with the file and the fault's number."""

from __future__ import annotations

from pathlib import Path

import pytest

from rmm.errors import ConfigError
from rmm.lab.faults import load_plan
from rmm.lab.fleet import LabFleet
from rmm.resources import shipped


def problems(path: Path, text: str | bytes) -> tuple[str, ...]:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError) as caught:
        load_plan(path)
    return caught.value.problems


@pytest.mark.parametrize(
    ("fault", "wanted"),
    [
        ("{kind: trickle, machines: [1], evry_s: 1}", "trickle has no option evry_s; it has every_s, part"),
        ("{kind: hang, machines: [1], for: 3}", "hang has no option for; it has none"),
        ("{kind: tls, machines: [1]}", "tls needs how"),
        ("{kind: hang, share: 3}", "share 3: 0 to 1 are allowed"),
        ("{kind: logon, machines: [1]}", "logon needs how"),
    ],
)
def test_a_mistake_is_told_in_words_of_the_plan(tmp_path: Path, fault: str, wanted: str) -> None:
    path = tmp_path / "plan.yaml"
    good = "{kind: logon, how: denied, resources: [x], machines: [1]}"
    assert problems(path, f"faults:\n  - {good}\n  - {fault}\n") == (f"{path}: fault 2: {wanted}",)


def test_what_is_no_text_is_refused(tmp_path: Path) -> None:
    [line] = problems(tmp_path / "plan.yaml", b"\xff\xfe\x00")
    assert "plan.yaml: not UTF-8 text" in line


def test_a_fault_that_strikes_nobody_is_told(tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text(
        "faults:\n  - {kind: hang, machines: [3]}\n  - {kind: hang, machines: [30]}\n"
        "  - {kind: hang, names: [NOBODY]}\n  - {kind: hang, groups: [windows95]}\n  - {kind: refuse, share: 1}\n"
    )
    assert load_plan(path).unmatched(LabFleet(5)) == [
        "fault 2 (kind: hang, machines: [30]) matches no endpoint of this lab",
        "fault 3 (kind: hang, names: ['NOBODY']) matches no endpoint of this lab",
        "fault 4 (kind: hang, groups: ['windows95']) matches no endpoint of this lab",
    ]


def test_every_shipped_plan_is_right() -> None:
    folder = shipped("config") / "lab"
    paths = [folder / "mixed.yaml", *sorted((folder / "rows").glob("0*.yaml"))]
    assert len(paths) > 80
    for path in paths:
        load_plan(path)
