"""Standard error of the command shell, which error records are read out of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rmm.transports.winrm.command import error_records

CLEAN = True
_RECORD = (
    b'#< CLIXML\r\n<Objs Version="1.1.0.1" xmlns="http://schemas.microsoft.com/powershell/2004/04">'
    b'<S S="Error">Get-Item : kein Pfad_x000D__x000A_</S>'
    b'<S S="Error">At line:1 char:1_x000D__x000A_+ Get-Item x_x000D__x000A_    + CategoryInfo          : '
    b"ObjectNotFound: (x:String) [Get-Item], Exception_x000D__x000A_    + FullyQualifiedErrorId : PathNotFound,"
    b"Microsoft.X_x000D__x000A_</S></Objs>"
)


def seeds() -> Iterator[bytes]:
    yield _RECORD
    yield b"plain text\r\n    + FullyQualifiedErrorId : X\r\n"
    yield _RECORD.replace(b"_x000D_", b"_xD800_")


def run(data: bytes) -> Any:
    return list(error_records(data))
