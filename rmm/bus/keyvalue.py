"""Keys with revisions in JetStream's key-value store: a stream for each bucket and site, the subject being the key.

A revision is the sequence number in the site's stream, so it grows with every write of the site, also over a removal.
"""

from __future__ import annotations

import asyncio
import math

import msgspec
from nats.aio.msg import Msg

from rmm.bus import subjects
from rmm.bus.api import NO_MESSAGE, NO_STREAM, WRONG_SEQUENCE, Refused, call, stored
from rmm.bus.link import WAIT_S, Link, Listening, begin, end
from rmm.errors import BusError, KeyTaken
from rmm.ports import Keyed


class _Stored(msgspec.Struct, frozen=True):
    seq: int
    data: bytes = b""


class _Found(msgspec.Struct, frozen=True):
    message: _Stored


class _Names(msgspec.Struct, frozen=True):
    streams: list[str] | None = None
    total: int = 0


class JetStreamKeys:
    """`ports.Keys`. The first word of a key is the site. A read of one key is the leader's, so never stale."""

    def __init__(self, link: Link, bucket: str, ttl_s: float) -> None:
        self._link = link
        self._bucket = subjects.word(bucket)
        self._ttl = {"Nats-TTL": f"{math.ceil(ttl_s)}s"} if ttl_s > 0 else {}  # the server has whole seconds

    def _stream(self, key: str) -> str:
        return subjects.bucket_stream(self._bucket, subjects.checked_key(key).split(".", 1)[0])

    async def get(self, key: str) -> Keyed | None:
        """The value of a key, or None."""
        subject = subjects.key_subject(self._bucket, key)
        try:
            found = await call(self._link, f"STREAM.MSG.GET.{self._stream(key)}", {"last_by_subj": subject}, _Found)
        except Refused as error:
            if error.err_code == NO_MESSAGE:
                return None
            raise
        return Keyed(found.message.data, found.message.seq)

    async def put(self, key: str, value: bytes, *, after: int) -> int:
        """Write a key whose revision is still `after`. Raises KeyTaken, BusFull."""
        subject = subjects.key_subject(self._bucket, subjects.checked_key(key))
        headers = {"Nats-Expected-Last-Subject-Sequence": str(after), **self._ttl}
        message = await self._link.request(subject, value, timeout_s=WAIT_S, headers=headers)
        try:
            return stored(message.data, subject).seq
        except Refused as error:
            if error.err_code in WRONG_SEQUENCE:
                raise KeyTaken(f"{key} was written by somebody else") from error
            raise

    async def drop(self, key: str, *, after: int) -> None:
        """Remove a key whose revision is still `after`: by that number, which no other write has. Raises KeyTaken."""
        stream = self._stream(key)
        if after < 1:
            if await self.get(key) is not None:
                raise KeyTaken(f"{key} was written by somebody else")
            return
        try:
            await call(self._link, f"STREAM.MSG.DELETE.{stream}", {"seq": after, "no_erase": True})
        except Refused as error:
            if error.err_code == NO_STREAM:
                raise
            raise KeyTaken(f"{key} was written by somebody else, or is gone") from error

    async def all(self, pattern: str) -> dict[str, Keyed]:
        """All keys that match; in a cluster it may be a moment behind. A first word `*` is every site: the hub's."""
        site = pattern.split(".", 1)[0]
        if site not in ("*", ">"):
            return await self._all_of(subjects.bucket_stream(self._bucket, site), pattern)
        found: dict[str, Keyed] = {}
        for stream in await self._streams():
            found |= await self._all_of(stream, pattern)
        return found

    async def _streams(self) -> list[str]:
        names: list[str] = []
        while True:
            body = {"subject": subjects.key_subject(self._bucket, ">"), "offset": len(names)}
            page = await call(self._link, "STREAM.NAMES", body, _Names)
            names += page.streams or []
            if not page.streams or len(names) >= page.total:
                return names

    async def _all_of(self, stream: str, pattern: str) -> dict[str, Keyed]:
        """A batch of the last message of each subject (ADR-31 of NATS)."""
        client = await self._link.ready()
        inbox = client.new_inbox()
        found: dict[str, Keyed] = {}
        ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        def arrived(message: Msg) -> None:
            headers = message.headers or {}
            try:
                key = headers["Nats-Subject"].split(".", 2)[2]
                found[key] = Keyed(message.data, int(headers["Nats-Sequence"]))
            except (KeyError, IndexError, ValueError):
                if not ended.done():
                    ended.set_result(headers.get("Status", "") + " " + headers.get("Description", ""))

        listening = Listening(inbox, arrived)
        await begin(client, (listening,))
        try:
            body = {"multi_last": [subjects.key_subject(self._bucket, pattern)]}
            await self._link.send(f"$JS.API.DIRECT.GET.{stream}", msgspec.json.encode(body), reply=inbox)
            async with asyncio.timeout(WAIT_S):
                said = await ended
        except TimeoutError as error:
            raise BusError(f"no answer about keys {pattern} in time", code="bus.timeout") from error
        finally:
            await end((listening,))
        if not said.startswith(("204", "404")):
            raise BusError(f"keys {pattern}: {said.strip()[:100]}", code="bus.nobody" if said[:3] == "503" else None)
        return found
