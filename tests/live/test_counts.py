"""What rounds come to: counted in memory, added to the file, whatever happens to either."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmm.core.counting import MOST, OTHER, add, note
from rmm.model.counts import BOUNDS, Counts, SiteCounts
from rmm.model.observation import CollectorResult, Fault, Observation
from rmm.model.round import PollSummary
from rmm.tiers import counts_file
from rmm.tiers.counts_file import counted, read

AT = datetime(2026, 11, 1, tzinfo=UTC)


def observed(
    site: str = "hq", status: str = "OK", duration: float = 1.0, code: str = "", collectors: tuple[str, ...] = ("cpu",)
) -> Observation:
    return Observation(
        endpoint="e", name="E", site=site, shard=0, observed_at=AT, duration_s=duration, status=status,
        fault=Fault(code) if code else None, collectors={name: CollectorResult(outcome="ok") for name in collectors},
        epoch="0" * 16, seq=1,
    )  # fmt: skip


def of(*observations: Observation) -> Counts:
    counts = Counts()
    for one in observations:
        note(counts, one)
    return counts


def numbers(counts: Counts) -> dict[tuple[str, ...], float]:
    """Every counter."""
    found: dict[tuple[str, ...], float] = {("code", code): n for code, n in counts.faults.items()}
    found |= {("round", word): n for word, n in counts.rounds.items()}
    for name, outcomes in counts.results.items():
        found |= {("result", name, outcome): n for outcome, n in outcomes.items()}
    for site, one in counts.sites.items():
        found |= {("status", site, status): n for status, n in one.statuses.items()}
        found |= {("bucket", site, str(place)): n for place, n in enumerate(one.buckets)}
    return found


def test_a_poll_is_counted() -> None:
    counts = of(observed(), observed(status="TIMEOUT", duration=500.0, code="timeout", collectors=("cpu", "self")))
    assert counts.sites["hq"].statuses == {"OK": 1, "TIMEOUT": 1}
    assert counts.sites["hq"].seconds == 501.0
    assert counts.faults == {"timeout": 1}
    assert counts.results == {"cpu": {"ok": 2}, "self": {"ok": 1}}


@pytest.mark.parametrize(("duration", "place"), [(0.0, 0), (0.1, 0), (0.11, 1), (120.0, 10), (120.1, 11), (-5.0, 0)])
def test_buckets_hold_what_is_at_most_their_bound(duration: float, place: int) -> None:
    buckets = of(observed(duration=duration)).sites["hq"].buckets
    assert [n for n, count in enumerate(buckets) if count] == [place]
    assert len(buckets) == len(BOUNDS) + 1


_polls = st.lists(
    st.builds(
        observed, st.sampled_from(["hq", "b", "c"]), st.sampled_from(["OK", "TIMEOUT"]), st.floats(0, 300),
        st.sampled_from(["", "timeout", "tcp.refused"]), st.sampled_from([("cpu",), ("cpu", "disk"), ()]),
    ),
    max_size=20,
)  # fmt: skip


@given(st.lists(_polls, max_size=6))
def test_the_sum_of_rounds_is_that_of_their_polls(rounds: list[list[Observation]]) -> None:
    total = Counts()
    before: dict[tuple[str, ...], float] = {}
    for one in rounds:
        add(total, of(*one))
        now = numbers(total)
        assert all(now[name] >= value for name, value in before.items())  # no counter falls
        before = now
    assert numbers(total) == numbers(of(*(poll for one in rounds for poll in one)))


def test_names_without_end_are_counted_together() -> None:
    counts = of(*(observed(f"s{n}", f"W{n}", code=f"c{n}", collectors=(f"x{n}",)) for n in range(3 * MOST)))
    for found in (counts.sites, counts.faults, counts.results):
        assert len(found) == MOST + 1
        assert OTHER in found
    assert sum(counts.faults.values()) == 3 * MOST
    total = Counts()
    for n in range(2 * MOST):
        add(total, of(observed(code=f"d{n}")))
    assert len(total.faults) == MOST + 1
    assert sum(total.faults.values()) == 2 * MOST


def test_a_histogram_of_other_bounds_begins_anew() -> None:
    total = Counts(sites={"hq": SiteCounts(statuses={"OK": 5}, buckets=[5, 0], seconds=9.0)})
    add(total, of(observed()))
    assert sum(total.sites["hq"].buckets) == 1
    assert total.sites["hq"].statuses == {"OK": 6}


def test_rounds_are_added_to_the_file(tmp_path: Path) -> None:
    for status in ("OK", "TIMEOUT"):
        counts, summary = Counts(), PollSummary(planned=1)
        with counted(tmp_path, counts, summary):
            one = observed(status=status)
            summary.count(one)
            note(counts, one)
    for failure, _ in ((ValueError, "error"), (asyncio.CancelledError, "stopped"), (KeyboardInterrupt, "stopped")):
        with pytest.raises(failure), counted(tmp_path, Counts(), PollSummary()):
            raise failure
    total = read(tmp_path)
    assert total.rounds == {"ok": 1, "nothing": 1, "error": 1, "stopped": 2}
    assert total.sites["hq"].statuses == {"OK": 1, "TIMEOUT": 1}
    assert total.since is not None
    assert total.ended_at is not None
    assert total.since <= total.ended_at
    assert total.last_version
    assert total.round_seconds >= total.last_seconds
    if sys.platform != "win32":
        assert total.last_resident > 1 << 20


@pytest.mark.parametrize("content", [b"", b"{", b'{"rounds": 5}', b"\xff\xfe"])
def test_a_file_that_is_none_begins_anew(tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture) -> None:
    counts_file.path_of(tmp_path).write_bytes(content)
    with counted(tmp_path, Counts(), PollSummary()):
        pass
    assert "counting begins anew" in caplog.text
    assert sum(read(tmp_path).rounds.values()) == 1


def test_a_round_does_not_fail_because_it_cannot_be_counted(tmp_path: Path) -> None:
    (tmp_path / "counts.json").mkdir()
    with counted(tmp_path, Counts(), PollSummary()):
        pass
    (tmp_path / "file").write_text("")
    with counted(tmp_path / "file" / "data", Counts(), PollSummary()):
        pass


def test_a_real_round_is_counted(lab: Any, tmp_path: Path) -> None:
    for name in ("rmm.yaml", "endpoints.csv", "credentials.vault", "passphrase", "lab.json", "lab-ca.pem"):
        (tmp_path / name).write_bytes((lab.config / name).read_bytes())
    names = [one["name"] for one in lab.endpoints[:3]]
    command = [sys.executable, "-m", "rmm", "poll", "--quiet", "--config", str(tmp_path)]
    command += [word for name in names for word in ("--endpoint", name)]
    for _ in range(2):
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
        assert done.returncode == 0, done.stderr
    counts = json.loads((tmp_path / "data" / "counts.json").read_bytes())
    (site,) = counts["sites"].values()
    assert counts["rounds"] == {"ok": 2}
    assert site["statuses"] == {"OK": 6}
    assert sum(site["buckets"]) == 6
    assert counts["results"]["cpu"]["ok"] == 6
    assert counts["faults"] == {}
    assert counts["cpu_seconds"] > 0
