"""What is wrong at the collector's side is one alert of the site or the collector, and none of an endpoint (G7).

Real processes: `rmm lab up` and `rmm poll`. A rule that fires at once stands in for the shipped one that waits.
"""

from __future__ import annotations

import http.server
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from collector_side import OF_POLLS, Site, dead_port

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
ALL_WELL = {"OK", "PARTIAL"}
CLOCK_AT_ONCE = "rules:\n  - {id: clock_ahead, collector: system, field: clock_skew_s, warning: 60}\n"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Callable[..., Site]]:
    sites: list[Site] = []

    def make(count: int, faults: str = "faults: []", **poll: Any) -> Site:
        folder = tmp_path / str(len(sites))
        folder.mkdir()
        sites.append(Site(folder, count, faults, **poll))
        return sites[-1]

    yield make
    for one in sites:
        one.stop()


@pytest.fixture
def hook() -> Iterator[tuple[str, list[str]]]:
    """A web server that takes notifications: its address, and `kind rule endpoint` of each."""
    told: list[str] = []

    class Taker(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            told.extend(f"{body['kind']} {one['rule']} {one['endpoint']}".strip() for one in body["alerts"])
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Taker)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/", told
    server.shutdown()
    server.server_close()


def test_a_dead_name_server(site: Callable[..., Site]) -> None:
    one = site(30, timeout=15)
    addresses: dict[str, str] = {}

    def by_name(row: dict[str, str]) -> None:
        addresses[row["Id"]] = row["IPAddress"]
        row["IPAddress"] = f"{row['ComputerName'].lower()}.lab.example"

    one.endpoints(by_name)
    one.settings(lambda document: document["sites"][0].update(dns=[f"127.0.0.1:{dead_port()}"]))
    for _ in range(2):
        done = one.poll()
        assert done["code"] == 4
        assert one.alerts() == ["collector_dns"]
        assert one.told() == ["firing collector_dns"]
        assert one.statuses() == {"COLLECTOR_FAULT": 30}
    one.endpoints(lambda row: row.update(IPAddress=addresses[row["Id"]]))
    one.poll()
    assert one.alerts() == []
    assert one.told() == ["firing collector_dns", "resolved collector_dns"]


def test_the_collectors_clock_is_wrong(site: Callable[..., Site]) -> None:
    """All endpoints agree with each other and not with us."""
    one = site(30, "faults:\n  - {kind: clock, by_s: 7200, share: 1.0}\n")
    (one.config / "rules" / "clock.yaml").write_text(CLOCK_AT_ONCE)
    one.of_polls = OF_POLLS | {"clock_ahead"}
    for _ in range(2):
        assert one.poll("--all")["code"] == 0
        assert one.alerts() == ["collector_skew"]
        assert one.told() == ["firing collector_skew"]


JUMPING = """
import datetime, sys, time
from rmm.loop import SystemClock
from rmm.cli.main import main
began, plain = time.monotonic(), SystemClock.now
SystemClock.now = lambda self: plain(self) + datetime.timedelta(hours=time.monotonic() - began > 5.0)
main()
"""


