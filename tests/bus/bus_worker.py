"""A process that takes messages, writes down what it is about to acknowledge, and is killed. Arguments: url, file."""

from __future__ import annotations

import asyncio
import os
import random
import sys

from rmm.bus.jetstream import Login, open_bus


async def main(url: str, file: str) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    async with open_bus(Login(urls=(url,)), ack_wait_s=3.0) as bus, bus.subscribe("rmm.up.*") as messages:
        async for delivery in messages:
            if random.random() < 0.02:
                await delivery.later(0.2)
                continue
            os.write(descriptor, delivery.data + b"\n")
            await delivery.ack()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
