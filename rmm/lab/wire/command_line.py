"""What a command line of WinRS asks for."""

from __future__ import annotations

import base64
import binascii
import itertools

from rmm.lab.wire.soap import RSP, Call


def line_of(call: Call) -> str:
    """The command line of a Command."""
    words = [(call.body.findtext(f"{{{RSP}}}Command") or "").strip()]
    words += [(element.text or "").strip() for element in call.body.iter(f"{{{RSP}}}Arguments")]
    return " ".join(word for word in words if word).strip().strip('"')


def encoded_script(line: str) -> str | None:
    """The script of a `powershell ... -EncodedCommand X` line; None for any other line."""
    words = line.split()
    if not words or words[0].lower().removesuffix(".exe") != "powershell":
        return None
    for option, value in itertools.pairwise(words):
        if len(option) > 1 and "-encodedcommand".startswith(option.lower()):
            try:
                return base64.b64decode(value).decode("utf-16-le")
            except (binascii.Error, UnicodeDecodeError):
                return None
    return None
