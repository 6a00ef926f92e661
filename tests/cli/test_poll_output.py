"""What `rmm poll` prints of a failure: the code, what happened, and what to do."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime

import msgspec
import pytest

from rmm.cli.poll import _printer, _together, document, summary_line
from rmm.model.observation import Fault, Observation
from rmm.model.round import PollSummary

FAILED = Observation(
    endpoint="srv01",
    name="SRV01",
    site="hq",
    shard=0,
    observed_at=datetime(2026, 1, 1, tzinfo=UTC),
    duration_s=0.1,
    status="CONFIG",
    fault=Fault("config", "RH", "Set another credential for it.", "ntlm cannot use a keytab"),
    collectors={},
    epoch="0" * 16,
    seq=1,
)


def printed(output: str, capsys: pytest.CaptureFixture[str]) -> str:
    with _printer(output, quiet=False, total=1) as printer:
        printer.add(FAILED)
        printer.end(PollSummary(planned=1, statuses={"CONFIG": 1}))
    return capsys.readouterr().out


def test_a_failure_is_told_with_what_happened_and_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert "config  ntlm cannot use a keytab. Set another credential for it.\n" in printed("table", capsys)


def test_polled_is_who_gave_readings_and_the_others_are_told_apart() -> None:
    statuses = {"OK": 17, "PARTIAL": 1, "UNREACHABLE": 3, "AUTH_HELD": 2}
    summary = PollSummary(planned=30, skipped=7, duration_s=3.14, statuses=statuses, firing=2, resolved=1)
    assert summary_line(summary) == (
        "18 of 30 endpoints polled in 3.1 s: 17 OK, 1 PARTIAL; 5 without readings: 2 AUTH_HELD, 3 UNREACHABLE; "
        "7 not tried: not due, or resting after a fault; 2 alerts new, 1 resolved"
    )
    assert (summary.tried, summary.polled, summary.failed, summary.exit_code) == (23, 18, 5, 3)


def test_nobody_polled_is_said_as_that() -> None:
    summary = PollSummary(planned=2, duration_s=1.0, statuses={"UNREACHABLE": 2})
    assert summary_line(summary) == "0 of 2 endpoints polled in 1.0 s; 2 without readings: 2 UNREACHABLE"


def test_messages_that_nobody_knows_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    summary = PollSummary(planned=2)
    for _ in range(2):
        summary.count(msgspec.structs.replace(FAILED, status="OK", fault=None, telemetry={"unknown_messages": 2.0}))
    with _printer("table", quiet=False, total=2) as printer:
        printer.end(summary)
    assert "4 PowerShell messages of unknown types were skipped" in capsys.readouterr().out


def test_a_sample_of_what_could_not_be_read_stands_beside_the_fault() -> None:
    fault = Fault("xml.malformed", "RB", "h", "m", "<s:Envelope")
    seen = document(msgspec.structs.replace(FAILED, fault=fault))
    assert seen["fault"] == {
        "code": "xml.malformed", "retry": "RB", "hint": "h", "message": "m", "sample": "<s:Envelope",
    }  # fmt: skip
    assert "sample" not in document(FAILED)["fault"]


def test_csv_has_the_message(capsys: pytest.CaptureFixture[str]) -> None:
    [row] = csv.DictReader(io.StringIO(printed("csv", capsys)))
    assert row["message"] == "ntlm cannot use a keytab"
    assert (row["code"], row["hint"]) == ("config", "Set another credential for it.")


def test_what_befalls_many_alike_takes_one_line() -> None:
    held = {"site": "hq", "status": "AUTH_HELD", "duration_s": 0.1, "code": "auth.held", "hint": "It ends then."}
    rows = [{**held, "endpoint": f"SRV{number:02}"} for number in range(10)]
    other = {**held, "endpoint": "SRV99", "status": "TIMEOUT", "code": "timeout"}
    first, last = _together([*rows, other])
    assert (first["endpoint"], first["count"], first["code"]) == ("SRV00 and 9 more", 10, "auth.held")
    assert (last["endpoint"], last["count"]) == ("SRV99", 1)
    assert [row["endpoint"] for row in _together(rows[:3])] == ["SRV00", "SRV01", "SRV02"]
