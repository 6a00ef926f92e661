"""A log that is full, or keeps less than it should, says so once per outage, in the log and in the beat; what is too
large for an envelope is sent without what makes it so."""

from __future__ import annotations

import logging
import random
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from rmm.core.outgoing import lightened
from rmm.hub.watch import MOST_TEXT
from rmm.model.envelope import DROPPED, OBSERVATION, Beat, Marks, Receipt
from rmm.model.observation import CollectorResult, Fault, Observation, decode_observation, encode_observation
from rmm.model.outgoing import ALERTS, METRICS, Item
from rmm.model.settings import SiteSettings
from rmm.site.forwarder import with_log
from rmm.tiers.outgoing import Log, MemoryShelf

NOW = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)
SMALL = SiteSettings(spool_gb=20e-6)


def items(first: int, last: int, at: datetime, size: int = 800) -> list[Item]:
    noise = random.Random(first)
    return [Item(id=f"o{n}", body=noise.randbytes(size), at=at, endpoint=f"e{n % 3}") for n in range(first, last)]


def receipt(number: int, high: int, epoch: str = "1" * 16) -> Receipt:
    return Receipt(site="hq", hub="h1", number=number, at=NOW, marks={epoch: Marks(high)})


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.getMessage() for one in caplog.records if one.levelno == logging.WARNING]


def worked(log: Log) -> None:
    for day in range(4, 0, -1):
        log.tend(NOW - timedelta(days=day))


def test_a_full_log_is_told_once_per_outage_and_says_what_to_do(caplog: pytest.LogCaptureFixture) -> None:
    shelf, name = MemoryShelf(), "1" * 16
    log = Log(shelf, SMALL, name)
    for n in range(60):
        log.append(items(n, n + 1, NOW + timedelta(minutes=n)))
        log.tend(NOW + timedelta(minutes=n))
    (told,) = warnings(caplog)
    assert "`forward.spool_gb`" in told
    assert log.spooled().problems[0] in told
    assert len(log.spooled().problems[0]) <= MOST_TEXT  # or the hub would cut it off
    log = Log(shelf, SMALL, name)  # a start within the outage does not begin it anew
    log.append(items(60, 90, NOW + timedelta(hours=1)))
    assert (len(warnings(caplog)), len(log.spooled().problems)) == (1, 1)
    log.cover(receipt(1, 1000))
    log.tend(NOW + timedelta(hours=3))
    assert log.spooled().problems == ()
    log.append(items(90, 150, NOW + timedelta(hours=4)))
    assert (len(warnings(caplog)), len(log.spooled().problems)) == (2, 1)  # the next outage


def test_what_is_given_up_for_its_age_is_told_as_well(caplog: pytest.LogCaptureFixture) -> None:
    log = Log(MemoryShelf(), SiteSettings(spool_days=2), "1" * 16)
    worked(log)
    log.append(items(0, 9, NOW - timedelta(days=3)))
    for minute in range(3):
        log.tend(NOW + timedelta(minutes=minute))
    (told,) = warnings(caplog)
    assert "2 days" in told
    assert log.spooled().problems[0] in told
    log.tend(NOW + timedelta(hours=2))
    assert log.spooled().problems == ()


def test_one_entry_that_is_too_large_does_not_hide_that_the_log_is_full(caplog: pytest.LogCaptureFixture) -> None:
    log = Log(MemoryShelf(), SMALL, "1" * 16)
    log.append(items(0, 1, NOW, size=500_000))
    log.append(items(1, 60, NOW))
    assert [("more than an envelope" in one, "`forward.spool_gb`" in one) for one in warnings(caplog)] == [
        (True, False), (False, True),
    ]  # fmt: skip


def test_what_is_kept_for_less_than_its_time_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    log = Log(MemoryShelf(), msgspec.structs.replace(SMALL, keep_hours=48), "1" * 16)
    worked(log)
    for n in range(90):  # the hub is there all the time
        log.append(items(n, n + 1, NOW + timedelta(minutes=n)))
        log.cover(receipt(n + 1, n + 1))
        log.tend(NOW + timedelta(minutes=n))
    assert log.spooled().dropped == 0
    assert log.spooled().kept_bytes <= 20_000
    (told,) = warnings(caplog)
    assert "48 hours" in told
    assert "`forward.spool_gb`" in told
    assert log.spooled().problems[0] in told
    assert len(log.spooled().problems[0]) <= MOST_TEXT
    log.tend(NOW + timedelta(hours=47))
    assert len(log.spooled().problems) == 1
    log.tend(NOW + timedelta(hours=51))  # for so long nothing went before its time
    assert log.spooled().problems == ()


