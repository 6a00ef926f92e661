"""A recording of what an endpoint said: its types and its file format, which docs/recordings.md describes.

One JSON object per line: a `Header`, then `Exchange`s in the order in which they happened.
"""

from __future__ import annotations

import msgspec

from rmm.errors import ConfigError

FORMAT, VERSION = "rmm-recording", 1
MOST_BYTES = 256 << 20

IDENTIFY, OFFER, WSMAN = "identify", "offer", "wsman"


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """The first line. `name` and `dns` are what the machine calls itself, as they are in this file."""

    format: str = FORMAT
    version: int = VERSION
    made: str = ""  # ISO 8601, UTC
    rmm: str = ""
    name: str
    dns: str = ""
    domain: str = ""
    os_version: str = ""  # such as 10.0.20348
    replaced: tuple[str, ...] = ()  # what was replaced: account, or account and names
    truncated: bool = False  # the recording reached its limit of size


class Message(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A PSRP message ([MS-PSRP] 2.2.1) without its ids, or the text of a stream of the command shell (`type` 0)."""

    type: int = 0
    data: str = ""
    stream: str = ""  # stdin, stdout, stderr: command shell alone


class Exchange(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A request and its answer, in plain. Payloads are cut out of the envelopes and stand decoded beside them."""

    kind: str  # identify | offer (what a request without a token is answered) | wsman
    action: str = ""
    resource: str = ""
    shell: int = 0  # 1, 2 ...: which shell of this recording
    command: int = 0  # which pipeline or command of the shell
    request: str = ""  # envelope
    sent: tuple[Message, ...] = ()  # messages that this request completed
    status: int = 0  # HTTP
    headers: dict[str, str] = {}
    answer: str = ""  # envelope
    received: tuple[Message, ...] = ()  # messages that this answer completed
    ms: float = 0.0


class Recording(msgspec.Struct, frozen=True):
    """The whole file."""

    header: Header
    exchanges: tuple[Exchange, ...]


_encoder = msgspec.json.Encoder()
_header = msgspec.json.Decoder(Header)
_exchange = msgspec.json.Decoder(Exchange)
_HINT = "Make it anew with `rmm doctor ENDPOINT --record FILE`; docs/recordings.md describes the format."


def encode_recording(recording: Recording) -> bytes:
    """The file's content."""
    lines = [_encoder.encode(recording.header), *(_encoder.encode(one) for one in recording.exchanges)]
    return b"\n".join(lines) + b"\n"


def decode_recording(data: bytes, place: str) -> Recording:
    """The inverse; `place` is the file's name. Raises ConfigError that names file and line."""
    if len(data) > MOST_BYTES:
        raise ConfigError(f"{place}: larger than any recording ({len(data)} bytes)", hint=_HINT)
    lines = data.split(b"\n")
    try:
        header = _header.decode(lines[0])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{place}:1: not the header of a recording: {error}", hint=_HINT) from error
    if header.format != FORMAT or header.version != VERSION:
        raise ConfigError(
            f"{place}:1: format {header.format[:40]} {header.version}, and this rmm reads {FORMAT} {VERSION}",
            hint=_HINT,
        )
    if lines[-1]:
        raise ConfigError(f"{place}:{len(lines)}: the last line has no end: the file was cut off", hint=_HINT)
    exchanges = []
    for number, line in enumerate(lines[1:-1], start=2):
        try:
            exchanges.append(_exchange.decode(line))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{place}:{number}: not an exchange: {error}", hint=_HINT) from error
    return Recording(header, tuple(exchanges))
