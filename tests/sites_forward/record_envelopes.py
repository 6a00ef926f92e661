"""Makes the recorded envelopes and receipts of this version, the one before and the one after. Run once per version."""

from __future__ import annotations

from typing import Any

import msgspec
import zstandard
from test_sealing import AT, KEY, RECORDED, envelope, receipt

from rmm.core.sealing import seal, seal_receipt
from rmm.model.envelope import ENVELOPE_CONTEXT, RECEIPT_CONTEXT

EPOCH = "0123456789abcdef"


def signed(fields: dict[str, Any], context: bytes) -> bytes:
    """As another version would do it by itself: a map, then the same map with one field more at its end."""
    return msgspec.msgpack.encode(fields | {"signature": KEY.sign(context + msgspec.msgpack.encode(fields))})


def enveloped(schema: int, entries: list[dict[str, Any]], **more: Any) -> bytes:
    body = msgspec.msgpack.encode(entries)
    fields = {
        "schema": schema, "site": "hq", "collector": "c1", "epoch": EPOCH, "sent_at": AT, "first": entries[0]["seq"],
        "last": entries[-1]["seq"], "size": len(body), "body": zstandard.compress(body), **more,
    }  # fmt: skip
    return signed(fields, ENVELOPE_CONTEXT)


def main() -> None:
    old = {"seq": 7, "kind": "observation", "at": AT, "body": b"{}"}  # before there were shards, fences and counts
    new = {**old, "shard": 3, "fence": 12, "urgency": 5, "trace": {"id": "x"}}
    files = {
        "envelope-0.bin": enveloped(0, [old]),
        "envelope-1.bin": seal(envelope(), KEY.sign),
        "envelope-2.bin": enveloped(
            2,
            [new, {**new, "seq": 8, "kind": "heartbeat", "body": b"\x00"}, {**new, "seq": 9}],
            compression="zstd", lanes=[1, 2],
        ),
        "envelope-3.bin": enveloped(3, [new]),
        "receipt-0.bin": signed(
            {"site": "hq", "hub": "h1", "number": 4, "at": AT, "marks": {EPOCH: {"high": 12}}, "schema": 0},
            RECEIPT_CONTEXT,
        ),
        "receipt-1.bin": seal_receipt(receipt(), KEY.sign),
        "receipt-2.bin": signed(
            {
                **{name: getattr(receipt(), name) for name in ("site", "hub", "number", "at", "marks")},
                "schema": 2, "pace": 100, "workers": [{"name": "a"}],
            },
            RECEIPT_CONTEXT,
        ),
    }  # fmt: skip
    RECORDED.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (RECORDED / name).write_bytes(data)


if __name__ == "__main__":
    main()
