"""What keeps a site collector running, and that it stays stopped where somebody has stopped it. No broker is there."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml
from nats_servers import free_ports
from sites_world import SITES, Clock
from typer.testing import CliRunner

from rmm.bus.login import Login
from rmm.cli import installing, site, site_forms
from rmm.cli.main import build
from rmm.configured import proxy_of
from rmm.durable import hold
from rmm.errors import ConfigError, LeaseLost, RmmError
from rmm.hub.authority import Authority
from rmm.hub.enrolment import answer_enrolment
from rmm.hub.invitations import invite
from rmm.settings.load import load_own
from rmm.site import control
from rmm.site.enrolling import enroll
from rmm.site.identity import Identity
from rmm.site.windows_service import serve
from rmm.site_run import run_site

TASKS = "{http://schemas.microsoft.com/windows/2004/02/mit/task}"
ROWS = {
    "running", "stopped", "site", "collector", "doing", "version", "configuration", "endpoints", "shards", "last_round",
    "link", "link_since", "trouble", "last_receipt", "waiting", "waiting_mb", "oldest", "dropped", "config_refused",
    "certificate_until", "problems", "written",
}  # fmt: skip


async def enrolled_alone(authority: Authority, config: Path, urls: Sequence[str], site: str = "berlin") -> Identity:
    """A collector's folder without a broker: the hub is asked in this process."""
    clock = Clock()
    reply = answer_enrolment(authority, SITES, urls, clock)

    class Asked:
        async def ask(self, subject: str, data: bytes, *, timeout_s: float) -> bytes:
            return await reply(subject, data)

    @contextlib.asynccontextmanager
    async def connect(login: Login) -> AsyncIterator[Asked]:
        yield Asked()

    token = invite(authority, site, sites=SITES, urls=urls, lasts=timedelta(hours=1), now=clock.now())
    return await enroll(token, config, clock=clock, host="pc", connect=connect)


