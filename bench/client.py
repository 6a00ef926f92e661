"""One measurement in a process of its own: poll some endpoints in one way, print what it cost as JSON."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

from rmm.app import build, run
from rmm.model.endpoint import Credential, Secret, Target
from rmm.ports import Script


class Open:
    """A gate that lets everyone through."""

    @contextlib.asynccontextmanager
    async def attempt(self, credential: Credential, host: str) -> AsyncIterator[Open]:
        yield self

    def accepted(self) -> None:
        """Nothing to note."""

    def rejected(self) -> None:
        raise SystemExit("a logon was rejected")

    def unsent(self) -> None:
        """Nothing to note."""


def targets(lab: dict[str, Any], order: dict[str, Any]) -> list[Target]:
    credential = Credential(name="lab", username=lab["username"], secret=Secret(lab["password"]))
    secure = order.get("scheme") == "https"
    return [
        Target(
            endpoint=machine["id"], name=machine["name"], host=machine["address"], transport=order["transport"],
            port=lab["https_port"] if secure else lab["http_port"], scheme="https" if secure else "http", auth="ntlm",
            session=order.get("session", "new"), credential=credential, ca_file=lab["ca_file"] if secure else "",
        )
        for machine in lab["endpoints"][: order["endpoints"]]
    ]  # fmt: skip


async def one(transport: Any, target: Target, order: dict[str, Any], tally: dict[str, Any]) -> None:
    deadline = asyncio.get_running_loop().time() + 120
    began = time.perf_counter()
    try:
        async with transport.session(target, deadline=deadline) as session:
            if order.get("wql"):
                rows = await session.query(
                    "SELECT CSName, LastBootUpTime FROM Win32_OperatingSystem", deadline=deadline
                )
                right = rows[0]["CSName"] == target.name
            elif order.get("sleep"):
                result = await session.run(Script(f"#lab:sleep {order['sleep']:g}"), deadline=deadline)
                right = result.state == "completed"
            elif order.get("bundle"):
                result = await session.run(Script(order["bundle"]), deadline=deadline)
                right = len(result.output) == order["parts"] and f'"host":"{target.name}"' in result.output[0]
            else:
                result = await session.run(Script(f"#lab:size {order['size']}"), deadline=deadline)
                right = "".join(result.output).startswith(f"{target.name} ")
        tally["requests"].append(session.telemetry.get("requests", 0))
    except Exception as error:
        tally["errors"].append(f"{type(error).__name__}: {error}"[:200])
        return
    tally["wrong" if not right else "right"] += 1
    tally["seconds"].append(time.perf_counter() - began)


async def main(order: dict[str, Any]) -> None:
    lab = json.load(open(order["lab"], encoding="utf-8"))  # noqa: ASYNC230, PTH123, SIM115
    listed = targets(lab, order)
    transport = build("transports", order["transport"], gate=Open())
    tally: dict[str, Any] = {"right": 0, "wrong": 0, "errors": [], "seconds": [], "requests": []}
    slots = asyncio.Semaphore(order["inflight"])

    async def slot(target: Target) -> None:
        async with slots:
            await one(transport, target, order, tally)

    if order.get("session", "new") != "new":
        await asyncio.gather(*(slot(target) for target in listed))  # open what is kept
        tally = {"right": 0, "wrong": 0, "errors": [], "seconds": [], "requests": []}
    else:
        await slot(listed[0])  # imports, templates, the hash of the password
        tally = {"right": 0, "wrong": 0, "errors": [], "seconds": [], "requests": []}
    before, wall = os.times(), time.perf_counter()
    for _ in range(order.get("repeat", 1)):
        await asyncio.gather(*(slot(target) for target in listed))
    after = os.times()
    await transport.aclose()
    polls = len(listed) * order.get("repeat", 1)
    cpu = after.user + after.system - before.user - before.system
    seconds = sorted(tally["seconds"]) or [0.0]
    print(
        json.dumps(
            {
                "ms": cpu / polls * 1000,
                "wall_s": time.perf_counter() - wall,
                "right": tally["right"],
                "wrong": tally["wrong"],
                "errors": len(tally["errors"]),
                "first_error": (tally["errors"] or [""])[0],
                "requests": max(tally["requests"], default=0),
                "p99_s": seconds[int(len(seconds) * 0.99) - 1],
                "mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            }
        )
    )


if __name__ == "__main__":
    run(main(json.loads(sys.argv[1])))
