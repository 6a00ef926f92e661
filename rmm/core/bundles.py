"""Bundles of configuration, sealed and opened again as if an enemy had made them. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping

import msgspec
import zstandard

from rmm.core.filenames import clashes, unfit_name
from rmm.errors import EnvelopeError
from rmm.model.bundle import BUNDLE_CONTEXT, HIGHEST, MOST_BYTES, MOST_FILES, SCHEMA, Bundle, Sealed, Signed

Sign = Callable[[bytes], bytes]
Verify = Callable[[bytes, bytes], bool]  # (data, signature)

LEVEL = 9
_WINDOW = 16 << 20  # bytes that unpacking may take for itself, whatever the frame asks for
_HINT = "The bundle was not taken; what was used before goes on."


class _Head(msgspec.Struct, frozen=True):
    """What tells whether the rest can be understood."""

    schema: int


def encode_files(files: Mapping[str, bytes]) -> bytes:
    """The body of a bundle: equal for equal files."""
    return msgspec.msgpack.encode({name: bytes(files[name]) for name in sorted(files)})


def digest_of(body: bytes) -> bytes:
    """Of a body before it is compressed."""
    return hashlib.sha256(body).digest()


def seal_bundle(bundle: Bundle, sign: Sign) -> bytes:
    """The bytes that travel. Raises EnvelopeError where nobody would take them."""
    _check_files(bundle.files)
    body = encode_files(bundle.files)
    signed = msgspec.msgpack.encode(
        Signed(
            schema=bundle.schema, site=bundle.site, version=bundle.version, made_at=bundle.made_at,
            program=bundle.program, size=len(body), body=zstandard.ZstdCompressor(level=LEVEL).compress(body),
        )
    )  # fmt: skip
    sealed = msgspec.msgpack.encode(Sealed(signed, sign(BUNDLE_CONTEXT + signed)))
    if len(sealed) > MOST_BYTES:
        raise _wrong("envelope.size", f"it has {len(sealed)} bytes, and {MOST_BYTES} are allowed")
    return sealed


def open_bundle(data: bytes, site: str, verify: Verify) -> Bundle:
    """What was sealed for a site.

    Raises EnvelopeError: envelope.size, .format, .signature, .schema, .site. The signature is looked at before anything
    of what it is over is understood.
    """
    if len(data) > MOST_BYTES:
        raise _wrong("envelope.size", f"it has {len(data)} bytes, and {MOST_BYTES} are allowed")
    try:
        sealed = msgspec.msgpack.decode(data, type=Sealed)
        if not verify(BUNDLE_CONTEXT + sealed.signed, sealed.signature):
            hint = f"{_HINT} Is it the hub's that this site was enrolled at? `rmm site enroll` makes it known anew."
            raise _wrong("envelope.signature", "the hub has not signed it", hint)
        head = msgspec.msgpack.decode(sealed.signed, type=_Head)
        if not SCHEMA - 1 <= head.schema <= SCHEMA + 1:
            older = "site" if head.schema > SCHEMA else "hub"
            hint = f"{_HINT} Update rmm at the {older}: hub and site may be one version apart."
            raise _wrong("envelope.schema", f"it has schema {head.schema}, and {SCHEMA} is known here", hint)
        signed = msgspec.msgpack.decode(sealed.signed, type=Signed)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise _wrong("envelope.format", f"it is not what a bundle should be: {error}") from error
    if signed.site != site:
        raise _wrong("envelope.site", f"it is for the site {signed.site!r}, and this is {site!r}")
    if not 1 <= signed.version <= HIGHEST:
        raise _wrong("envelope.format", f"there is no version {signed.version}")
    body = _unpacked(signed)
    try:
        files = msgspec.msgpack.decode(body, type=dict[str, bytes])
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise _wrong("envelope.format", f"its files are not what they should be: {error}") from error
    _check_files(files)
    return Bundle(
        site=site, version=signed.version, digest=digest_of(body), made_at=signed.made_at, program=signed.program,
        files=files, schema=signed.schema,
    )  # fmt: skip


def _unpacked(signed: Signed) -> bytes:
    """The body. What is declared is not believed: not more than that is ever unpacked."""
    if not 0 < signed.size <= MOST_BYTES:
        raise _wrong("envelope.size", f"its files have {signed.size} bytes, and {MOST_BYTES} are allowed")
    try:
        reader = zstandard.ZstdDecompressor(max_window_size=_WINDOW).stream_reader(signed.body)
        body = reader.read(signed.size + 1)
    except zstandard.ZstdError as error:
        raise _wrong("envelope.format", f"it cannot be unpacked: {error}") from error
    if len(body) != signed.size:
        raise _wrong("envelope.size", f"it says that its files have {signed.size} bytes, and they have not")
    return body


def _check_files(files: Mapping[str, bytes]) -> None:
    if len(files) > MOST_FILES:
        raise _wrong("envelope.size", f"it has {len(files)} files, and {MOST_FILES} are allowed")
    if sum(map(len, files.values())) > MOST_BYTES:
        raise _wrong("envelope.size", f"its files have more than {MOST_BYTES} bytes")
    for name in files:
        if why := unfit_name(name):
            raise _wrong("envelope.format", f"the name {name[:200]!r} of a file is not allowed: {why}")
    for name in clashes(files):
        raise _wrong("envelope.format", f"two of its files cannot both be there: {name!r}")


def _wrong(code: str, text: str, hint: str = _HINT) -> EnvelopeError:
    return EnvelopeError(f"the bundle is refused: {text}", code=code, hint=hint)
