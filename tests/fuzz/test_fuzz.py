"""20,000 hostile inputs; the kept ones of earlier runs; and that the fuzzer finds a decoder that is broken."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.fuzz import engine

ROOT = Path(__file__).parents[2]


def fuzzer(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.fuzz", *arguments], capture_output=True, text=True, check=False, cwd=ROOT
    )


@pytest.mark.slow
def test_twenty_thousand_inputs(tmp_path: Path) -> None:
    # The same ones each time, so that a change is judged by what it changed; `make fuzz` tries others.
    done = fuzzer("--inputs", "20000", "--seed", "1", "--keep", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    last = re.search(r"^(\d+) inputs, 0 findings, seed \d+$", done.stdout, re.MULTILINE)
    assert last is not None
    assert int(last[1]) >= 20_000


def test_kept_inputs_stay_right() -> None:
    assert list(engine.REGRESSIONS.glob("*/*.bin"))
    done = fuzzer("--replay")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_seed_gives_the_same_inputs_again() -> None:
    def inputs(seed: int) -> list[bytes]:
        seen: list[bytes] = []
        engine.fuzz("soap", 300, seed, Path("unused"), seen.append)
        return seen

    assert inputs(5) == inputs(5)
    assert inputs(5) != inputs(6)


@pytest.mark.parametrize(
    ("run", "wrong"),
    [
        (lambda data: {"a": ["fine"]}, ""),
        (lambda data: "\ud800", "not Unicode"),
        (lambda data: {"a": [("\0",)]}, "harmful"),
        (lambda data: [][1], "IndexError"),
        (lambda data: sum(n for n in range(10**12)), "of CPU"),
    ],
)
@pytest.mark.skipif(sys.platform == "win32", reason="neither SIGPROF nor getrusage there")
def test_what_counts_as_wrong(run: Callable[[bytes], Any], wrong: str) -> None:
    seen = engine.judge(SimpleNamespace(run=run, CLEAN=True), b"x")[1]
    assert wrong in seen
    assert bool(seen) == bool(wrong)


HUNGRY = """
from types import SimpleNamespace
from tests.fuzz import engine
print(engine.judge(SimpleNamespace(run=lambda data: len(bytearray(b"x" * (200 << 20))), CLEAN=True), b"x")[1])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no getrusage there")
def test_memory_counts_as_wrong() -> None:
    """In a process of its own, started by a small one: a high-water mark that is high already shows no growth."""
    command = ["sh", "-c", '"$1" -c "$2"; true', "sh", sys.executable, HUNGRY]
    seen = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT, timeout=60)
    assert "MB more memory" in seen.stdout, seen.stderr


def test_an_error_of_ours_must_be_presentable() -> None:
    from rmm.errors import ProtocolError

    def refuse(code: str) -> Callable[[bytes], Any]:
        def run(data: bytes) -> Any:
            raise ProtocolError("text", code=code)

        return run

    assert engine.judge(SimpleNamespace(run=refuse("http.garbage")), b"")[1] == ""
    assert "code" in engine.judge(SimpleNamespace(run=refuse("wsman.\u202eevil code")), b"")[1]


def _raw_status(line: bytes) -> int:
    return int(line.split(b" ")[1])


def _raw_names(challenge: bytes) -> dict[str, str]:
    return {"netbios": challenge[56:80].decode("utf-16-le", "replace")}


def _raw_number(text: str | None) -> int:
    return int(text or "0", 0)


def _raw_told(notes: Any) -> dict[str, str]:
    rows = [note for note in notes or () if type(note) is dict]
    return {note["Source"]: note["Reason"] for note in rows if note.get("Reason") in {"unsupported"}}


def _raw_pin(certificate: bytes) -> str:
    from cryptography import x509

    return str(x509.load_der_x509_certificate(certificate).public_key())


def _raw_decode(data: bytes) -> Any:
    return json.loads(data)


class _Json:
    @staticmethod
    def decode(text: str | bytes) -> Any:
        return json.loads(text)


_CARELESS_HMAC = SimpleNamespace(digest=lambda *_: bytes(16), compare_digest=lambda *_: True)

# target -> what is broken in it: a place, and what a careless author would have written there
BROKEN: dict[str, tuple[str, str, Any]] = {
    "http": ("rmm.transports.winrm.http", "_status", _raw_status),
    "sealed": ("rmm.transports.winrm.seal", "hmac", _CARELESS_HMAC),
    "logon": ("tests.fuzz.targets.logon", "target_names", _raw_names),
    "soap": ("rmm.transports.winrm.envelope", "_number", _raw_number),
    "fragments": ("rmm.transports.winrm.psrp", "FRAGMENT_HEADER", 0),
    "pipeline": ("rmm.transports.winrm.clixml", "MOST_VALUES", 10**12),
    "part": ("rmm.core.parts", "_decoder", _Json),
    "normalize": ("rmm.core.normalize", "_told", _raw_told),
    "certificate": ("tests.fuzz.targets.certificate", "pin_of", _raw_pin),
    "stderr": ("rmm.transports.winrm.command", "shown", lambda text, most: str(text)[:most]),
    "stored": ("tests.fuzz.targets.stored", "decode_observation", _raw_decode),
}  # fmt: skip


@pytest.mark.parametrize("name", engine.names())
def test_a_broken_decoder_is_found(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    module, place, careless = BROKEN[name]
    importlib.import_module(f"tests.fuzz.targets.{name}")
    monkeypatch.setattr(importlib.import_module(module), place, careless)
    began = time.process_time()
    findings = engine.fuzz(name, 1500, 1, tmp_path, lambda data: None)["findings"]
    assert [one for one in findings if one["file"]], f"nothing found in {time.process_time() - began:.0f} s"
    kept = Path(findings[0]["file"])
    assert engine.replay(kept.parents[1])
    monkeypatch.undo()
    assert not engine.replay(kept.parents[1]), "the input is wrong with the right decoder as well"
