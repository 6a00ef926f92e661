"""What real Windows machines and Microsoft's PSRP server said: the right inputs from which the wrong ones are made."""

from __future__ import annotations

import base64
import lzma
import re
import tarfile
from functools import cache
from pathlib import Path

import yaml

from rmm.errors import ProtocolError
from rmm.transports.winrm import psrp
from rmm.transports.winrm.envelope import RSP, Answer

DATA = Path(__file__).parent.parent / "data"
MOST = 65_536  # larger answers repeat what smaller ones have, and mutate slowly


def _members(name: str) -> list[bytes]:
    with lzma.open(DATA / name) as packed, tarfile.open(fileobj=packed) as archive:
        return [file.read() for member in archive if (file := archive.extractfile(member)) is not None]


@cache
def envelopes() -> tuple[bytes, ...]:
    """Answers of Windows, as they were inside the encryption."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    exchanges = [yaml.load(text, Loader=loader)["messages"] for text in _members("windows-recordings.tar.xz")]
    answers = [message["response"].encode() for one in exchanges for message in one if message.get("response")]
    return tuple(sorted({answer for answer in answers if len(answer) <= MOST}))


@cache
def streams() -> tuple[bytes, ...]:
    """Fragments: what a `Stream` element or a `Data` line held."""
    found: list[bytes] = []
    for envelope in envelopes():
        for stream in Answer(envelope).root.iter(f"{{{RSP}}}Stream"):
            found.append(base64.b64decode(stream.text or ""))
    for text in _members("powershell-recordings.tar.xz"):
        found += [base64.b64decode(one) for one in re.findall(rb"(?m)^< <Data[^>]*>([A-Za-z0-9+/=]+)</Data>", text)]
    return tuple(sorted({data for data in found if data and len(data) <= MOST}))


@cache
def messages() -> tuple[psrp.Message, ...]:
    """PSRP messages, those of which one stream holds all."""
    found = []
    for data in streams():
        try:
            found += psrp.Defragmenter().feed(data)
        except ProtocolError:
            continue  # a fragment of a message that spans several
    return tuple(found)
