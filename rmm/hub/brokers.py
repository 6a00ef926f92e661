"""Whether the broker still keeps its word while the hub is at work: it may be started again, with other settings.

Of a server it is asked after each new connection, and of all of a cluster from time to time: one that was away may be
back.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from rmm.bus.jetstream import JetStreamBus
from rmm.errors import BusError

log = logging.getLogger(__name__)

LOOK_S = 0.5  # between two looks whether there is a new connection
OFTEN_S = 60.0  # between two checks
AGAIN_S = 5.0  # after one that found nobody to ask


async def keep_checking(bus: JetStreamBus, check: Callable[[], Awaitable[bool]]) -> None:
    """Until cancelled. Raises BusError (bus.durability) for a broker that has become lax.

    `check`: asks the servers, and says whether any has answered; what else it raises says that none has.
    """
    loop = asyncio.get_running_loop()
    checked, due = bus.link.client, loop.time() + OFTEN_S
    while True:
        await asyncio.sleep(LOOK_S)
        client = bus.link.client
        if client is None or (client is checked and loop.time() < due):
            continue
        checked, due = client, loop.time() + AGAIN_S
        try:
            if await check():
                due = loop.time() + OFTEN_S
        except BusError as error:
            if error.code == "bus.durability":
                raise
            log.debug("whether the broker syncs is not known now: %s", error)