@pytest.fixture
def config(authority: Authority, tmp_path: Path) -> Path:
    """A collector's folder; nothing listens where its broker should be."""
    folder = tmp_path / "site-config"
    asyncio.run(enrolled_alone(authority, folder, [f"tls://127.0.0.1:{free_ports(1)[0]}"]))
    return folder


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The tools of platforms, which only note how they are called, and an account that is not root."""
    folder, calls = tmp_path / "bin", tmp_path / "calls"
    folder.mkdir()
    calls.touch()
    for name in ("systemctl", "sc.exe", "schtasks"):
        note = f'printf "%s\\n" "{name} $*" >> "{calls}"'
        (folder / name).write_text(f'#!/bin/sh\n{note}\n[ ! -e "{calls}.fails" ]\n')
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    for module in (installing, site):
        monkeypatch.setattr(module, "is_root", lambda: False)
    yield calls


def rmm(config: Path, *words: str) -> tuple[int, str]:
    """Exit code and what is printed. Raises what the command raises."""
    result = CliRunner().invoke(build(["site"]), ["site", *words, "--config", str(config)], standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return (result.return_value or 0, result.output)


def status(config: Path) -> dict[str, Any]:
    (row,) = json.loads(rmm(config, "status", "--output", "json")[1])
    return dict(row)


class Process:
    """`rmm site run`, as whatever keeps it starts it."""

    def __init__(self, config: Path, *words: str) -> None:
        command = [sys.executable, "-m", "rmm", "site", "run", "--config", str(config), *words]
        self._data = config / "data"
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def at_work(self) -> None:
        self._wait(lambda: (known := control.read_status(self._data)) is not None and known.pid == self.process.pid)

    def _wait(self, true: Callable[[], bool]) -> None:
        end = time.monotonic() + 60
        while not true():
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < end
            time.sleep(0.05)

    def ended(self) -> tuple[int, str]:
        """Exit code, standard output."""
        said, _ = self.process.communicate(timeout=60)
        return self.process.returncode, said


def test_it_stays_stopped_whatever_starts_it(config: Path, tools: Path) -> None:
    with Process(config, "--kept") as first:
        first.at_work()
        row = status(config)
        assert set(row) == ROWS
        assert (row["running"], row["stopped"], row["site"], row["link"], row["waiting"]) == (
            True, "", "berlin", "down", 0,
        )  # fmt: skip
        with pytest.raises(LeaseLost, match=f"of this folder is held by process {first.process.pid} on") as caught:
            rmm(config, "run")
        assert "`rmm site status` shows what it does" in caught.value.hint
        assert rmm(config, "stop") == (0, "ended; nothing waits for the hub\n")
        assert first.ended() == (0, "asked to stop\nit stays stopped until `rmm site start`\n")
    assert rmm(config, "status")[0] == 4
    assert status(config)["stopped"].startswith("stop at 20")
    with Process(config, "--kept") as task:  # five minutes later, or when the machine starts anew
        assert task.ended() == (0, "it stays stopped until `rmm site start`\n")
    assert status(config)["stopped"]
    code, _ = rmm(config, "start", "--kind", "windows-task")
    assert (code, tools.read_text()) == (0, "schtasks /Run /TN rmm-site\n")
    with control.collecting(config / "data", kept=True) as may:
        assert may
        assert status(config)["stopped"] == ""
        assert rmm(config, "start") == (0, "it runs\n")


def test_a_drain_holds_as_well(config: Path) -> None:
    with Process(config) as first:
        first.at_work()
        assert rmm(config, "drain") == (0, "ended; nothing waits for the hub\n")
        assert first.ended() == (0, "asked to drain\nit stays stopped until `rmm site start`\n")
    assert status(config)["stopped"].startswith("drain at 20")
    with control.collecting(config / "data", kept=True) as may:
        assert not may


def test_a_stop_between_two_starts_holds_and_a_run_by_hand_ends_it(config: Path) -> None:
    code, said = rmm(config, "stop")
    assert (code, said) == (4, "no site collector runs here, and none is started until `rmm site start`\n")

    async def by_hand(*, kept: bool) -> list[str]:
        said: list[str] = []
        task = asyncio.create_task(run_site(config, lambda: "", said.append, kept=kept))
        async with asyncio.timeout(30):
            while not task.done() and control.read_status(config / "data") is None:
                await asyncio.sleep(0.02)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return said

    assert asyncio.run(by_hand(kept=True)) == ["it stays stopped until `rmm site start`"]
    assert control.read_status(config / "data") is None
    asyncio.run(by_hand(kept=False))
    assert control.read_status(config / "data") is not None
    assert control.read_stopped(config / "data") is None


def test_a_stop_is_seen_by_one_that_starts_just_then(config: Path) -> None:
    """Whoever starts looks for the marker when it has the lock; whoever stops leaves it before it looks there."""
    data = config / "data"
    control.keep_stopped(data, control.STOP)
    control.ask_to(data, control.STOP)
    with control.collecting(data, kept=True) as may:
        assert not may
    assert control.take_request(data) == ""
    with control.collecting(data, kept=False) as may, pytest.raises(LeaseLost), control.collecting(data, kept=True):
        assert may


def test_one_that_does_not_end_in_time_is_told(config: Path) -> None:
    with hold(control.lock_of(config / "data"), "the site collector of this folder"):
        code, said = rmm(config, "stop", "--wait", "0")
        assert (code, said) == (3, "it has not ended yet: unknown, nothing waits for the hub\n")
        assert rmm(config, "status")[0] == 0
        assert control.take_request(config / "data") == control.STOP
        assert rmm(config, "drain", "--wait", "0")[0] == 3
        assert control.take_request(config / "data") == control.DRAIN


def test_a_password_in_the_address_of_the_proxy_ends_it_with_what_to_do(config: Path) -> None:
    (config / "site.yaml").write_text("forward:\n  proxy: http://bob:hunter2@proxy.example:3128\n")
    command = [sys.executable, "-m", "rmm", "site", "run", "--config", str(config), "--kept"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"{config / 'site.yaml'}:2: forward.proxy: http://HOST:PORT is expected, without an account" in done.stderr
    assert "`rmm credentials set proxy --username USER`" in done.stderr
    assert "proxy_login: {vault: proxy}" in done.stderr
    assert "hunter2" not in done.stderr
    (config / "passphrase").write_text("open sesame")
    words = ["credentials", "set", "proxy", "--username", "bob", "--passphrase-file", str(config / "passphrase")]
    mend = [sys.executable, "-m", "rmm", *words, "--config", str(config)]
    subprocess.run(mend, input="hunter2\n", text=True, check=True, capture_output=True, timeout=60)
    (config / "site.yaml").write_text("forward:\n  proxy: http://proxy.example:3128\n  proxy_login: {vault: proxy}\n")
    assert proxy_of(config, load_own(config).forward, lambda: "open sesame") == "http://bob:hunter2@proxy.example:3128"


@pytest.mark.parametrize("how", ["start", "install"])
def test_a_start_waits_for_the_end_of_one_that_still_drains(
    config: Path, tools: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or nothing would run: the old one ends, and what keeps it running takes that for what was asked for."""
    data = config / "data"
    lock = hold(control.lock_of(data), "the site collector of this folder")
    lock.__enter__()
    assert rmm(config, "drain", "--wait", "0")[0] == 3
    assert control.take_request(data) == control.DRAIN
    for _ in range(2):
        with monkeypatch.context() as short:
            short.setattr(site, "PATIENCE_S", 0.0)
            wait = ["--wait", "0"] if how == "start" else []
            code, said = rmm(config, how, "--kind", "systemd", *wait)
        assert (code, said) == (3, "it has not ended yet: unknown, nothing waits for the hub\n")
        assert control.read_stopped(data) is not None
        assert tools.read_text() == ""
    ends = threading.Timer(0.5, lock.__exit__, (None, None, None))
    ends.start()
    try:
        assert rmm(config, how, "--kind", "systemd")[0] == 0
    finally:
        ends.join()
    assert "rmm-site.service" in tools.read_text()
    assert control.read_stopped(data) is None


def test_a_folder_of_no_collector_is_left_alone(tmp_path: Path) -> None:
    assert rmm(tmp_path / "empty", "stop") == (4, "no site collector runs here\n")
    assert control.read_stopped(tmp_path / "empty" / "data") is None


