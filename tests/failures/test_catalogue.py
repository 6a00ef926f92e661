"""The catalogue of field failures: every scenario of config/lab/rows, and that no row is forgotten.

The scenarios that were chosen are all run when the first of them is asked for, some side by side.
"""

from __future__ import annotations

from typing import Any

import pytest
from runner import ROWS, Scenario, left_out, problems, run_all, scenarios
from table import ROWS_OF_CATALOGUE, coverage, lines, records

LEAST = 90  # rows with a scenario
KEYS = {
    "status", "code", "retry", "hint", "within_s", "errors", "alerts", "no_alerts", "collectors", "readings", "others",
    "lab", "stored", "sample", "unknown",
}  # fmt: skip
STATUSES = {
    "OK", "PARTIAL", "UNREACHABLE", "TIMEOUT", "REBOOTING", "AUTH_REJECTED", "AUTH_HELD", "ACCESS_DENIED", "TLS_ERROR",
    "IDENTITY_MISMATCH", "QUOTA", "CONFIG", "PROTOCOL_ERROR", "UNSUPPORTED", "SITE_DOWN", "COLLECTOR_FAULT",
}  # fmt: skip
# What is wrong inside an answer has one remedy for all of it, so its scenarios need not repeat retry word and hint.
CONTENT = {*range(76, 85), *range(97, 100), 102}
ALL = scenarios()


@pytest.fixture(scope="module")
def results(request: pytest.FixtureRequest) -> dict[str, Any]:
    items: list[Any] = list(request.session.items)
    wanted = {one.callspec.params["scenario"].path for one in items if one.originalname == test_scenario.__name__}
    found: dict[str, Any] = run_all([one for one in ALL if one.path in wanted])
    return found


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("scenario", ALL, ids=lambda one: one.path.removesuffix(".yaml"))
def test_scenario(scenario: Scenario, results: dict[str, Any]) -> None:
    seen = results[scenario.path]
    if isinstance(seen, Exception):
        raise seen
    assert [problems(one) for one in seen] == [[]] * len(seen)


def test_every_row_has_a_scenario_or_a_reason() -> None:
    rows, unknown = coverage(ALL, left_out())
    assert unknown == []
    assert rows >= LEAST
    assert all(1 <= one.row <= ROWS_OF_CATALOGUE for one in ALL)
    assert all(len(reason) > 20 for reason in left_out().values())
    assert not set(left_out()) & {one.row for one in ALL}


@pytest.mark.parametrize("scenario", ALL, ids=lambda one: one.path.removesuffix(".yaml"))
def test_every_scenario_says_what_it_expects(scenario: Scenario) -> None:
    assert scenario.path.startswith(f"{scenario.row:03}-")
    assert scenario.title
    assert any("status" in expected for expected in scenario.expect)
    for expected in scenario.expect:
        assert expected.keys() <= KEYS
        # A round may be about the other machines or the accounts alone.
        assert expected.get("status") in STATUSES or expected.keys() & {"others", "lab"}
        if expected.get("status", "OK") not in ("OK", "PARTIAL"):
            # A fault is expected by its number, not by its class alone.
            assert expected.keys() & {"code", "retry"} or scenario.row in CONTENT, expected


def test_every_row_with_a_fault_states_code_retry_and_hint_somewhere() -> None:
    lacking: dict[int, set[str]] = {}
    for one in ALL:
        told = [expected for expected in one.expect if expected.get("status", "OK") not in ("OK", "PARTIAL")]
        if told and one.row not in CONTENT:
            keys = {key for expected in told for key in expected if expected[key] != ""}
            missing = {"code", "retry", "hint"} - keys
            lacking[one.row] = lacking.get(one.row, missing) & missing
    assert {row: keys for row, keys in lacking.items() if keys} == {}


@pytest.mark.parametrize("scenario", ALL, ids=lambda one: one.path.removesuffix(".yaml"))
def test_what_strikes_and_is_over_shows_that_it_has_struck(scenario: Scenario) -> None:
    """A poll that is well in the end says nothing of a fault that may never have come: the lab's counters do."""
    over = any("times" in fault for fault in scenario.faults)
    if over and scenario.rounds == 1 and scenario.expect[0].get("status") == "OK":
        assert scenario.expect[0].get("lab"), "name what the lab counts where the fault has struck"


def test_no_scenario_file_is_left_out_of_the_run() -> None:
    files = {path.name for path in ROWS.glob("*.yaml")} - {"not-on-loopback.yaml"}
    assert files == {one.path for one in ALL}


def test_the_table_shows_what_is_not_as_expected() -> None:
    one = Scenario(path="001-x.yaml", row=1, title="A title", faults=[], expect=[{"status": "OK", "code": ""}])
    seen = {
        "expected": {"status": "OK", "code": ""}, "status": "TIMEOUT", "code": "timeout", "retry": "RB", "hint": "h",
        "message": "no answer", "errors": [], "duration_s": 3.0, "collectors": {}, "readings": {}, "alerts": [],
        "sample": "", "unknown": 0, "others": [], "lab": {},
    }  # fmt: skip
    found = records([one], {"001-x.yaml": [seen]})
    assert found[0]["wrong"] == ["status TIMEOUT, not OK: no answer", "code timeout, not : no answer"]
    text = "\n".join(lines(found, colour=False))
    assert "TIMEOUT timeout RB  <- not as expected" in text
    assert text.index("A title (001-x.yaml)") > text.index("<-")
    broken = records([one], {"001-x.yaml": TimeoutError("no end within 120 s")})
    assert "could not be run" in broken[0]["wrong"][0]
