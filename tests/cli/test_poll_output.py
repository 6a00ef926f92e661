"""What `rmm poll` prints of a failure: the code, what happened, and what to do."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime

import pytest

from rmm.cli.poll import _printer
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


def test_csv_has_the_message(capsys: pytest.CaptureFixture[str]) -> None:
    [row] = csv.DictReader(io.StringIO(printed("csv", capsys)))
    assert row["message"] == "ntlm cannot use a keytab"
    assert (row["code"], row["hint"]) == ("config", "Set another credential for it.")
