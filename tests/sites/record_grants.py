"""Makes a renewal's questions and grants as this version, the one before and the one after would. Once per version.

`PYTHONPATH=. python tests/sites/record_grants.py`. The keys are those of no real collector.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from rmm.bus import nkeys
from rmm.hub.authority import Authority
from rmm.hub.enrolment import answer_renewal
from rmm.hub.registry import Collector
from rmm.model.enrolment import GRANT_CONTEXT, RENEW_CONTEXT, Question, seal_question
from rmm.site.identity import Keys

RECORDED = Path(__file__).parents[1] / "recordings" / "sites"
AT = datetime(2026, 11, 26, 12, tzinfo=UTC)
SITE, COLLECTOR = "berlin", "pc-01"
URLS = ("tls://hub.example:4222",)
NEWER = {"urgency": 5, "trace": {"id": "x", "parts": [1, None]}, "schema": 2}


class Then:
    """The hub's clock."""

    def now(self) -> datetime:
        return AT

    def monotonic(self) -> float:
        return 0.0


def keys() -> Keys:
    """The same in each run."""
    envelope = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    return Keys(envelope, nkeys.seed_text(nkeys.USER, bytes(range(1, 33))), ec.derive_private_key(4711, ec.SECP256R1()))


def question(csr: bytes) -> Question:
    own = keys()
    return Question(
        site=SITE, collector=COLLECTOR, at=AT, key=own.envelope.public_key().public_bytes_raw(),
        user=nkeys.public_key(own.user), csr=csr, nonce=bytes(range(16)), version="0.1.0",
    )  # fmt: skip


def hub(folder: Path) -> Authority:
    """One that knows the collector."""
    authority, asked = Authority.create(folder, AT), question(b"")
    with authority.registry.turn() as registry:
        known = Collector(
            site=SITE, id=COLLECTOR, key=asked.key.hex(), user=asked.user, enrolled_at=AT,
            expires_at=AT + timedelta(days=90),
        )  # fmt: skip
        authority.registry.write(registry.with_collector(known))
    return authority


def changed(data: bytes, change: Callable[[dict[str, Any]], dict[str, Any]], context: bytes, sign: Any) -> bytes:
    """Signed by another version, which has its fields in an order of its own."""
    fields = msgspec.msgpack.decode(data)
    del fields["signature"]
    fields = change(fields)
    return msgspec.msgpack.encode({**fields, "signature": sign(context + msgspec.msgpack.encode(fields))})


def older(fields: dict[str, Any]) -> dict[str, Any]:
    """Before there was the version in a question; its schema was 0."""
    return {name: value for name, value in fields.items() if name != "version"} | {"schema": 0}


def newer(fields: dict[str, Any]) -> dict[str, Any]:
    return {**NEWER, **fields, "schema": 2}


def main() -> None:
    RECORDED.mkdir(parents=True, exist_ok=True)
    own = keys()
    asked = seal_question(question(own.request()), own.envelope.sign)
    with tempfile.TemporaryDirectory() as folder:
        authority = hub(Path(folder))
        reply = answer_renewal(authority, URLS, Then())

        async def answered() -> bytes:
            return await reply("rmm.ask.berlin.renew", asked)

        granted = asyncio.run(answered())
        versions: list[Callable[[dict[str, Any]], dict[str, Any]]] = [older, dict, newer]
        for number, change in enumerate(versions):
            sent = changed(asked, change, RENEW_CONTEXT, own.envelope.sign)
            (RECORDED / f"renewal-{number}.bin").write_bytes(sent)
            given = changed(granted, change, GRANT_CONTEXT, authority.sign)
            (RECORDED / f"grant-{number}.bin").write_bytes(given)
        (RECORDED / "hub.bin").write_bytes(authority.public)


if __name__ == "__main__":
    main()