def test_a_start_of_what_was_never_set_up_says_what_to_do(config: Path, tools: Path) -> None:
    tools.with_name("calls.fails").touch()
    control.keep_stopped(config / "data", control.STOP)
    with pytest.raises(RmmError, match="it may start again, but was not started: systemctl --user start") as caught:
        rmm(config, "start", "--kind", "systemd")
    assert "rmm site install" in caught.value.hint
    assert control.read_stopped(config / "data") is None


def test_the_unit(config: Path, tools: Path, tmp_path: Path) -> None:
    control.keep_stopped(config / "data", control.STOP)
    rmm(config, "install", "--kind", "systemd", "--dry-run")
    _, printed = rmm(config, "install", "--kind", "systemd", "--print", "--passphrase-file", str(tmp_path / "a secret"))
    assert (tools.read_text(), (tmp_path / "xdg").exists()) == ("", False)
    assert control.read_stopped(config / "data") is not None  # nothing was done
    command = f'-m rmm site run --config {config} --passphrase-file "{tmp_path / "a secret"}" --kept'
    assert f"ExecStart={sys.executable} {command}\n" in printed
    assert "\nRestart=on-failure\n" in printed
    assert "\nWantedBy=" in printed
    rmm(config, "install", "--kind", "systemd")
    unit = (tmp_path / "xdg" / "systemd" / "user" / "rmm-site.service").read_text()
    assert f"ExecStart={sys.executable} -m rmm site run --config {config} --kept\n" in unit
    calls = ["systemctl --user daemon-reload", "systemctl --user enable --now rmm-site.service"]
    assert tools.read_text().splitlines() == calls
    assert control.read_stopped(config / "data") is None
    with pytest.raises(ConfigError, match="--account needs root"):
        rmm(config, "install", "--kind", "systemd", "--account", "rmm")
    assert "\nUser=rmm\n" in site_forms.unit("x", account="rmm")


def test_the_service_of_windows(config: Path, tools: Path) -> None:
    _, printed = rmm(config, "install", "--kind", "windows-service", "--print")
    assert printed.count("would run sc.exe") == 4
    assert tools.read_text() == ""
    rmm(config, "install", "--kind", "windows-service")
    create, description, failure, begin = tools.read_text().splitlines()
    program = subprocess.list2cmdline([sys.executable, *site_forms.words(str(config), "", service=True)])
    assert create == f"sc.exe create rmm-site binPath= {program} start= delayed-auto obj= NT SERVICE\\rmm-site"
    assert program.endswith(f"site run --config {config} --service")
    assert (description.split()[:3], failure.split()[:3]) == (
        ["sc.exe", "description", "rmm-site"], ["sc.exe", "failure", "rmm-site"],
    )  # fmt: skip
    assert begin == "sc.exe start rmm-site"


def test_the_task_of_windows(config: Path, tools: Path) -> None:
    _, printed = rmm(config, "install", "--kind", "windows-task", "--print", "--account", "CORP\\rmm & co")
    seen = ElementTree.fromstring(printed.split("\n", 1)[1])
    assert seen.findtext(f".//{TASKS}UserId") == "CORP\\rmm & co"
    assert seen.findtext(f".//{TASKS}ExecutionTimeLimit") == "PT0S"
    assert seen.findtext(f".//{TASKS}Interval") == "PT5M"
    assert seen.findtext(f".//{TASKS}MultipleInstancesPolicy") == "IgnoreNew"
    assert seen.find(f".//{TASKS}BootTrigger") is not None
    assert seen.findtext(f".//{TASKS}Command") == sys.executable
    arguments = str(seen.findtext(f".//{TASKS}Arguments"))
    assert arguments.split() == ["-m", "rmm", "site", "run", "--config", str(config), "--kept"]
    rmm(config, "install", "--kind", "windows-task")
    file = config / "rmm-site.xml"
    assert ElementTree.fromstring(file.read_bytes()).findtext(f".//{TASKS}Arguments") == arguments
    assert tools.read_text().splitlines() == [
        f"schtasks /Create /TN rmm-site /XML {file} /F", "schtasks /Run /TN rmm-site",
    ]  # fmt: skip


@pytest.mark.skipif(sys.platform == "win32", reason="there it asks the service manager")
def test_a_service_is_for_windows(config: Path) -> None:
    with pytest.raises(ConfigError, match="--service is for Windows"):
        serve("rmm-site", lambda: 0, lambda: None)
    with pytest.raises(ConfigError, match="--service is for Windows"):
        rmm(config, "run", "--service")
    with pytest.raises(ConfigError, match="there are systemd, windows-service, windows-task"):
        rmm(config, "install", "--kind", "launchd")


def test_what_is_wrong_in_the_sites_own_file_is_told_at_the_start(config: Path) -> None:
    (config / "site.yaml").write_text(yaml.safe_dump({"forward": {"rate": 0}}))
    with pytest.raises(ConfigError, match=r"forward\.rate"):
        rmm(config, "run", "--kept")
