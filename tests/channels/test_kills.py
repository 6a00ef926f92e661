"""kill -9 between every pair of steps of a delivery: nothing is lost, nothing is sent with two keys."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from servers import MailServer, PagerDuty, WebServer

from rmm.model.observation import CollectorResult, Observation, encode_observation

ROUTING_KEY = "0123456789abcdef0123456789abcdef"
COUNT = 4

CHILD = """
import asyncio, json, os, signal, sys
from contextlib import asynccontextmanager
from pathlib import Path
from rmm.loop import SystemClock
from rmm.channels import email, pagerduty, webhook
from rmm.coordinator import Coordinator
from rmm.coordinator.stages import Stages
from rmm.model.endpoint import Credential, Secret
from rmm.model.routing import Route, Routing
from rmm.model.rule import Rule
from rmm.settings.rules import shipped_rules
from rmm.tiers.fleet_sqlite import FleetStore
from rmm.tiers.fleet_sqlite.outbox import Outbox

order = json.loads(sys.argv[1])
seen = 0

def at(point):
    global seen
    if point == order["point"]:
        seen += 1
        if seen == order["nth"]:
            os.kill(os.getpid(), signal.SIGKILL)

def around(kind, name):
    inner = getattr(kind, name)
    async def wrapped(*given, **named):
        at(f"before {name}")
        result = await inner(*given, **named)
        at(f"after {name}")
        return result
    setattr(kind, name, wrapped)

around(Stages, "run")
for name in ("fresh", "keep", "open", "mark_sent"):
    around(Outbox, name)
around(FleetStore, "add_notifications")
for kind in (webhook.WebhookChannel, pagerduty.PagerDutyChannel, email.EmailChannel):
    around(kind, "send")

inner = FleetStore.transaction
@asynccontextmanager
async def transaction(self):
    async with inner(self):
        yield
        at("before commit")
    at("after commit")
FleetStore.transaction = transaction

async def main():
    disk = Rule(id="volume_full", collector="volumes", field="used_pct", critical=90)
    key = Credential(name="p", username="p", secret=Secret(order["routing_key"]))
    channels = [
        webhook.build(name="hook", options={"url": order["hook"]}),
        pagerduty.build(name="pager", options={"url": order["pager"], "routing_key": key}),
        email.build(name="mail", options={"host": "127.0.0.1", "port": order["mail"], "tls": "none",
                                          "from": "rmm@example.org", "to": "ops@example.org"}),
    ]
    grouping = Route(name="r", channels=("hook", "pager", "mail"), group_by=("site",), group_wait=0.2)
    routing = Routing(routes=(grouping,) * order["grouped"])
    async with Coordinator.open(
        Path(order["data"]), rules=[*shipped_rules(), disk], keys={"volumes": ("volume",)}, channels=channels,
        clock=SystemClock(), routing=routing,
    ) as it:
        await it.fold([line.rstrip(b"\\n") for line in sys.stdin.buffer])
        await it.finish()

asyncio.run(main())
"""

POINTS = [
    *(
        "before add_notifications",
        "after add_notifications",
        "before commit",
        "after commit",
        "before run",
        "after run",
    ),
    *("before fresh", "after fresh", "before keep", "after keep", "before open", "after open", "before send"),
    *("after send", "before mark_sent", "after mark_sent"),
]

# Each once with and once without groups would take minutes: what comes later in a delivery is killed there as well.
CASES = [(point, 1, number % 2) for number, point in enumerate(POINTS)]
CASES += [
    (point, 3, 0) for point in ("after commit", "before send", "after send", "before mark_sent", "after mark_sent")
]


@pytest.fixture
def servers() -> Iterator[tuple[WebServer, PagerDuty, MailServer]]:
    three = WebServer(), PagerDuty(), MailServer()
    yield three
    for one in three:
        one.close()


def batch() -> bytes:
    # Of now: what is older than a round is held until the round has shown whose trouble it is.
    at = datetime.now(UTC) - timedelta(seconds=1)
    rows = {"volumes": CollectorResult(outcome="ok", readings=({"volume": "C:", "used_pct": 99.0},))}
    found = [
        Observation(
            endpoint=f"e{n}",
            name=f"E{n}",
            site="hq",
            shard=0,
            observed_at=at,
            duration_s=0.1,
            status="OK",
            fault=None,
            collectors=rows,
            epoch="00" * 8,
            seq=1,
        )
        for n in range(COUNT)
    ]
    return b"\n".join(map(encode_observation, found)) + b"\n"


@pytest.mark.crash
@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
@pytest.mark.parametrize(("point", "nth", "grouped"), CASES)
def test_a_kill_at(
    tmp_path: Path, servers: tuple[WebServer, PagerDuty, MailServer], point: str, nth: int, grouped: int
) -> None:
    hook, pager, mail = servers
    data = batch()

    def child(at: str) -> int:
        order = {
            "data": str(tmp_path), "hook": hook.url, "pager": pager.url, "mail": mail.port, "point": at, "nth": nth,
            "grouped": grouped, "routing_key": ROUTING_KEY,
        }  # fmt: skip
        command = [sys.executable, "-c", CHILD, json.dumps(order)]
        done = subprocess.run(command, input=data, timeout=60, check=False, capture_output=True)
        assert done.returncode in (0, -9), done.stderr.decode()
        return done.returncode

    killed = child(point)
    if nth == 1:
        assert killed == -9
        child(point)  # once more, wherever that is by then
    for _ in range(2):
        assert child("") == 0
    keys = {f"volume_full|e{n}|C:" for n in range(COUNT)}
    # Which messages each of the servers got, by what it knows them by, and the alerts in each.
    by_key: dict[str, set[str]] = {}
    for _, headers, body in hook.requests:
        by_key.setdefault(headers["Idempotency-Key"], set()).update(one["key"] for one in body["alerts"])
    assert set().union(*by_key.values()) == keys
    assert sum(len(alerts) for alerts in by_key.values()) == COUNT  # no alert under two keys
    assert set(pager.keys) == {("trigger", key) for key in keys}
    mails: dict[str, set[str]] = {}
    for one in mail.mails:
        assert mails.setdefault(one["Message-ID"], {one["X-Idempotency"]}) == {one["X-Idempotency"]}
    assert {name for names in mails.values() for name in names} == set(by_key)
    assert len(mails) == len(by_key)
    # At least once: what was taken when the kill came may have been given again, nothing else was.
    assert len(hook.requests) <= len(by_key) + 2 and len(mail.mails) <= len(by_key) + 2
