"""The configuration of a site as it travels from the hub: what is signed, and the questions by which a site fetches it.

All are MessagePack maps: a party that is one version older or newer skips fields that it does not know.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

SCHEMA = 1
BUNDLE_CONTEXT = b"rmm bundle 1\0"
MOST_BYTES = 64 << 20  # of all files together, and of a bundle as it travels
MOST_FILES = 5000
HIGHEST = (1 << 53) - 1  # of versions
CHUNK = 250_000  # bytes of one answer

CURRENT, PART, CHANGED, NONE = "current", "part", "changed", "none"  # the states of an answer


class Bundle(msgspec.Struct, frozen=True, kw_only=True):
    """The files of one site by their names, with slashes.

    Attributes:
        version: grows with every change at the hub; a bundle that is made to go back has a higher one too.
        digest: SHA-256 over the files, by which equal content is known.
        made_at: by the hub's clock; program: the version of rmm that made it.
    """

    site: str
    version: int
    digest: bytes
    made_at: datetime
    program: str
    files: dict[str, bytes]
    schema: int = SCHEMA


class Signed(msgspec.Struct, frozen=True, kw_only=True):
    """What the hub signs. `body`: the map of file name to content as MessagePack, compressed by zstd."""

    schema: int
    site: str
    version: int
    made_at: datetime
    program: str
    size: int  # of the body before it was compressed, in bytes
    body: bytes


class Sealed(msgspec.Struct, frozen=True):
    """A bundle as it travels. The signature is over BUNDLE_CONTEXT and `signed`, as these bytes came."""

    signed: bytes  # a `Signed`
    signature: bytes


class Question(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a site asks in `rmm.ask.<site>.bundle`.

    Attributes:
        version: the highest one that the site ever had, with its digest: what it asks for must be newer.
        wanted: the one of which it has a part, up to `offset`; 0: the newest, from its beginning.
        schema: the newest that it reads.
    """

    version: int = 0
    digest: bytes = b""
    wanted: int = 0
    offset: int = 0
    schema: int = SCHEMA


class Answer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the hub answers.

    Attributes:
        state: current: the site has the newest. part: here are bytes of `version`, from the offset that was asked
            for. changed: the wanted one is no more, begin anew. none: there is none for this site, and `why`.
        total: bytes of the whole bundle.
    """

    state: str
    version: int = 0
    total: int = 0
    data: bytes = b""
    why: str = ""
