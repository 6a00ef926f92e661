"""A configuration of more parts than questions of a site are heard in a second comes in one go."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import nats_servers

from rmm.bus.jetstream import SHARE, Login, open_bus
from rmm.core.bundles import digest_of, encode_files, seal_bundle
from rmm.model.bundle import CHUNK, PART, Answer, Bundle, Question
from rmm.site.bundle import Bundles

PARTS = 2 * SHARE + 3


async def test_it_waits_for_the_next_second_and_goes_on(tmp_path: Path) -> None:
    files = {"rmm.yaml": b"x: 1\n", "large.bin": os.urandom((PARTS - 1) * CHUNK)}
    made = Bundle(
        site="a", version=1, digest=digest_of(encode_files(files)), made_at=datetime(2026, 11, 26, tzinfo=UTC),
        program="1", files=files,
    )  # fmt: skip
    data = seal_bundle(made, lambda _: bytes(64))
    offsets: list[int] = []

    async def reply(_: str, asked: bytes) -> bytes:
        offset = msgspec.msgpack.decode(asked, type=Question).offset
        offsets.append(offset)
        part = data[offset : offset + CHUNK]
        return msgspec.msgpack.encode(Answer(state=PART, version=1, total=len(data), data=part))

    (tmp_path / "site").mkdir()
    bundles = Bundles(tmp_path, "a", verify=lambda _data, _signature: True, check=lambda _: ())
    with nats_servers.server() as broker:
        login = Login(urls=(broker.url,))
        async with open_bus(login, sites=("a", "b")) as hub, open_bus(login) as bus:
            async with hub.answer("rmm.ask.*.bundle", reply):
                assert await bundles.pull(bus)
            assert bundles.problems == ()
            assert not await bundles.pull(bus)  # nobody answers at all: that is told at once
            assert "nobody answers" in "; ".join(bundles.problems)
    assert offsets == list(range(0, len(data), CHUNK))
    assert len(offsets) == PARTS
    assert (tmp_path / "bundles" / "1" / "large.bin").stat().st_size == (PARTS - 1) * CHUNK
