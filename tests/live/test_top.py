"""`rmm top`: what it draws, on a terminal of any size, and what it prints where there is none."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from boards import HOSTILE, build, folder, harmless, store, usual
from rich.console import Console

from rmm.core.console import PAGES, View
from rmm.live.cells import NO_DATA
from rmm.live.console import Screen
from rmm.live.source import Source
from rmm.model.observation import Fault
from rmm.model.state import CollectorState, EndpointState
from rmm.settings.load import load_settings
from rmm.tiers import hot_json


def source_of(place: Path) -> Source:
    settings = load_settings(place, None)
    source = Source(Path(settings.data), settings.endpoints)
    source.refresh()
    return source


def drawn(screen: Screen, width: int, height: int) -> list[str]:
    """The lines of a picture on a terminal without colours."""
    file = io.StringIO()
    console = Console(
        file=file, width=width, height=height, color_system=None, force_terminal=False, legacy_windows=False
    )
    screen._console = console
    console.print(screen.drawn(time.time()), end="")
    return file.getvalue().splitlines()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made: Path = build(tmp_path_factory.mktemp("top") / "conf")
    return made


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("size", [(200, 60), (110, 30), (80, 24), (40, 8), (39, 20), (60, 7), (3, 2), (1, 1)])
def test_a_picture_is_never_larger_than_the_terminal(place: Path, page: str, size: tuple[int, int]) -> None:
    width, height = size
    for view in (
        View(page=page),
        View(page=page, help=True),
        View(page=page, opened="hq-web1"),
        View(page, typing="x"),
    ):
        lines = drawn(Screen(source_of(place), Console(), view), width, height)
        assert len(lines) <= height
        assert all(len(line) <= width for line in lines)
        assert harmless("\n".join(lines))


def test_what_is_drawn(place: Path) -> None:
    screen = Screen(source_of(place), Console(), View())
    text = "\n".join(drawn(screen, 120, 40))
    assert "7 endpoints" in text
    assert "2 critical, 1 warning, 1 pending" in text
    assert "1 notifications wait" in text
    assert "service_stopped on HQ-SQL1" in text
    assert "q quit" in drawn(screen, 120, 40)[-1]
    screen.view = View(page="endpoints", wanted="hq-web2")
    lines = drawn(screen, 120, 40)
    assert "1 to 1 of 1" in lines[2]
    assert "C: is 91 % full" in lines[4]
    screen.view = View(page="alerts", mark=3)
    drawn(screen, 120, 40)
    assert (screen.seen.rows, screen.seen.marked) == (4, "hq-web1")
    screen.view = View(page="sites", mark=1000)  # rows went away below the mark
    assert "1 to 2 of 2" in drawn(screen, 120, 40)[2]


def test_a_long_list_follows_the_mark(tmp_path: Path) -> None:
    folder(tmp_path, unpolled=300)
    screen = Screen(source_of(tmp_path), Console(), View(page="endpoints", mark=250))
    lines = drawn(screen, 100, 20)
    assert len(lines) == 20
    assert "of 305" in lines[3]
    assert screen.seen.fit == 14
    assert NO_DATA in lines[2]


def test_what_the_store_says_is_shown_and_the_old_board_stays(place: Path, tmp_path: Path) -> None:
    made = build(tmp_path / "conf")
    source = source_of(made)
    assert not source.trouble
    fleet = made / "data" / "fleet.sqlite"
    good = fleet.read_bytes()
    for beside in (made / "data").glob("fleet.sqlite-*"):
        beside.unlink()
    fleet.write_bytes(b"nonsense" * 2000)
    source.refresh()
    text = "\n".join(drawn(Screen(source, Console(), View()), 150, 30))
    assert "tier.damaged" in text
    assert "HQ-SQL1" in text
    fleet.write_bytes(good)
    source.refresh()
    assert source.trouble is None
    with sqlite3.connect(fleet, isolation_level=None) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN IMMEDIATE")
        other.execute("UPDATE endpoint SET status = status")
        source.refresh()
        assert "tier.busy" in "\n".join(drawn(Screen(source, Console(), View()), 150, 30))
        other.execute("ROLLBACK")
    other.close()


def test_an_endpoint_is_opened_from_the_hot_tier(tmp_path: Path) -> None:
    made = build(tmp_path / "conf")
    at = datetime.now(UTC)

    def result(outcome: str) -> msgspec.Raw:
        return msgspec.Raw(msgspec.json.encode({"outcome": outcome, "gather_ms": 12.3, "bytes": 99, "readings": []}))

    collectors = {
        "cpu": CollectorState(attempted_at=at, at=at, result=result("ok")),
        "dns": CollectorState(attempted_at=at, at=at, result=result("unsupported"), fault=Fault("wmi.class")),
        "volumes": CollectorState(attempted_at=at, fault=Fault("script.failed", message=HOSTILE)),
        "x": CollectorState(attempted_at=at, at=at, result=msgspec.Raw(b'{"outcome": 5}')),
    }
    state = EndpointState(
        endpoint="hq-web1", name="HQ-WEB1", site="hq", observed_at=at, status="PARTIAL",
        fault=Fault("timeout", hint="Wait.", message=HOSTILE), duration_s=1.0, epoch="0", seq=1, failures=3,
        collectors=collectors,
    )  # fmt: skip
    hot_json.write(made / "data", "hq", 0, {"hq-web1": state}, at)
    source = source_of(made)
    assert abs(source.written["hq"] - time.time()) < 20
    screen = Screen(source, Console(), View(page="endpoints", opened="hq-web1"))
    lines = drawn(screen, 150, 30)
    assert harmless("\n".join(lines))
    assert "3 failures in a row" in lines[2]
    assert [line.split()[0] for line in lines[4:8]] == ["volumes", "cpu", "x", "dns"]
    assert "script.failed EVIL" in lines[4]
    first = source.hot("hq-web1")
    assert source.hot("hq-web1") is first  # not read again
    hot_json.write(made / "data", "hq", 0, {"hq-web1": msgspec.structs.replace(state, failures=4)}, at)
    assert "4 failures in a row" in drawn(screen, 150, 30)[2]
    (made / "data" / "hot" / "hq" / "0.json").write_text("nonsense")
    assert "the hot tier has nothing to read of hq-web1" in drawn(screen, 150, 30)[2]


def test_it_is_read_when_something_was_written(tmp_path: Path) -> None:
    made = build(tmp_path / "conf")
    source = source_of(made)
    for path in (made / "data").glob("fleet.sqlite*"):
        os.utime(path, (time.time() - 60,) * 2)
    source.refresh()
    assert not source.refresh()
    screen = Screen(source, Console(), View())
    drawn(screen, 120, 40)
    kept = screen._made["alerts"]
    drawn(screen, 120, 40)
    assert screen._made["alerts"] is kept  # not sorted anew
    rows, _ = usual(datetime.now(UTC))
    store(made / "data", [("new", "HQ-NEW", *rows[0][2:])], [])
    assert source.refresh()
    assert "8 endpoints" in drawn(screen, 120, 40)[0]
    assert screen._made["alerts"] is not kept


def rmm(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "rmm", "top", *arguments]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False, timeout=60)


def test_in_a_pipe_it_prints_one_moment(place: Path) -> None:
    done = rmm("--config", str(place))
    assert (done.returncode, done.stderr) == (0, "")
    assert harmless(done.stdout)
    assert done.stdout.startswith("7 endpoints: 2 Healthy, 1 Warning, 1 Critical, 1 Offline, 2 Unknown; ")
    assert "alerts: 4\n" in done.stdout
    cut = rmm("--config", str(place), "--page", "alerts", "--sort", "newest", "--most", "1").stdout
    assert "alerts: 4, the first 1\n" in cut
    assert "EVIL" in cut
    assert "HQ-" not in cut


def test_json_and_csv(place: Path) -> None:
    document: dict[str, Any] = json.loads(rmm("--config", str(place), "--output", "json").stdout)
    assert document["fleet"]["endpoints"] == 7
    assert document["rows"] == {"sites": 2, "alerts": 4, "slow": 6}
    assert any(one["name"] == HOSTILE for one in document["alerts"])  # as JSON writes it
    lines = rmm("--config", str(place), "--output", "ndjson", "--page", "slow").stdout.splitlines()
    assert json.loads(lines[0])["slow"][0]["name"] == "HQ-SQL1"
    text = rmm("--config", str(place), "--output", "csv", "--page", "endpoints", "--filter", "hq").stdout
    found = list(csv.DictReader(io.StringIO(text)))
    assert {row["ENDPOINT"] for row in found} == {"HQ-WEB1", "HQ-WEB2", "HQ-SQL1", "NEW-0"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--page", "x"], "there are overview, sites"),
        (["--page", "slow", "--sort", "x"], "has seconds, endpoint"),
        (["--sort", "seconds"], "is of one page"),
        (["--output", "csv"], "is one table"),
        (["--output", "xml"], "there are table"),
    ],
)
def test_wrong_words(place: Path, arguments: list[str], said: str) -> None:
    done = rmm("--config", str(place), *arguments)
    assert done.returncode == 2
    assert said in done.stderr


def test_no_data_and_a_damaged_store(tmp_path: Path) -> None:
    made = folder(tmp_path / "conf")
    done = rmm("--config", str(made))
    assert done.returncode == 0
    assert NO_DATA in done.stdout
    (made / "data").mkdir()
    (made / "data" / "fleet.sqlite").write_bytes(b"nonsense" * 2000)
    done = rmm("--config", str(made), "--once")
    assert done.returncode == 1
    assert "fleet.sqlite" in done.stderr
    assert "Traceback" not in done.stderr


if sys.platform != "win32":
    import fcntl
    import pty
    import select
    import struct
    import termios

    class Terminal:
        """A terminal with `rmm top` on it."""

        def __init__(self, place: Path, *arguments: str, width: int = 110, height: int = 30) -> None:
            self.end, other = pty.openpty()
            self.resize(width, height)
            self.before = termios.tcgetattr(other)
            self.other = other
            command = [sys.executable, "-m", "rmm", "top", "--config", str(place), *arguments]
            environment = dict(os.environ, TERM="xterm-256color")
            self.process = subprocess.Popen(command, stdin=other, stdout=other, stderr=other, env=environment)
            self.text = ""

        def resize(self, width: int, height: int) -> None:
            fcntl.ioctl(self.end, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

        def press(self, keys: str) -> None:
            os.write(self.end, keys.encode())

        def until(self, words: str, seconds: float = 30.0) -> str:
            """What came since the last time, up to these words."""
            deadline = time.monotonic() + seconds
            while words not in self.text:
                assert time.monotonic() < deadline, (words, self.text[-2000:])
                if select.select([self.end], [], [], 0.1)[0]:
                    self.text += os.read(self.end, 65_536).decode("utf-8", "replace")
            found, _, self.text = self.text.partition(words)
            return found

        def ended(self) -> int:
            """The exit code; its terminal is as it was before."""
            began = time.monotonic()
            while self.process.poll() is None:
                assert time.monotonic() - began < 10
                if select.select([self.end], [], [], 0.05)[0]:
                    self.text += os.read(self.end, 65_536).decode("utf-8", "replace")
            while select.select([self.end], [], [], 0.1)[0]:
                self.text += os.read(self.end, 65_536).decode("utf-8", "replace")
            assert termios.tcgetattr(self.other) == self.before
            assert "\x1b[?1049l" in self.text  # the screen that was there before
            assert "\x1b[?25h" in self.text  # the cursor
            return self.process.returncode

        def close(self) -> None:
            if self.process.poll() is None:
                self.process.kill()
            self.process.wait()
            os.close(self.end)
            os.close(self.other)

    @pytest.fixture
    def terminal(place: Path) -> Iterator[Terminal]:
        one = Terminal(place, "--interval", "0.5")
        one.until("\x1b[?1049h")
        one.until("q quit")
        yield one
        one.close()

    def test_keys_on_a_terminal(terminal: Terminal) -> None:
        terminal.press("4")
        terminal.until("of 7")
        terminal.press("/hq-sql\r")
        terminal.until("1 to 1 of 1")
        terminal.press("\r")
        terminal.until("the hot tier has nothing to read of hq-sql1")
        terminal.press("\x1b")
        terminal.until("1 to 1 of 1")
        terminal.press("?")
        terminal.until("move the mark")
        terminal.press("q")
        assert terminal.ended() == 0

    def test_another_size(terminal: Terminal) -> None:
        terminal.resize(30, 6)
        terminal.until("30 x 6 is too small")
        terminal.resize(100, 30)
        terminal.until("q quit")
        terminal.press("q")
        assert terminal.ended() == 0

    @pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
    def test_it_is_ended(terminal: Terminal, number: signal.Signals, code: int) -> None:
        terminal.process.send_signal(number)
        assert terminal.ended() == code

    def test_what_is_logged_does_not_write_over_the_screen(tmp_path: Path) -> None:
        made = build(tmp_path / "conf")
        (made / "data" / "hot" / "hq").mkdir(parents=True)
        (made / "data" / "hot" / "hq" / "0.json").write_text("nonsense")
        one = Terminal(made, "--page", "endpoints", "--filter", "hq-web1")
        one.until("1 to 1 of 1")
        one.press("\r")
        assert "is damaged" not in one.until("nothing to read of hq-web1")
        one.press("q")
        assert one.ended() == 0
        assert "is damaged" not in one.text
        one.close()

    def test_what_is_written_steers_nothing_but_the_screen(place: Path) -> None:
        one = Terminal(place, "--page", "endpoints")
        text = one.until("q quit")
        one.press("q")
        assert one.ended() == 0
        one.close()
        assert "EVIL" in text
        assert "\x1b]0;" not in text
        assert "\x07" not in text
        assert "\u202e" not in text

    def test_news_show_by_themselves(tmp_path: Path) -> None:
        made = build(tmp_path / "conf")
        one = Terminal(made, "--interval", "0.5")
        one.until("7 endpoints")
        rows, _ = usual(datetime.now(UTC))
        store(made / "data", [("new", "HQ-NEW", *rows[0][2:])], [])
        one.until("8 endpoints")
        one.press("q")
        assert one.ended() == 0
        one.close()