def test_what_goes_in_its_time_is_no_trouble(caplog: pytest.LogCaptureFixture) -> None:
    log = Log(MemoryShelf(), SMALL, "1" * 16)
    worked(log)
    log.append(items(0, 9, NOW))
    log.cover(receipt(1, 9))
    for hour in range(60):
        log.tend(NOW + timedelta(hours=hour))
    assert (log.spooled().kept, log.spooled().problems, warnings(caplog)) == (0, (), [])


def test_a_start_counts_what_was_given_up_since() -> None:
    shelf = MemoryShelf()
    log = Log(shelf, SMALL, "1" * 16)
    log.append(items(0, 60, NOW))
    before = log.spooled()
    assert before.lost == before.dropped > 30
    log = Log(shelf, SMALL, "2" * 16)
    assert (log.spooled().lost, log.spooled().dropped) == (0, before.dropped)
    log.append(items(60, 90, NOW))
    now = log.spooled()
    assert now.lost == now.dropped - before.dropped > 0
    beat = with_log(Beat(site="hq", collector="c1", at=NOW, version="1", started_at=NOW, problems=("a",)), now)
    assert (beat.dropped, beat.spool_limit, beat.spool_bytes) == (now.lost, 20_000, now.bytes)
    assert beat.problems == ("a", *now.problems)


def observed(sizes: dict[str, int], status: str = "OK") -> Observation:
    """Collectors with so many bytes of what does not compress."""
    dice = random.Random(3)
    results = {
        name: CollectorResult(outcome="ok", readings=({"text": dice.randbytes(size // 2).hex()},))
        for name, size in sizes.items()
    }
    return Observation(
        endpoint="srv-1", name="SRV-1", site="hq", shard=0, observed_at=NOW, duration_s=0.1, status=status,
        fault=None if status == "OK" else Fault("tcp.timeout"), collectors=results, epoch="e1", seq=7,
    )  # fmt: skip


@pytest.mark.parametrize(("status", "shown"), [("OK", "PARTIAL"), ("UNREACHABLE", "UNREACHABLE")])
def test_an_alert_that_is_too_large_is_sent_without_what_makes_it_so(status: str, shown: str) -> None:
    one = observed({"cpu": 200, "software": 1_500_000, "services": 100_000, "events": 500_000}, status)
    log = Log(MemoryShelf(), SiteSettings(), "1" * 16)
    body = encode_observation(one)
    rows = log.append([Item(id=one.id, body=body, at=NOW, grade=ALERTS, endpoint="srv-1", shard=2, fence=7)])
    assert (log.spooled().entries, log.spooled().dropped, rows[0].grade) == (1, 0, ALERTS)
    ((_, _, entry),) = log.read([rows[0].place])
    assert (entry.kind, entry.shard, entry.fence) == (OBSERVATION, 2, 7)
    found = decode_observation(entry.body)
    assert (found.id, found.status, found.fault) == (one.id, shown, one.fault)
    assert {name: part.outcome for name, part in found.collectors.items()} == {
        "cpu": "ok", "software": "fault", "services": "ok", "events": "ok",
    }  # fmt: skip
    assert found.collectors["events"] == one.collectors["events"]
    fault = found.collectors["software"].fault
    assert fault is not None
    assert fault.code == "output.too_large"


def test_what_cannot_be_made_to_fit_is_given_up() -> None:
    huge = msgspec.structs.replace(observed({"cpu": 200}), errors=(random.Random(1).randbytes(500_000).hex(),))
    log = Log(MemoryShelf(), SiteSettings(), "1" * 16)
    bodies = [encode_observation(huge), random.Random(2).randbytes(500_000), b'{"collectors": 7}' + b" " * (17 << 20)]
    rows = log.append([Item(id=f"o{n}", body=body, at=NOW, grade=ALERTS) for n, body in enumerate(bodies)])
    assert [entry.kind for *_, entry in log.read([row.place for row in rows])] == [DROPPED] * 3
    assert {row.grade for row in rows} == {METRICS}
    assert lightened(b"", lambda _: True) is None
