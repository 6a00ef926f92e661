"""The outgoing log: one suite over the file and its twin in memory."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rmm.core.marks import added
from rmm.core.outgoing import is_committed, place, uncommitted_from
from rmm.model.envelope import AUDIT, DROPPED, OBSERVATION, Marks, Receipt
from rmm.model.outgoing import ALERTS, METRICS, Item
from rmm.model.outgoing import AUDIT as AUDIT_GRADE
from rmm.model.settings import SiteSettings
from rmm.tiers.outgoing import Log, MemoryShelf, Shelf, SqliteShelf, path_of, prepare

NOW = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)
Opener = Callable[..., Log]


@pytest.fixture(params=["file", "memory"])
async def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> Opener:
    """Opens the same log, each time as another epoch."""
    memory, count = MemoryShelf(), iter(range(1, 100))
    opened: list[Shelf] = []
    path = path_of(tmp_path, "hq")
    if request.param == "file":
        await prepare(path)

    def make(**options: float) -> Log:
        if request.param == "file":
            opened.append(SqliteShelf(path))
        shelf = opened[-1] if opened else memory
        return Log(shelf, msgspec.structs.replace(SiteSettings(), **options), f"{next(count):016x}")

    def close() -> None:
        for shelf in opened:
            shelf.close()

    request.addfinalizer(close)
    return make


def item(number: int, *, grade: int = METRICS, endpoint: str = "", minutes: float = 0, size: int = 0) -> Item:
    body = f"body {number}".encode() + random.Random(number).randbytes(size)
    at = NOW + timedelta(minutes=minutes)
    return Item(
        id=f"o{number}", body=body, at=at, grade=grade, endpoint=endpoint or f"srv-{number % 5}", shard=2, fence=7
    )


def receipt(number: int, hub: str = "h1", at: datetime = NOW, **marks: Marks) -> Receipt:
    return Receipt(
        site="hq", hub=hub, number=number, at=at, marks={f"{int(name[1:]):016x}": one for name, one in marks.items()}
    )


def worked(log: Log) -> datetime:
    """Days of work, so that an age is believed; returns the time."""
    for day in range(4):
        log.tend(NOW - timedelta(days=4 - day))
    return NOW


async def test_entries_are_numbered_and_read(reopen: Opener) -> None:
    log = reopen()
    rows = log.append([item(1), item(2, grade=ALERTS), item(3)])
    assert [row.place for row in rows] == [place(1, 1), place(1, 2), place(1, 3)]
    assert log.end == place(1, 3)
    found = log.read([rows[2].place, rows[0].place])
    assert [(at, epoch, entry.seq) for at, epoch, entry in found] == [
        (place(1, 1), f"{1:016x}", 1),
        (place(1, 3), f"{1:016x}", 3),
    ]
    entry = found[0][2]
    assert (entry.kind, entry.at, entry.body, entry.shard, entry.fence) == (OBSERVATION, NOW, b"body 1", 2, 7)
    assert log.rows(place(1, 1), 10) == rows[1:]
    assert log.rows(0, 10, graded=True) == rows[1:2]
    assert log.rows(0, 2) == rows[:2]


async def test_what_is_handed_over_again_is_there_once(reopen: Opener) -> None:
    log = reopen()
    log.append([item(1), item(2)])
    assert [row.place for row in log.append([item(2), item(3), item(3)])] == [place(1, 3)]
    log = reopen()
    assert log.append([item(1), item(2), item(3)]) == []
    assert [row.place for row in log.append([item(4)])] == [place(2, 1)]
    assert log.spooled().entries == 4


async def test_an_older_epoch_keeps_its_numbers(reopen: Opener) -> None:
    reopen().append([item(1), item(2)])
    reopen()  # an opening that writes nothing is no epoch
    log = reopen()
    log.append([item(3)])
    assert [(epoch, entry.seq) for _, epoch, entry in log.read([row.place for row in log.rows(0, 9)])] == [
        (f"{1:016x}", 1),
        (f"{1:016x}", 2),
        (f"{3:016x}", 1),
    ]


async def test_a_receipt_frees_what_it_covers(reopen: Opener) -> None:
    log = reopen()
    rows = log.append([item(n, minutes=n) for n in range(1, 7)])
    news = log.cover(receipt(1, e1=Marks(2, ((4, 5),))))
    assert news is not None
    assert news.again  # a hub that was not known
    assert news.come == ((place(1, 1), place(1, 2)), (place(1, 4), place(1, 5)))
    spooled = log.spooled()
    assert (spooled.entries, spooled.kept) == (2, 4)
    assert spooled.oldest == NOW + timedelta(minutes=3)
    assert spooled.bytes == rows[2].size + rows[5].size
    assert uncommitted_from(log.books) == place(1, 3)
    assert log.cover(receipt(0, e1=Marks(6))) is None  # an older one
    later = log.cover(receipt(2, e1=Marks(6)))
    assert later is not None
    assert not later.again
    spooled = log.spooled()
    assert (spooled.entries, spooled.bytes, spooled.oldest, spooled.kept) == (0, 0, None, 6)


async def test_the_newest_receipt_once_more_changes_nothing(reopen: Opener) -> None:
    log = reopen()
    log.append([item(1)])
    log.cover(receipt(3, e1=Marks(1)))
    news = log.cover(receipt(3, e1=Marks(1)))
    assert news is not None
    assert (news.again, news.come, news.gone) == (False, (), ())


async def test_a_hub_that_was_restored_lacks_what_was_committed(reopen: Opener) -> None:
    log = reopen()
    log.append([item(n) for n in range(1, 6)])
    log.cover(receipt(9, e1=Marks(5)))
    log.tend(NOW)  # which stores it
    log = reopen()
    log.append([item(6)])
    news = log.cover(receipt(1, hub="h2", e1=Marks(2)))
    assert news is not None
    assert news.again
    assert news.gone == ((place(1, 3), place(1, 5)),)
    assert (log.spooled().entries, log.spooled().kept) == (4, 2)
    assert uncommitted_from(log.books) == place(1, 3)
    # What the hub said before it was restored cannot be played again.
    assert log.cover(receipt(99, e1=Marks(5))) is None
    # Several workers of one hub take turns, later each time.
    assert log.cover(receipt(10, at=NOW + timedelta(seconds=1), e1=Marks(3))) is not None


async def test_a_receipt_cannot_cover_what_is_not_written_yet(reopen: Opener) -> None:
    log = reopen()
    log.append([item(1)])
    log.cover(receipt(1, e1=Marks(50), e2=Marks(9)))
    (row,) = log.append([item(2)])
    assert log.spooled().entries == 1
    assert uncommitted_from(log.books) == row.place
    assert log.newest() == [row]


async def test_newest(reopen: Opener) -> None:
    log = reopen()
    log.append([item(n, endpoint=f"srv-{n % 3}") for n in range(1, 10)])
    log.append([msgspec.structs.replace(item(20, grade=AUDIT_GRADE), kind=AUDIT)])
    assert [row.place for row in log.newest()] == [place(1, 9), place(1, 8), place(1, 7)]
    log.cover(receipt(1, e1=Marks(0, ((8, 8),))))
    assert [row.place for row in log.newest()] == [place(1, 9), place(1, 7)]


async def test_a_full_log_gives_up_the_oldest_metrics_alone(reopen: Opener) -> None:
    log = reopen(spool_gb=20e-6)
    for number in range(1, 41):
        log.append([item(number, grade=ALERTS if number % 10 == 5 else METRICS, size=800)])
    spooled = log.spooled()
    assert spooled.bytes <= 20_000
    assert spooled.dropped > 15
    assert spooled.entries == 40 - spooled.dropped
    entries = [entry for _, _, entry in log.read([row.place for row in log.rows(0, 99)])]
    assert [entry.seq for entry in entries if entry.kind == OBSERVATION and entry.seq % 10 == 5] == [5, 15, 25, 35]
    runs = [(entry.seq, entry.count) for entry in entries if entry.kind == DROPPED]
    assert runs[:2] == [(1, 4), (6, 9)]
    assert sum(count for _, count in runs) == spooled.dropped
    numbers = [n for entry in entries for n in range(entry.seq, entry.seq + entry.count)]
    assert numbers == list(range(1, 41))


async def test_what_is_never_given_up_is_kept_whatever_its_size(reopen: Opener) -> None:
    log = reopen(spool_gb=5e-6)
    log.append([item(n, grade=ALERTS, size=900) for n in range(1, 21)])
    assert (log.spooled().entries, log.spooled().dropped) == (20, 0)


async def test_what_is_committed_is_not_given_up(reopen: Opener) -> None:
    log = reopen(spool_gb=10e-6)
    log.append([item(n, size=800) for n in range(1, 9)])
    log.cover(receipt(1, e1=Marks(4)))
    log.append([item(n, size=800) for n in range(9, 20)])
    entries = [entry for _, _, entry in log.read([row.place for row in log.rows(0, 99)])]
    assert [entry.seq for entry in entries[:4] if entry.kind == OBSERVATION] == [1, 2, 3, 4]
    assert entries[4].kind == DROPPED


async def test_metrics_grow_too_old(reopen: Opener) -> None:
    log = reopen(spool_days=2)
    now = worked(log)
    log.append([item(n, minutes=-60 * 24 * 3, grade=ALERTS if n == 3 else METRICS) for n in range(1, 6)])
    log.append([item(6, minutes=-60)])
    log.tend(now)
    assert (log.spooled().entries, log.spooled().dropped) == (2, 4)
    assert [(row.place, row.span) for row in log.rows(0, 9)] == [
        (place(1, 1), 2), (place(1, 3), 1), (place(1, 4), 2), (place(1, 6), 1),
    ]  # fmt: skip


async def test_a_clock_that_was_just_set_makes_nothing_old(reopen: Opener) -> None:
    log = reopen(spool_days=2)
    log.append([item(1)])
    log.tend(NOW)
    log.tend(NOW + timedelta(days=400))
    assert log.spooled().dropped == 0


async def test_what_is_committed_goes_after_its_time(reopen: Opener) -> None:
    log = reopen(keep_hours=48)
    now = worked(log)
    log.append([item(n) for n in range(1, 6)])
    log.cover(receipt(1, e1=Marks(3)))
    log.tend(now)
    for hours in (12, 24, 47):
        log.tend(now + timedelta(hours=hours))
        assert log.spooled().kept == 3
    log.cover(receipt(2, e1=Marks(4)))
    log.tend(now + timedelta(hours=49))
    assert (log.spooled().kept, log.spooled().entries) == (1, 1)
    assert [row.place for row in log.rows(0, 9)] == [place(1, 4), place(1, 5)]
    # And what was removed is known all the same to be there.
    assert uncommitted_from(log.books) == place(1, 5)


async def test_what_a_restored_hub_lost_begins_its_time_anew(reopen: Opener) -> None:
    log = reopen(keep_hours=48)
    now = worked(log)
    log.append([item(n) for n in range(1, 4)])
    log.cover(receipt(1, e1=Marks(3)))
    log.tend(now)
    log.cover(receipt(1, hub="h2", e1=Marks(1)))
    log.tend(now + timedelta(hours=47))
    log.cover(receipt(2, hub="h2", e1=Marks(3)))
    log.tend(now + timedelta(hours=50))
    assert log.spooled().kept == 3


async def test_an_epoch_of_which_nothing_is_left_is_forgotten(reopen: Opener) -> None:
    log = reopen(keep_hours=1)
    worked(log)
    log.append([item(1)])
    log = reopen(keep_hours=1)
    log.append([item(2)])
    log.cover(receipt(1, e1=Marks(1), e2=Marks(0)))
    log.tend(NOW)
    log.tend(NOW + timedelta(hours=2))
    assert list(log.books.names) == [2]
    assert [row.place for row in log.rows(0, 9)] == [place(2, 1)]


async def test_much_of_what_is_committed_goes_before_its_time(reopen: Opener) -> None:
    log = reopen(spool_gb=4e-6)
    log.append([item(n, size=800, grade=ALERTS) for n in range(1, 9)])
    log.cover(receipt(1, e1=Marks(8)))
    log.tend(NOW)
    assert log.spooled().kept == 0


async def test_a_run_of_which_the_hub_knows_the_beginning_is_looked_at(reopen: Opener) -> None:
    log = reopen(spool_days=2)
    now = worked(log)
    log.append([item(n, minutes=-60 * 24 * 3) for n in range(1, 6)])
    log.tend(now)
    log.cover(receipt(1, e1=Marks(2)))
    assert uncommitted_from(log.books) == place(1, 3)
    assert [(row.place, row.span) for row in log.rows(place(1, 3) - 1, 9)] == [(place(1, 1), 5)]


async def test_what_no_envelope_takes_is_given_up_at_once(reopen: Opener, caplog: pytest.LogCaptureFixture) -> None:
    log = reopen()
    log.append([item(1), item(2, size=500_000, grade=ALERTS), item(3)])
    assert "more than an envelope may" in caplog.text
    assert [entry.kind for _, _, entry in log.read([row.place for row in log.rows(0, 9)])] == [
        OBSERVATION, DROPPED, OBSERVATION,
    ]  # fmt: skip
    assert (log.spooled().entries, log.spooled().dropped) == (2, 1)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
async def test_the_file_is_as_its_twin(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = path_of(tmp_path_factory.mktemp("log"), "hq")
    await prepare(path)
    memory, limits = MemoryShelf(), SiteSettings(spool_gb=6e-6, keep_hours=3, spool_days=2)
    shelf: Shelf = SqliteShelf(path)
    logs = [Log(one, limits, f"{1:016x}") for one in (memory, shelf)]
    for log in logs:
        worked(log)
    marks: dict[int, Marks] = {}
    had: list[tuple[datetime, dict[int, Marks]]] = []  # what the hub had when
    last, number, now = 0, 0, NOW
    for _ in range(data.draw(st.integers(1, 25))):
        what = data.draw(st.sampled_from(["append", "append", "cover", "tend", "reopen", "restore"]))
        now += timedelta(minutes=data.draw(st.integers(0, 120)))
        if what == "append":
            count = data.draw(st.integers(1, 4))
            numbers = [data.draw(st.integers(max(1, last - 3), last + 3)) for _ in range(count)]
            grade = data.draw(st.sampled_from([METRICS, METRICS, ALERTS]))
            items = [item(n, grade=grade, size=300, minutes=(now - NOW) / timedelta(minutes=1)) for n in numbers]
            last = max(last, *numbers)
            assert logs[0].append(items) == logs[1].append(items)
        elif what in ("cover", "restore"):
            number += 1
            known = logs[0].books.last
            if what == "restore":  # from a backup that is no older than what is kept for that
                backups = [one for at, one in had if at <= now - timedelta(hours=limits.keep_hours)]
                marks = dict(backups[-1]) if backups else {}
            elif known:
                epoch = data.draw(st.sampled_from(sorted(known)))
                first = data.draw(st.integers(1, known[epoch]))
                end = data.draw(st.integers(first, known[epoch]))
                marks[epoch] = added(marks.get(epoch, Marks()), first, end)
            had.append((now, dict(marks)))
            named: dict[str, Any] = {f"e{epoch}": one for epoch, one in marks.items()}
            told = receipt(number, at=now, **named)
            assert logs[0].cover(told) == logs[1].cover(told)
        elif what == "tend":
            assert logs[0].tend(now) == logs[1].tend(now)
        else:
            logs[1].close()
            logs[0].close()
            shelf = SqliteShelf(path)
            name = f"{logs[0].books.epoch + 1:016x}"
            logs = [Log(one, limits, name) for one in (memory, shelf)]
        _same(logs[0], logs[1])
    shelf.close()


def _same(memory: Log, file: Log) -> None:
    assert memory.books == file.books
    assert memory.rows(-1, 999) == file.rows(-1, 999)
    assert memory.rows(-1, 999, graded=True) == file.rows(-1, 999, graded=True)
    assert memory.newest() == file.newest()
    assert memory.spooled() == file.spooled()
    places = [row.place for row in file.rows(-1, 999)]
    found = file.read(places)
    assert memory.read(places) == found
    # The books are what is there.
    missing = [
        row
        for row, (_, _, entry) in zip(file.rows(-1, 999), found, strict=True)
        if entry.kind != DROPPED and not _covered(file, row.place)
    ]
    assert file.books.entries == len(missing)
    assert file.books.bytes == sum(row.size for row in missing)
    for epoch, last in file.books.last.items():  # each number is there, or is committed
        there = {n for _, name, e in found if name == f"{epoch:016x}" for n in range(e.seq, e.seq + e.count)}
        high = file.books.marks.get(epoch, Marks()).high
        assert there | set(range(1, high + 1)) >= set(range(1, last + 1))


def _covered(log: Log, at: int) -> bool:
    return is_committed(log.books.marks, at)
