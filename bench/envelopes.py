"""What sites of a benchmark send to a hub: envelopes of their rounds, made and sealed first, in files."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bench.rules import OFTEN, results
from bench.shapes import Machine
from rmm.catalog.load import load_catalog
from rmm.core.sealing import seal
from rmm.model.envelope import OBSERVATION, ROUND, Entry, Envelope, RoundEnd
from rmm.model.observation import CollectorResult, Observation, encode_observation
from rmm.resources import shipped

STEP_S = 300
EACH = 8  # observations of an envelope
EPOCH = "0" * 16


def key_of(site: int) -> Ed25519PrivateKey:
    """Of the one collector of a site."""
    return Ed25519PrivateKey.from_private_bytes(site.to_bytes(32, "big"))


def _typical() -> dict[str, CollectorResult]:
    """What a typical server says every five minutes."""
    catalog = load_catalog([shipped("collectors")])
    return results(catalog, [name for name, one in catalog.items() if one.manifest.interval <= OFTEN])


def _observations(site: int, members: range, at: datetime, number: int, whole: bool) -> Iterator[Observation]:
    typical = _typical() if whole else {}
    for place, endpoint in enumerate(members):
        moment = at + timedelta(seconds=place * STEP_S / len(members))
        readings = Machine(endpoint * 1000 + number, int(at.timestamp())).readings(int(moment.timestamp()))
        parts = typical if whole else {
            name: CollectorResult(outcome="ok", readings=tuple(rows)) for name, rows in readings.items()
        }  # fmt: skip
        yield Observation(
            endpoint=f"srv-{endpoint}", name=f"SRV-{endpoint}", site=f"site-{site}", shard=0, fault=None, status="OK",
            observed_at=moment, duration_s=1.0, collectors=parts, epoch="e" * 16, seq=number * len(members) + place + 1,
            telemetry={"requests": 7.0, "bytes_in": 48_000.0, "bytes_out": 23_904.0, "connect_ms": 1.5, "auth_ms": 9.1},
        )  # fmt: skip


def make(folder: str, site: int, members: range, number: int, began: datetime, whole: bool) -> int:
    """The envelopes of a site's round, in a file. Returns the bytes of their observations."""
    at = began + timedelta(seconds=number * STEP_S)
    entries, sizes = [], 0
    first = number * (len(members) + 1) + 1
    for place, one in enumerate(_observations(site, members, at, number, whole)):
        body = encode_observation(one)
        sizes += len(body)
        entries.append(Entry(seq=first + place, kind=OBSERVATION, at=one.observed_at, body=body))
    end = at + timedelta(seconds=STEP_S)
    over = msgspec.json.encode(RoundEnd(began=at, ended=end))
    entries.append(Entry(seq=first + len(members), kind=ROUND, at=end, body=over))
    head: dict[str, Any] = {"site": f"site-{site}", "collector": "c1", "epoch": EPOCH, "sent_at": end}
    sealed = [
        seal(Envelope(entries=tuple(entries[n : n + EACH]), **head), key_of(site).sign)
        for n in range(0, len(entries), EACH)
    ]
    (Path(folder) / f"{number}-{site}").write_bytes(msgspec.msgpack.encode(sealed))
    return sizes


def configured(folder: Path, sites: int, endpoints: int) -> None:
    """A configuration folder with so many sites and endpoints."""
    listed = "".join(f"SRV-{n},site-{n % sites},srv-{n}\n" for n in range(endpoints))
    (folder / "endpoints.csv").write_text("ComputerName,SiteId,Id\n" + listed)
    names = "".join(f"  - {{id: site-{n}, credential: none}}\n" for n in range(sites))
    (folder / "rmm.yaml").write_text(f"data: {folder / 'data'}\nsites:\n{names}")


def envelopes(folder: Path, number: int, site: int) -> list[bytes]:
    """Of a site's round, sealed."""
    found: list[bytes] = msgspec.msgpack.decode((folder / f"{number}-{site}").read_bytes())
    return found