def test_the_collectors_clock_jumps_in_a_round(site: Callable[..., Site]) -> None:
    """The one thing that is patched here: a test may not set this machine's clock."""
    one = site(30, "faults:\n  - {kind: slow, delay_s: 1, share: 1.0}\n", timeout=30)
    command = [sys.executable, "-c", JUMPING, "poll", "--config", str(one.config)]
    done = one.ended(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
    assert "clock was set by +3600 s" in done["out"]
    assert one.alerts() == ["collector_clock_step"]
    assert one.told() == ["firing collector_clock_step"]
    assert one.statuses().keys() <= ALL_WELL
    one.poll()  # the clock is back: everything from the hour ahead is still newer, and nothing storms
    assert [line for line in one.told() if line.startswith("firing")] == ["firing collector_clock_step"]


def mounted(folder: Path, *options: str) -> None:
    folder.mkdir(exist_ok=True)
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root on Linux")
    done = subprocess.run(["mount", *options, str(folder)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")


@pytest.mark.parametrize("left_kb", [0, 200, 1500])
def test_a_full_disk(site: Callable[..., Site], hook: tuple[str, list[str]], tmp_path: Path, left_kb: int) -> None:
    one = site(40)
    small = tmp_path / "small"
    mounted(small, "-t", "tmpfs", "-o", "size=20m", "none")
    try:
        one.settings(lambda document: document.update(channels={"hook": {"type": "webhook", "url": hook[0]}}))
        environment = {"RMM_DATA": str(small)}
        assert one.poll(env=environment)["code"] == 0
        assert [line for line in hook[1] if "collector" in line or "unreachable" in line] == []
        stat = os.statvfs(small)
        (small / "filler").write_bytes(bytes(max(0, stat.f_bavail * stat.f_frsize - left_kb * 1024)))
        hook[1].clear()
        rounds = 0
        while (done := one.poll("--all", env=environment))["code"] == 0 and rounds < 10:
            rounds += 1  # what is left suffices for some rounds, of which history misses what the spool keeps
        assert done["code"] == 1
        errors = [line for line in done["err"].splitlines() if line.startswith("error:")]
        assert len(errors) == 1, done["err"]
        assert "full" in errors[0] or "space" in errors[0].lower()
        # Once of the site's history that waits, and once by the round that could not acknowledge any more.
        assert 1 <= hook[1].count("firing collector_disk") <= 2
        assert [line for line in hook[1] if "unreachable" in line] == []
        (small / "filler").unlink()
        assert one.poll(env=environment)["code"] == 0  # there is room again
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)


def test_a_read_only_file_system(site: Callable[..., Site], hook: tuple[str, list[str]], tmp_path: Path) -> None:
    one = site(20)
    small = tmp_path / "small"
    mounted(small, "-t", "tmpfs", "-o", "size=20m", "none")
    try:
        one.settings(lambda document: document.update(channels={"hook": {"type": "webhook", "url": hook[0]}}))
        environment = {"RMM_DATA": str(small)}
        assert one.poll(env=environment)["code"] == 0
        hook[1].clear()
        mounted(small, "-o", "remount,ro")
        done = one.poll("--output", "ndjson", env=environment)
        assert done["code"] == 1
        assert done["out"] == ""  # nothing is called polled that is not kept
        assert str(small) in done["err"]
        assert len([line for line in done["err"].splitlines() if line.startswith("error:")]) == 1
        assert hook[1] == ["firing collector_disk"]
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)


def test_the_link_to_a_site_is_down(site: Callable[..., Site]) -> None:
    one = site(30, timeout=15, connect_timeout=1)
    assert one.poll()["code"] == 0
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = str(closed.getsockname()[1])
        one.endpoints(lambda row: row.update(Port=port))
        for _ in range(2):
            assert one.poll()["code"] == 4
            assert one.alerts() == ["site_down"]
            assert one.told() == ["firing site_down"]
            assert one.statuses() == {"SITE_DOWN": 30}
    one.endpoints(lambda row: row.update(Port=""))
    assert one.poll()["code"] == 0
    assert one.alerts() == []
    assert one.told() == ["firing site_down", "resolved site_down"]


def pipelines(one: Site) -> int:
    port = json.loads((one.config / "lab.json").read_text())["http_port"]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/lab/stats", timeout=10) as answer:
        return int(json.load(answer)["pipelines"])


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="Windows has no SIGSTOP to make a process stand still")
def test_the_event_loop_stands_still_for_five_seconds(site: Callable[..., Site]) -> None:
    # All are in flight when it stops: what begins later is measured against a machine that others load as well.
    one = site(20, "faults:\n  - {kind: slow, delay_s: 0.2, share: 1.0}\n", timeout=4, concurrency=20)
    process = one.start("poll", "--all")
    until = time.monotonic() + 60
    while not pipelines(one):
        assert time.monotonic() < until
        time.sleep(0.02)
    process.send_signal(signal.SIGSTOP)
    time.sleep(5)
    process.send_signal(signal.SIGCONT)
    done = one.ended(process)
    assert "stood still for" in done["out"]
    assert one.alerts() == ["collector_stalled"]
    assert one.told() == ["firing collector_stalled"]
    assert one.statuses().keys() <= {*ALL_WELL, "COLLECTOR_FAULT"}
    assert one.statuses()["COLLECTOR_FAULT"]


def test_file_descriptors_are_few(site: Callable[..., Site]) -> None:
    """500 endpoints at once are asked for, and 256 files allow 89: all are polled, and one alert says why slowly."""
    resource = pytest.importorskip("resource", reason="Windows has no limit of open files")
    one = site(500, concurrency=500, timeout=60)
    few = (256, 256)
    for _ in range(2):
        done = one.poll(preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, few))
        assert done["code"] == 0, done
        assert "500 of 500 endpoints polled" in done["out"]
        assert one.statuses().keys() <= ALL_WELL
        assert one.alerts() == ["collector_sockets"]
        assert one.told() == ["firing collector_sockets"]
