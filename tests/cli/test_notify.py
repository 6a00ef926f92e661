"""`rmm notify` as a user meets it, over what a coordinator decided and sent."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from rmm.channels.log import LogChannel
from rmm.channels.memory import MemoryChannel
from rmm.coordinator import Coordinator
from rmm.document import read_document
from rmm.loop import SystemClock
from rmm.model.observation import CollectorResult, Observation, encode_observation
from rmm.model.routing import Route, Routing
from rmm.model.rule import Rule
from rmm.settings.channels import Known, channel_problems, channel_types, read_inhibitions, read_routes

HOSTILE = "C:\x1b[31m\r\nx"


def rmm(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "rmm", *arguments]
    done: subprocess.CompletedProcess[str] = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=120, encoding="utf-8", **options
    )
    return done


def settings(hook: str) -> str:
    return (
        "sites: [{id: hq, credential: polling}]\n"
        "channels:\n"
        "  file: {type: log}\n"
        f"  hook: {{type: {hook}\n"
        "routes:\n"
        "  - {name: noise, match: {rule: noise}, channels: []}\n"
        "  - {name: rest, channels: [file, hook], group_by: [site], repeat_interval: 4h}\n"
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "rmm.yaml").write_text(settings("webhook, url: 'http://127.0.0.1:1/'}"))
    (tmp_path / "endpoints.csv").write_text("ComputerName,IPAddress,SiteId\nSRV01,127.0.0.1,hq\n")
    asyncio.run(decided(tmp_path / "data"))
    return tmp_path


async def decided(data: Path) -> None:
    """Two alerts: one that a channel took and another did not, and one that nobody is told of."""
    hook = MemoryChannel("hook")
    hook.broken = True
    rules = [Rule(id=name, collector="volumes", field=field, critical=90) for name, field in
             (("volume_full", "used_pct"), ("noise", "noise"))]  # fmt: skip
    routes = (Route(name="noise", match={"rule": "noise"}), Route(name="rest", channels=("file", "hook")))
    found = []
    for name, field in (("srv01", "used_pct"), ("srv02", "noise")):
        rows = CollectorResult(outcome="ok", readings=({"volume": HOSTILE, field: 99.0},))
        one = Observation(
            endpoint=name,
            name=name.upper(),
            site="hq",
            shard=0,
            observed_at=datetime.now(UTC),
            duration_s=0.1,
            status="OK",
            fault=None,
            collectors={"volumes": rows},
            epoch="00" * 8,
            seq=1,
        )
        found.append(encode_observation(one))
    async with Coordinator.open(
        data, rules=rules, keys={"volumes": ("volume",)}, clock=SystemClock(), routing=Routing(routes=routes),
        channels=[LogChannel("file", data / "notifications.log"), hook],
    ) as coordinator:  # fmt: skip
        await coordinator.fold(found)
        await coordinator.finish()


def test_list_and_log(folder: Path) -> None:
    text = rmm("notify", "list", "--config", str(folder)).stdout
    assert "rest: everything -> file, hook, grouped by site, repeat_interval 14400 s" in text
    assert "noise: rule noise -> nobody" in text and "otherwise: every channel, at once" in text
    listed = {row["channel"]: row for row in json.loads(rmm("notify", "list", "-c", str(folder), "-o", "json").stdout)}
    assert listed["file"]["open"] == 0 and listed["hook"]["open"] == 1 and listed["hook"]["failures"] >= 1
    log = {row["channel"]: row for row in json.loads(rmm("notify", "log", "-c", str(folder), "-o", "json").stdout)}
    assert log["file"]["sent_at"] and log["file"]["attempts"] == 1 and log["file"]["kind"] == "firing"
    assert not log["hook"]["sent_at"] and "broken" in log["hook"]["result"] and log["hook"]["sent"] == "waits"
    table = rmm("notify", "log", "--config", str(folder), "--channel", "hook").stdout
    assert "SRV01" in table and "\x1b" not in table and len(table.splitlines()) == 2
    (row,) = json.loads(rmm("notify", "log", "--untold", "-c", str(folder), "-o", "json").stdout)
    assert row["outcome"] == "nobody: no route names a channel" and row["what"].startswith("SRV02")


def test_trying(folder: Path) -> None:
    done = rmm("notify", "test", "file", "--config", str(folder))
    assert done.returncode == 0 and done.stdout == f"file: {folder / 'data' / 'notifications.log'}\n"
    last = json.loads((folder / "data" / "notifications.log").read_text().splitlines()[-1])
    assert last["test"] is True and "Nothing is wrong" in last["alerts"][0]["summary"]
    done = rmm("notify", "test", "hook", "--config", str(folder))
    assert done.returncode == 1 and done.stderr.startswith(
        "error: 127.0.0.1: Connection refused\n  fix: Is the address"
    )
    done = rmm("notify", "test", "pigeon", "--config", str(folder))
    assert done.returncode == 2 and "there are file, hook" in done.stderr
    (folder / "rmm.yaml").write_text(settings("pagerduty, routing_key: secret}"))
    done = rmm("notify", "test", "hook", "--config", str(folder))
    assert done.returncode == 2 and "routing_key: write {vault: NAME}" in done.stderr


def test_trying_again(folder: Path) -> None:
    done = rmm("notify", "retry", "--config", str(folder))
    assert (done.returncode, done.stdout) == (3, "1 to be tried again; 1 not taken\n")
    (folder / "rmm.yaml").write_text(settings("log, file: other.log}"))
    done = rmm("notify", "retry", "--config", str(folder))
    assert (done.returncode, done.stdout) == (0, "1 to be tried again; all were taken\n")
    (line,) = (folder / "data" / "other.log").read_text().splitlines()
    assert json.loads(line)["alerts"][0]["rule"] == "volume_full"


def test_without_a_token_serving_only_delivers(folder: Path) -> None:
    """What no channel took goes out at its time, without a round and without a port."""
    (folder / "rmm.yaml").write_text(settings("log, file: other.log}"))
    command = [sys.executable, "-m", "rmm", "notify", "serve", "--config", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as serving:
        try:
            assert serving.stdout is not None
            assert "nothing is listened to" in serving.stdout.readline()
            until = time.monotonic() + 60
            while not (folder / "data" / "other.log").exists() and time.monotonic() < until:
                time.sleep(0.1)
        finally:
            serving.terminate()
    assert (folder / "data" / "other.log").exists()


def test_serving_alerts_needs_loopback(folder: Path) -> None:
    environment = {"RMM_PASSPHRASE": "p", "PATH": "/usr/bin"}
    secret = rmm("credentials", "set", "push", "--username", "push", "-c", str(folder), input="t\n", env=environment)
    assert secret.returncode == 0, secret.stderr
    done = rmm("notify", "serve", "--token", "push", "--listen", "0.0.0.0:0", "-c", str(folder), env=environment)
    assert done.returncode == 2 and "loopback alone" in done.stderr


DOCS = Path(__file__).parents[2] / "docs" / "notifications.md"


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", DOCS.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def test_the_commands_of_the_documentation(folder: Path) -> None:
    commands = [line.split("#")[0].split() for line in blocks("")[0].splitlines()]
    assert len(commands) == 6
    for words in commands:
        arguments = ["file" if word == "mail" else word for word in words[1:]]
        if "serve" in arguments:  # it does not end; tests/coordinator/test_alert_api.py asks it
            arguments.append("--help")
        done = rmm(*arguments, *([] if "serve" in arguments else ["--config", str(folder)]))
        assert done.returncode == (3 if "retry" in arguments else 0), done.stderr


def test_the_examples_of_the_documentation() -> None:
    known, problems, seen = Known(("mail", "pager", "chat", "sms"), ("hq", "berlin")), [], 0  # type: ignore[var-annotated]
    for text in blocks("yaml"):
        document = read_document(text)
        assert not document.problems
        seen += len(read_routes(document, document.data.get("routes", []), known, problems))
        seen += len(read_inhibitions(document, document.data.get("inhibit", []), known, problems))
        problems += channel_problems(document, document.data.get("channels", {}))
    assert problems == [] and seen == 6
    # What it says of types and options is what there is.
    table = dict(re.findall(r"^\| `(\w+)` \| (.+?) \|", DOCS.read_text(encoding="utf-8"), re.MULTILINE))
    assert set(channel_types()) - {"memory"} <= set(table)
