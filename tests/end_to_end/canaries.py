"""Secrets that can be found again: the forms that a secret takes on its way, and what the processes of a run show."""

from __future__ import annotations

import base64
import json
import threading
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr


def forms(name: str, secret: str) -> dict[str, bytes]:
    """Every form of `secret` that could lie in a log, a file or a request; the label says which."""
    plain = {
        "plain": secret.encode(),
        "utf-16-le": secret.encode("utf-16-le"),
        "utf-16-be": secret.encode("utf-16-be"),
        "nt hash": nt_hash(secret),
    }
    found = dict(plain)
    for label, data in plain.items():
        found[f"{label}, hex"] = data.hex().encode()
        found[f"{label}, HEX"] = data.hex().upper().encode()
        for shift in range(3):  # inside a longer text, such as user:password, base64 begins at another bit
            text = base64.b64encode(b"\0" * shift + data + b"\0" * 3)
            # The first and the last characters also depend on the neighbours.
            found[f"{label}, base64 {shift}"] = text[4 : len(text) - 8]
    found["json"] = json.dumps(secret)[1:-1].encode()
    found["json, unicode"] = json.dumps(secret, ensure_ascii=False)[1:-1].encode()
    found["url"] = urllib.parse.quote(secret, safe="").encode()
    found["form"] = urllib.parse.quote_plus(secret).encode()
    found["repr"] = repr(secret)[1:-1].encode()
    found["ascii"] = ascii(secret)[1:-1].encode()
    found["xml"] = escape(secret).encode()
    found["xml attribute"] = quoteattr(secret)[1:-1].encode()
    found["latin-1"] = secret.encode("latin-1", "ignore")
    found["middle"] = secret[2:8].encode()  # a part of it is too much as well
    return {f"{name}: {label}": data for label, data in found.items()}


def nt_hash(secret: str) -> bytes:
    from spnego._ntlm_raw.crypto import ntowfv1

    return bytes(ntowfv1(secret))


def hits(canaries: dict[str, bytes], data: bytes) -> list[str]:
    """The labels of the forms that are in `data`."""
    return [label for label, form in canaries.items() if form in data]


def files(*folders: Path) -> Iterator[Path]:
    for folder in folders:
        yield from (path for path in folder.rglob("*") if path.is_file())


class Watch:
    """Collects the arguments and environments of a process and all that come from it, while it runs (Linux)."""

    def __init__(self, pid: int) -> None:
        self.seen: set[bytes] = set()
        self.processes: set[int] = set()
        self.limits: dict[int, str] = {}
        self._pid = pid
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(0.02):
            for pid in self._family():
                self._look(pid)

    def _family(self) -> list[int]:
        parents: dict[int, int] = {}
        for place in Path("/proc").iterdir():
            if place.name.isdigit():
                try:
                    stat = (place / "stat").read_text(errors="replace")
                except OSError:
                    continue
                parents[int(place.name)] = int(stat.rpartition(")")[2].split()[1])
        found = [self._pid]
        for pid in found:
            found += [child for child, parent in parents.items() if parent == pid]
        return found

    def _look(self, pid: int) -> None:
        place = Path(f"/proc/{pid}")
        try:
            self.seen |= {(place / "cmdline").read_bytes()}
            environment = (place / "environ").read_bytes()
            limits = (place / "limits").read_text()
        except OSError:
            return
        # The first process is started with the passphrase in its environment, and wipes it when it has read it.
        if pid != self._pid:
            self.seen.add(environment)
        self.processes.add(pid)
        self.limits[pid] = next(line for line in limits.splitlines() if line.startswith("Max core file size"))
        self.last_environment = environment if pid == self._pid else getattr(self, "last_environment", b"")
