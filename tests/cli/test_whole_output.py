"""What is printed arrives whole, also unbuffered, into a full pipe, and while signals interrupt the writing."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

LINES, LONG = 60, 100_000
PROGRAM = f"""
import signal, sys
from rmm.cli.main import _whole
signal.signal(signal.SIGALRM, lambda *_: None)
signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
sys.stdout = _whole(sys.stdout)
for _ in range({LINES}):
    print("x" * {LONG}, flush=True)
signal.setitimer(signal.ITIMER_REAL, 0)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="SIGALRM")
def test_unbuffered_output_is_whole() -> None:
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    got = bytearray()
    with subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        while data := os.read(process.stdout.fileno(), 1 << 16):
            got += data
            time.sleep(0.001)
    assert process.returncode == 0
    assert bytes(got) == (b"x" * LONG + b"\n") * LINES
