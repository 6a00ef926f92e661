"""The board of a fleet: what is read of the database, when it is read, and what it comes to."""

from __future__ import annotations

import os
import sqlite3
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from boards import HOSTILE, build, folder, store, usual

from rmm.core.board import SORTS, fleet_line, rows, site_lines, with_unpolled
from rmm.errors import TierError
from rmm.model.board import Board
from rmm.model.endpoint import Endpoint
from rmm.tiers.fleet_sqlite import BoardFile

pytestmark = pytest.mark.databases("sqlite", "postgres")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    made: Path = build(tmp_path / "conf") / "data"
    return made


def aged(data: Path) -> None:
    """As if nobody had written for a while."""
    for path in data.glob("fleet.sqlite*"):
        os.utime(path, (time.time() - 60,) * 2)


def test_what_is_read(data: Path) -> None:
    board = BoardFile(data).read()
    assert (len(board.endpoints), len(board.alerts), board.refused, board.cut) == (6, 4, 0, False)
    assert [(one.channel, one.held, one.number) for one in board.waiting] == [("mail", False, 1)]
    web = next(line for line in board.endpoints if line.name == "HQ-WEB1")
    assert abs(web.at - time.time() + 30) < 10
    assert (web.status, web.score, web.duration_s) == ("OK", 100, 0.4)
    assert {one.state for one in board.alerts} == {"firing", "pending", "acknowledged"}
    assert all(one.number for one in board.alerts)


def test_nothing_is_there_yet(tmp_path: Path) -> None:
    file = BoardFile(tmp_path)
    assert file.read() == Board([], [], [])
    assert file.state() == file.state()


@pytest.mark.databases("sqlite")
def test_it_is_read_again_only_when_it_has_changed(data: Path) -> None:
    file = BoardFile(data)
    assert file.state() != file.state()  # written a moment ago: who knows
    aged(data)
    before = file.state()
    assert file.state() == before
    store(data, usual(datetime.now(UTC))[0][:1], [])
    assert file.state() != before
    aged(data)
    (data / "fleet.sqlite").rename(data / "aside")
    assert file.state() != before


def test_reading_is_no_change(data: Path) -> None:
    file = BoardFile(data)
    aged(data)
    before = file.state()
    file.read()
    assert file.state() == before


@pytest.mark.databases("sqlite")
def test_a_locked_database_is_said_so_soon(data: Path) -> None:
    with sqlite3.connect(data / "fleet.sqlite", isolation_level=None) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN IMMEDIATE")
        other.execute("UPDATE endpoint SET status = status")
        began = time.monotonic()
        with pytest.raises(TierError) as told:
            BoardFile(data).read()
        assert told.value.code == "tier.busy"
        assert time.monotonic() - began < 5
        other.execute("ROLLBACK")
    other.close()


@pytest.mark.databases("sqlite")
@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b"no database" * 1000),
        lambda path: path.write_bytes(path.read_bytes()[:4096] + b"\xff" * 20_000),
    ],
)
def test_a_damaged_database_is_told(data: Path, damage: object) -> None:
    for beside in data.glob("fleet.sqlite-*"):
        beside.unlink()
    damage(data / "fleet.sqlite")  # type: ignore[operator]
    with pytest.raises(TierError) as told:
        BoardFile(data).read()
    assert told.value.code == "tier.damaged"


@pytest.mark.databases("sqlite")
@pytest.mark.parametrize("body", ["{", "{}", '{"rule": 5}'])
def test_an_alert_that_is_none_is_damage(data: Path, body: str) -> None:
    with sqlite3.connect(data / "fleet.sqlite") as other:
        other.execute("UPDATE alert SET body = ?", (body,))
    other.close()
    with pytest.raises(TierError) as told:
        BoardFile(data).read()
    assert told.value.code == "tier.damaged"


def test_sites_and_fleet(data: Path) -> None:
    board, now = BoardFile(data).read(), time.time()
    new = Endpoint(id="new-0", name="NEW-0", site="hq")
    lines = with_unpolled(board.endpoints, [new, Endpoint(id="hq-web1", name="HQ-WEB1", site="hq")])
    assert len(lines) == 7
    assert with_unpolled((), [Endpoint(id="x", name="X", site="hq", enabled=False)]) == []
    berlin, hq = site_lines(lines, board.alerts, now)
    assert (berlin.site, berlin.endpoints, berlin.stale, berlin.critical, berlin.warning) == ("berlin", 3, 1, 1, 0)
    assert dict(hq.words) == {"Healthy": 1, "Warning": 1, "Critical": 1, "Unknown": 1}
    assert hq.score == 80  # of the three of which something is known
    assert berlin.score == 48  # 0 of the one that is offline, 95; nothing is known of the third
    whole = fleet_line(lines, board.alerts, now)
    assert (whole.endpoints, whole.critical, whole.warning, whole.stale) == (7, 2, 1, 1)
    assert fleet_line([], [], now).score is None


def test_every_order_of_every_page(data: Path) -> None:
    board, now = BoardFile(data).read(), time.time()
    for page, orders in SORTS.items():
        whole = {str(row) for row in rows(page, board, next(iter(orders)), reverse=False, wanted="", now=now)}
        for order in orders:
            found = rows(page, board, order, reverse=False, wanted="", now=now)
            back = rows(page, board, order, reverse=True, wanted="", now=now)
            assert {str(row) for row in found} == whole
            assert sorted(map(str, back)) == sorted(map(str, found))

    def names(page: str, order: str, wanted: str = "") -> list[str]:
        return [row.name for row in rows(page, board, order, reverse=False, wanted=wanted, now=now)]

    assert names("slow", "seconds")[0] == "HQ-SQL1"
    assert names("alerts", "severity")[0] == "HQ-SQL1"  # critical, and it fires; then the acknowledged one
    assert names("alerts", "newest")[0] == HOSTILE
    assert names("alerts", "oldest")[0] == "HQ-WEB2"
    assert names("endpoints", "observed")[0] == "BER-DC1"
    assert names("endpoints", "health", "HQ warning") == ["HQ-WEB2"]
    assert names("alerts", "rule", "volume hq") == ["HQ-WEB2"]
    assert names("endpoints", "endpoint", "nothing of the kind") == []


def test_an_endpoint_that_was_never_polled_is_not_slow(tmp_path: Path) -> None:
    folder(tmp_path / "conf")
    lines = with_unpolled((), [Endpoint(id="a", name="A", site="hq")])
    assert rows("slow", Board(lines, [], []), "seconds", reverse=False, wanted="", now=0.0) == []
