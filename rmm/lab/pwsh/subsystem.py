"""`python -m rmm.lab.pwsh.subsystem PWSH STATE`: PowerShell as an SSH subsystem that is a simulated Windows machine.

For a line `Subsystem powershell ...` of sshd_config. STATE is a machine's state (README.md in rmm/lab/windows). The
session is prepared while it opens; from then on bytes pass through as they are.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import shutil
import sys
import tempfile
from pathlib import Path

from rmm.core.outofprocess import LINE_LIMIT, SESSION
from rmm.lab.engine_pwsh import MODULES, environment
from rmm.lab.pwsh.messages import Fragment
from rmm.lab.pwsh.preparation import Machine, open_session
from rmm.lab.pwsh.process import READ, SERVER, LostError, Process, kill, spawn

_FIRST = re.compile(rb"<Data Stream='Default' PSGuid='0{8}-0{4}-0{4}-0{4}-0{12}'>([A-Za-z0-9+/=]+)</Data>\s*\Z")


async def main(program: str, state: str) -> int:
    """Serve one session over standard input and output; the exit code."""
    text = await asyncio.to_thread(Path(state).read_text, "utf-8")
    facts = json.loads(text)
    machine = Machine(str(facts.get("computer", "")), str(facts.get("culture", "")), str(facts.get("zone", "UTC")))
    folder = Path(tempfile.mkdtemp(prefix="rmm-subsystem-"))
    (folder / "machine.json").write_text(text, encoding="utf-8")
    process = Process(await spawn([program, SERVER], environment(MODULES), folder), folder)
    try:
        await _serve(process, machine)
    except (LostError, ValueError) as error:
        print(error, file=sys.stderr)  # noqa: T201 - the end of a program of its own
        return 1
    finally:
        kill(process.child)
        await process.child.wait()
        shutil.rmtree(folder, ignore_errors=True)
    return 0


async def _serve(process: Process, machine: Machine) -> None:
    client = asyncio.StreamReader(limit=LINE_LIMIT)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(client), sys.stdin)
    first = _FIRST.match(await client.readline())
    if first is None:
        raise ValueError("the first line does not open a session")
    _write(f"<DataAck PSGuid='{SESSION}' />\n".encode())
    await open_session(process, base64.b64decode(first[1]), machine, _say)
    _write(process.exchange.incomplete)
    out = asyncio.ensure_future(_pass_back(process))
    back = asyncio.ensure_future(_pass_on(client, process))
    try:
        await asyncio.wait((out, back), return_when=asyncio.FIRST_COMPLETED)
    finally:
        out.cancel()
        back.cancel()


def _say(fragment: Fragment) -> None:
    text = base64.b64encode(fragment.data).decode()
    _write(f"<Data Stream='Default' PSGuid='{SESSION}'>{text}</Data>\n".encode())


async def _pass_on(client: asyncio.StreamReader, process: Process) -> None:
    stdin = process.child.stdin
    assert stdin is not None
    while data := await client.read(READ):
        stdin.write(data)
        await stdin.drain()


async def _pass_back(process: Process) -> None:
    stdout = process.child.stdout
    assert stdout is not None
    while data := await stdout.read(READ):
        _write(data)


def _write(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    sys.exit(asyncio.run(main(*sys.argv[1:3])))
