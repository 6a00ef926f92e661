"""Envelopes and receipts as they travel: encoded, compressed, signed; read as if an enemy had sent them. Pure.

A signed message is a MessagePack map of at most 15 fields (a fixmap of one byte, MessagePack specification, "Map format
family") whose last field is `signature`, 64 bytes of Ed25519 (RFC 8032). It is over a context and the map without that
field, as the bytes came: so fields that only a newer version knows are signed as well, and nothing has to be encoded
twice in the same way. Who holds the keys is the caller's business.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from itertools import pairwise
from typing import TypeVar

import msgspec
import zstandard

from rmm.errors import EnvelopeError
from rmm.model.envelope import ENVELOPE_CONTEXT, RECEIPT_CONTEXT, SCHEMA, Entry, Envelope, Marks, Receipt, Sealed

Sign = Callable[[bytes], bytes]
Verify = Callable[[bytes, bytes], bool]  # data, signature
KeyOf = Callable[[str, str], Verify | None]  # site, collector; None: unknown or revoked

MOST_SEALED = 512 << 10  # bytes of an envelope or receipt as it travels
MOST_BODY = 24 << 20  # bytes of its entries once they are decompressed
MOST_ENTRIES = 1024
MOST_EPOCHS = 4096  # in a receipt
LAST = 1 << 40  # a number of an entry is below it
SKEW = 1  # versions that a party may be older or newer
LEVEL = 3

_SITE = re.compile(r"[A-Za-z0-9_-]{1,64}")
_COLLECTOR = re.compile(r"[A-Za-z0-9_-]{1,64}")
_EPOCH = re.compile(r"[0-9a-f]{16}")
_TAIL = b"\xa9signature\xc4\x40"  # the key, and bin 8 of 64 bytes
_SIGNATURE = 64
_FIXMAP, _MOST_FIELDS = 0x80, 15

T = TypeVar("T")


class _Version(msgspec.Struct):
    schema: int


_encode = msgspec.msgpack.Encoder().encode
_version = msgspec.msgpack.Decoder(_Version).decode
_sealed = msgspec.msgpack.Decoder(Sealed).decode
_receipt = msgspec.msgpack.Decoder(Receipt).decode
_entries = msgspec.msgpack.Decoder(tuple[Entry, ...]).decode


def pressed(data: bytes) -> bytes:
    """Compressed."""
    return zstandard.ZstdCompressor(level=LEVEL).compress(data)  # which is not to be shared between threads


def unpressed(data: bytes, size: int, most: int = MOST_BODY) -> bytes:
    """What was compressed, of which `size` bytes are promised. EnvelopeError where something else comes."""
    try:
        declared = zstandard.frame_content_size(data)
        if not 0 <= size <= most or declared not in (-1, size):
            raise EnvelopeError(f"{size} bytes are promised, {declared} declared, {most} allowed", code="envelope.size")
        found = zstandard.ZstdDecompressor().decompress(data, max_output_size=max(size, 1), allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise EnvelopeError(f"cannot be decompressed: {error}") from error
    if len(found) != size:
        raise EnvelopeError(f"{size} bytes are promised, {len(found)} came", code="envelope.size")
    return found


def seal(envelope: Envelope, sign: Sign) -> bytes:
    """An envelope ready to be published. Raises EnvelopeError where it is larger than a hub would take."""
    _check(envelope)
    body = _encode(envelope.entries)
    if len(body) > MOST_BODY:
        raise EnvelopeError(f"entries of {len(body)} bytes in one envelope", code="envelope.size")
    data = _signed(
        Sealed(
            schema=envelope.schema,
            site=envelope.site,
            collector=envelope.collector,
            epoch=envelope.epoch,
            sent_at=envelope.sent_at,
            first=envelope.entries[0].seq,
            last=_end(envelope.entries[-1]),
            size=len(body),
            body=pressed(body),
        ),
        ENVELOPE_CONTEXT,
        sign,
    )
    if len(data) > MOST_SEALED:
        raise EnvelopeError(f"an envelope of {len(data)} bytes", code="envelope.size")
    return data


def unseal(data: bytes, key_of: KeyOf, *, site: str = "", most: int = MOST_BODY) -> Envelope:
    """The envelope that was sealed.

    `site`: whose it has to be, as the subject says; `most`: bytes of its entries. Entries of a kind that this version
    does not know are in it as they are: their numbers count. Nothing is decompressed before the signature holds.

    Raises:
        EnvelopeError: envelope.size, envelope.format, envelope.schema (more than one version apart), envelope.site
            (another's, or a collector that is unknown or revoked), envelope.signature.
    """
    signed, signature = _split(data)
    sealed = _decoded(_sealed, data)
    if not (_SITE.fullmatch(sealed.site) and _COLLECTOR.fullmatch(sealed.collector)):
        raise EnvelopeError("no names of a site and a collector")
    if site and sealed.site != site:
        raise EnvelopeError(f"site {site} sent an envelope of site {sealed.site}", code="envelope.site")
    verify = key_of(sealed.site, sealed.collector)
    if verify is None:
        raise EnvelopeError(f"collector {sealed.collector} of site {sealed.site} is unknown", code="envelope.site")
    if not verify(ENVELOPE_CONTEXT + signed, signature):
        raise EnvelopeError(f"not signed by collector {sealed.collector}", code="envelope.signature")
    entries = _decoded(_entries, unpressed(sealed.body, sealed.size, most), versioned=False)
    envelope = Envelope(
        site=sealed.site,
        collector=sealed.collector,
        epoch=sealed.epoch,
        sent_at=sealed.sent_at,
        entries=entries,
        schema=sealed.schema,
    )
    _check(envelope)
    if (sealed.first, sealed.last) != (entries[0].seq, _end(entries[-1])):
        raise EnvelopeError(f"entries {sealed.first} to {sealed.last} are promised, and others came")
    return envelope


def seal_receipt(receipt: Receipt, sign: Sign) -> bytes:
    """A receipt ready to be told. Raises EnvelopeError where it is larger than a site would take."""
    data = _signed(receipt, RECEIPT_CONTEXT, sign)
    if len(data) > MOST_SEALED:
        raise EnvelopeError(f"a receipt of {len(data)} bytes", code="envelope.size")
    return data


def open_receipt(data: bytes, verify: Verify, *, site: str) -> Receipt:
    """The receipt for `site`. Raises EnvelopeError as `unseal` does."""
    signed, signature = _split(data)
    if not verify(RECEIPT_CONTEXT + signed, signature):
        raise EnvelopeError("a receipt that is not signed by the hub", code="envelope.signature")
    receipt = _decoded(_receipt, data)
    if receipt.site != site:
        raise EnvelopeError(f"a receipt of site {receipt.site}", code="envelope.site")
    _aware(receipt.at)
    if len(receipt.marks) > MOST_EPOCHS:
        raise EnvelopeError(f"marks of {len(receipt.marks)} epochs", code="envelope.size")
    for epoch, marks in receipt.marks.items():
        if not _EPOCH.fullmatch(epoch) or not _are_marks(marks):
            raise EnvelopeError("marks that are none")
    return receipt


def _signed(message: Sealed | Receipt, context: bytes, sign: Sign) -> bytes:
    encoded = _encode(msgspec.structs.replace(message, signature=b""))  # left out, as it is the default
    if not _FIXMAP <= encoded[0] < _FIXMAP + _MOST_FIELDS:
        raise EnvelopeError("a message of too many fields")
    signature = sign(context + encoded)
    if len(signature) != _SIGNATURE:
        raise EnvelopeError(f"a signature of {len(signature)} bytes", code="envelope.signature")
    return bytes((encoded[0] + 1,)) + encoded[1:] + _TAIL + signature


def _split(data: bytes) -> tuple[bytes, bytes]:
    """What is signed, and the signature."""
    if len(data) > MOST_SEALED:
        raise EnvelopeError(f"{len(data)} bytes, more than {MOST_SEALED}", code="envelope.size")
    end = len(data) - _SIGNATURE - len(_TAIL)
    if end < 1 or data[end:-_SIGNATURE] != _TAIL or not _FIXMAP < data[0] <= _FIXMAP + _MOST_FIELDS:
        raise EnvelopeError("no signed message")
    return bytes((data[0] - 1,)) + data[1:end], data[-_SIGNATURE:]


def _decoded(decode: Callable[[bytes], T], data: bytes, *, versioned: bool = True) -> T:
    try:
        if versioned:
            schema = _version(data).schema
            if not SCHEMA - SKEW <= schema <= SCHEMA + SKEW:
                raise EnvelopeError(f"schema {schema}, this rmm has {SCHEMA}", code="envelope.schema")
        return decode(data)
    except (msgspec.DecodeError, ValueError, OverflowError, RecursionError) as error:  # of a year 10000, say
        raise EnvelopeError(f"cannot be read: {error}") from error


def _check(envelope: Envelope) -> None:
    entries = envelope.entries
    if not 1 <= len(entries) <= MOST_ENTRIES:
        raise EnvelopeError(f"{len(entries)} entries in one envelope", code="envelope.size")
    if not _SITE.fullmatch(envelope.site) or not _COLLECTOR.fullmatch(envelope.collector):
        raise EnvelopeError("no names of a site and a collector")
    if not _EPOCH.fullmatch(envelope.epoch):
        raise EnvelopeError("no epoch")
    _aware(envelope.sent_at)
    for one in entries:
        _aware(one.at)
        if not 1 <= one.count < LAST or not 1 <= one.seq <= _end(one) < LAST or one.shard < 0 or one.fence < 0:
            raise EnvelopeError(f"entry {one.seq} has numbers that are none")
    if any(after.seq <= _end(before) for before, after in pairwise(entries)):
        raise EnvelopeError("entries are not in the order of their numbers")


def _end(entry: Entry) -> int:
    """The last number that it stands for."""
    return entry.seq + entry.count - 1


def _aware(at: datetime) -> None:
    if at.tzinfo is None:
        raise EnvelopeError("a time without its offset from UTC")


def _are_marks(marks: Marks) -> bool:
    end = marks.high
    for first, last in marks.above:
        if not end + 1 < first <= last:
            return False
        end = last
    return marks.high >= 0 and end < LAST
