"""How long it takes from the time of an observation until servers have it, in the middle of a round of 10,000."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest
from servers import MailServer, PagerDuty, WebServer

from rmm.channels import email, pagerduty, webhook
from rmm.coordinator import Coordinator
from rmm.loop import SystemClock
from rmm.model.endpoint import Credential, Secret
from rmm.model.observation import CollectorResult, Observation, encode_observation
from rmm.model.routing import Route, Routing
from rmm.model.rule import Rule
from rmm.ports import Channel
from rmm.settings.rules import shipped_rules

COUNT, BATCH = 10_000, 250
DISK = Rule(id="volume_full", collector="volumes", field="used_pct", warning=80, critical=90)
KEY = "0123456789abcdef0123456789abcdef"


def encoded(number: int, seq: int, used: float) -> bytes:
    rows = {"volumes": CollectorResult(outcome="ok", readings=({"volume": "C:", "used_pct": used},))}
    return encode_observation(
        Observation(
            endpoint=f"e{number:05}", name=f"E{number:05}", site="hq", shard=number % 40, observed_at=datetime.now(UTC),
            duration_s=0.1, status="OK", fault=None, collectors=rows, epoch="00" * 8, seq=seq,
        )
    )  # fmt: skip


async def round_of(coordinator: Coordinator, seq: int, bad: int = -1) -> float:
    """Fold a round; returns when the bad one was observed."""
    observed = 0.0
    for first in range(0, COUNT, BATCH):
        batch = []
        for number in range(first, first + BATCH):
            batch.append(encoded(number, seq, 99.0 if number == bad else 20.0))
            if number == bad:
                observed = time.time()
        await coordinator.fold(batch)
    return observed


@pytest.mark.slow
@pytest.mark.parametrize("grouped", [False, True])
async def test_under_five_seconds(tmp_path: Path, grouped: bool, capsys: pytest.CaptureFixture[str]) -> None:
    hook, pager, mail = WebServer(), PagerDuty(), MailServer()
    channels: list[Channel] = [
        webhook.build(name="hook", options={"url": hook.url}),
        pagerduty.build(
            name="pager",
            options={"url": pager.url, "routing_key": Credential(name="p", username="p", secret=Secret(KEY))},
        ),
        email.build(
            name="mail",
            options={
                "host": "127.0.0.1",
                "port": mail.port,
                "tls": "none",
                "from": "rmm@example.org",
                "to": "a@example.org",
            },
        ),
    ]
    names = ("hook", "pager", "mail")
    route = Route(name="r", channels=names, group_by=("site", "rule"), group_wait=2, group_interval=60)
    arrived: dict[str, float] = {}

    async def watch(name: str, server: WebServer | MailServer) -> None:
        while not server.arrived.is_set():
            await asyncio.sleep(0.005)
        arrived[name] = time.time()

    async with AsyncExitStack() as stack:
        for server in (hook, pager, mail):
            stack.callback(server.close)
        coordinator = await stack.enter_async_context(
            Coordinator.open(
                tmp_path, rules=[*shipped_rules(), DISK], keys={"volumes": ("volume",)}, channels=channels,
                clock=SystemClock(), routing=Routing(routes=(route,) if grouped else ()),
            )
        )  # fmt: skip
        await round_of(coordinator, 1)
        await coordinator.finish()
        watchers = [asyncio.create_task(watch(name, one)) for name, one in zip(names, (hook, pager, mail), strict=True)]
        # Early in the round, so that what is measured is not its end.
        observed = await round_of(coordinator, 2, bad=1000)
        await coordinator.finish()
        await asyncio.wait(watchers, timeout=10)
    took = {name: at - observed for name, at in arrived.items()}
    with capsys.disabled():
        print(f"\n{'grouped, waiting 2 s' if grouped else 'at once'}, 10,000 endpoints:", end=" ")
        print(", ".join(f"{name} {seconds:.2f} s" for name, seconds in took.items()))
    assert set(took) == set(names)
    assert max(took.values()) < 5
