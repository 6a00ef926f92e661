"""Envelopes and receipts: what was sealed is read, everything else is refused with its code."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zstandard
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from rmm.core import sealing
from rmm.core.sealing import MOST_SEALED, open_receipt, seal, seal_receipt, unseal
from rmm.errors import EnvelopeError
from rmm.model.envelope import AUDIT, DROPPED, ENVELOPE_CONTEXT, OBSERVATION, Entry, Envelope, Marks, Receipt, Sealed

RECORDED = Path(__file__).parents[1] / "recordings" / "envelopes"
AT = datetime(2026, 11, 26, 12, 0, 0, 250_000, tzinfo=UTC)
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))


def verify(data: bytes, signature: bytes) -> bool:
    try:
        KEY.public_key().verify(signature, data)
    except InvalidSignature:
        return False
    return True


def key_of(site: str, collector: str) -> Callable[[bytes, bytes], bool] | None:
    return verify if (site, collector) == ("hq", "c1") else None


def envelope(**other: Any) -> Envelope:
    entries = (
        Entry(7, OBSERVATION, AT, b'{"endpoint":"srv-1"}' * 20, shard=3, fence=12),
        Entry(8, DROPPED, AT, count=5),
        Entry(20, AUDIT, AT, b"{}"),
    )
    return msgspec.structs.replace(
        Envelope(site="hq", collector="c1", epoch="0123456789abcdef", sent_at=AT, entries=entries), **other
    )


def receipt(**other: Any) -> Receipt:
    marks = {"0123456789abcdef": Marks(12, ((14, 20),)), "f" * 16: Marks(3)}
    return msgspec.structs.replace(Receipt(site="hq", hub="h1", number=4, at=AT, marks=marks), **other)


def code_of(work: Callable[[], object]) -> str:
    with pytest.raises(EnvelopeError) as caught:
        work()
    return caught.value.code


def test_what_was_sealed_is_read() -> None:
    data = seal(envelope(), KEY.sign)
    assert unseal(data, key_of, site="hq") == envelope()
    assert len(data) < 400  # compressed


def test_what_was_told_is_read() -> None:
    found = open_receipt(seal_receipt(receipt(), KEY.sign), verify, site="hq")
    assert msgspec.structs.replace(found, signature=b"") == receipt()


def test_every_byte_counts() -> None:
    data = seal(envelope(), KEY.sign)
    told = seal_receipt(receipt(), KEY.sign)
    for place in range(len(data)):
        changed = bytearray(data)
        changed[place] ^= 1
        assert code_of(lambda: unseal(bytes(changed), key_of)).startswith("envelope.")  # noqa: B023
    for place in range(len(told)):
        changed = bytearray(told)
        changed[place] ^= 0x10
        assert code_of(lambda: open_receipt(bytes(changed), verify, site="hq")).startswith("envelope.")  # noqa: B023


@given(st.binary(max_size=300))
def test_rubbish_is_refused(data: bytes) -> None:
    for work in (lambda: unseal(data, key_of), lambda: open_receipt(data, lambda _d, _s: True, site="hq")):
        assert code_of(work).startswith("envelope.")


@given(st.data())
def test_what_is_cut_off_is_refused(data: Any) -> None:
    whole = seal(envelope(), KEY.sign)
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    assert code_of(lambda: unseal(cut, key_of)).startswith("envelope.")


def test_another_key_site_and_collector() -> None:
    assert code_of(lambda: unseal(seal(envelope(), OTHER.sign), key_of)) == "envelope.signature"
    assert code_of(lambda: unseal(seal(envelope(), KEY.sign), key_of, site="branch")) == "envelope.site"
    assert code_of(lambda: unseal(seal(envelope(collector="c2"), KEY.sign), key_of)) == "envelope.site"
    assert code_of(lambda: open_receipt(seal_receipt(receipt(), OTHER.sign), verify, site="hq")) == "envelope.signature"
    assert code_of(lambda: open_receipt(seal_receipt(receipt(), KEY.sign), verify, site="b")) == "envelope.site"


def test_an_envelope_is_no_receipt() -> None:
    """Nor the other way round: what is signed says what it is."""
    sealed = sealing._signed(receipt(), ENVELOPE_CONTEXT, KEY.sign)
    assert code_of(lambda: open_receipt(sealed, verify, site="hq")) == "envelope.signature"


@pytest.mark.parametrize("schema", [-1, 3, 99])
def test_versions_that_are_too_far_apart(schema: int) -> None:
    assert code_of(lambda: unseal(_sealed(schema=schema), key_of)) == "envelope.schema"
    told = seal_receipt(receipt(schema=schema), KEY.sign)
    assert code_of(lambda: open_receipt(told, verify, site="hq")) == "envelope.schema"


def _sealed(**other: Any) -> bytes:
    """With fields that `seal` would not make."""
    body = msgspec.msgpack.encode(envelope().entries)
    fields: dict[str, Any] = {
        "schema": 1, "site": "hq", "collector": "c1", "epoch": "0123456789abcdef", "sent_at": AT, "first": 7,
        "last": 20, "size": len(body), "body": zstandard.compress(body),
    }  # fmt: skip
    return sealing._signed(Sealed(**(fields | other)), ENVELOPE_CONTEXT, KEY.sign)


def _entries(*entries: Entry) -> dict[str, Any]:
    body = msgspec.msgpack.encode(entries)
    last = entries[-1].seq + entries[-1].count - 1 if entries else 0
    first = entries[0].seq if entries else 0
    return {"size": len(body), "body": zstandard.compress(body), "first": first, "last": last}


@pytest.mark.parametrize(
    ("other", "code"),
    [
        ({"site": "../hq"}, "envelope.format"),
        ({"collector": "c 1"}, "envelope.format"),
        ({"epoch": "0123456789ABCDEF"}, "envelope.format"),
        ({"epoch": "0"}, "envelope.format"),
        ({"first": 6}, "envelope.format"),
        ({"last": 21}, "envelope.format"),
        ({"size": 10}, "envelope.size"),
        ({"size": -1}, "envelope.size"),
        ({"size": 1 << 40}, "envelope.size"),
        ({"body": b"no zstd"}, "envelope.format"),
        ({"body": b""}, "envelope.format"),
        (_entries(), "envelope.size"),
        (_entries(Entry(8, OBSERVATION, AT), Entry(7, OBSERVATION, AT)), "envelope.format"),
        (_entries(Entry(7, OBSERVATION, AT), Entry(7, OBSERVATION, AT)), "envelope.format"),
        (_entries(Entry(7, DROPPED, AT, count=3), Entry(9, OBSERVATION, AT)), "envelope.format"),
        (_entries(Entry(7, DROPPED, AT, count=0)), "envelope.format"),
        (_entries(Entry(7, DROPPED, AT, count=1 << 41)), "envelope.format"),
        (_entries(Entry(0, OBSERVATION, AT)), "envelope.format"),
        (_entries(Entry(7, OBSERVATION, AT, shard=-1)), "envelope.format"),
        (_entries(Entry(7, OBSERVATION, AT.replace(tzinfo=None))), "envelope.format"),
        (_entries(*(Entry(n, OBSERVATION, AT) for n in range(1, 1026))), "envelope.size"),
    ],
)
def test_what_a_hostile_collector_may_sign(other: dict[str, Any], code: str) -> None:
    assert code_of(lambda: unseal(_sealed(**other), key_of)) == code


def test_a_bomb_is_not_unpacked() -> None:
    bomb = zstandard.compress(bytes(1 << 30))
    assert len(bomb) < MOST_SEALED
    assert code_of(lambda: unseal(_sealed(body=bomb, size=1 << 30), key_of)) == "envelope.size"
    assert code_of(lambda: unseal(_sealed(body=bomb, size=1000), key_of)) == "envelope.size"
    press = zstandard.ZstdCompressor(write_content_size=False).compressobj()
    silent = press.compress(bytes(1 << 26)) + press.flush()  # it does not say how much it will be
    assert code_of(lambda: unseal(_sealed(body=silent, size=1000), key_of)) in {"envelope.size", "envelope.format"}


def test_what_is_too_large() -> None:
    assert code_of(lambda: unseal(bytes(MOST_SEALED + 1), key_of)) == "envelope.size"
    noise = random.Random(1).randbytes(MOST_SEALED)
    assert code_of(lambda: seal(envelope(entries=(Entry(1, OBSERVATION, AT, noise),)), KEY.sign)) == "envelope.size"


@pytest.mark.parametrize(
    "marks", [Marks(5, ((6, 7),)), Marks(5, ((9, 8),)), Marks(-1), Marks(1 << 41), Marks(1, ((9, 9), (3, 4)))]
)
def test_marks_that_are_none(marks: Marks) -> None:
    told = seal_receipt(receipt(marks={"0" * 16: marks}), KEY.sign)
    assert code_of(lambda: open_receipt(told, verify, site="hq")) == "envelope.format"


# Other versions. The files were made once: `python tests/sites_forward/record_envelopes.py`.


def test_recorded_envelopes_are_read() -> None:
    assert unseal((RECORDED / "envelope-1.bin").read_bytes(), key_of, site="hq") == envelope()
    older = unseal((RECORDED / "envelope-0.bin").read_bytes(), key_of, site="hq")
    assert older.schema == 0
    assert [(one.seq, one.kind, one.shard, one.count) for one in older.entries] == [(7, OBSERVATION, 0, 1)]
    newer = unseal((RECORDED / "envelope-2.bin").read_bytes(), key_of, site="hq")
    assert newer.schema == 2
    assert [(one.seq, one.kind) for one in newer.entries] == [(7, OBSERVATION), (8, "heartbeat"), (9, OBSERVATION)]


def test_recorded_receipts_are_read() -> None:
    now = open_receipt((RECORDED / "receipt-1.bin").read_bytes(), verify, site="hq")
    assert msgspec.structs.replace(now, signature=b"") == receipt()
    older = open_receipt((RECORDED / "receipt-0.bin").read_bytes(), verify, site="hq")
    assert (older.marks, older.wanted) == ({"0123456789abcdef": Marks(12)}, {})
    newer = open_receipt((RECORDED / "receipt-2.bin").read_bytes(), verify, site="hq")
    assert newer.marks == receipt().marks


def test_recorded_of_a_version_too_new() -> None:
    assert code_of(lambda: unseal((RECORDED / "envelope-3.bin").read_bytes(), key_of)) == "envelope.schema"


def test_what_is_made_today_is_what_was_recorded() -> None:
    """Whoever changes the format makes a new version of it."""
    assert seal_receipt(receipt(), KEY.sign) == (RECORDED / "receipt-1.bin").read_bytes()
    fields = [
        msgspec.msgpack.decode(data)
        for data in (seal(envelope(), KEY.sign), (RECORDED / "envelope-1.bin").read_bytes())
    ]
    assert list(fields[0]) == list(fields[1])
