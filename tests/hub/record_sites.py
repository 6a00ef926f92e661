"""Makes what sites of this version, the one before and the one after would send: with real bodies. Once per version.

`python tests/hub/record_sites.py`. What the version before has not, is what has a default today; what the one after
has more, is invented.
"""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "bus"))
sys.path.insert(0, str(Path(__file__).parents[1] / "postgres"))

import msgspec
import zstandard
from hubside import START, Key, Keys, Site, observation

from rmm.model.envelope import ENVELOPE_CONTEXT, Beat, Entry
from rmm.model.incident import Act
from rmm.model.lease import Claim, Member, Remembered

RECORDED = Path(__file__).parents[1] / "recordings" / "sites"
EPOCH = "00112233445566aa"
BEAT = Beat(
    site="berlin", collector="c1", at=START, version="1", started_at=START, bundle="7", spooled=12,
    spool_bytes=900_000, oldest=START - timedelta(seconds=30), dropped=0, spool_limit=1_000_000, shards=(0, 1),
    endpoints=6, expires_at=START + timedelta(days=60), polled_at=START, problems=("a disk is slow",), refused=2,
)  # fmt: skip
CLAIM = Claim("other", "feed" * 4, fence=60, floor=50)
REMEMBERED = Remembered(held={0: 41}, floors={0: 50})
NEWER = {"urgency": 5, "trace": {"id": "x", "parts": [1, None]}}


def keys() -> Keys:
    """The same in each run."""
    return Keys(("berlin", "c1"), ("lyon", "c1"), seed=8)


def site() -> Site:
    """Observations of which one begins an alert, what somebody did, and the end of the round."""
    made = Site(keys(), "berlin", epoch=EPOCH)
    for n in range(4):
        at = START + timedelta(minutes=5 * n)
        made.observe(observation("berlin", "berlin-1", at, n + 1, busy=97.0 if n > 1 else 5.0, services=5 + n), fence=3)
    made.observe(observation("berlin", "berlin-2", START, 5, status="UNREACHABLE"), fence=3)
    made.add("audit", msgspec.json.encode(Act(at=START, who="bob", what="ack", key="k", reason="known")), START)
    made.round_over(START + timedelta(minutes=16), planned=6, tried=2)
    made.add("dropped", b"", START, count=5)
    return made


def plain(value: Any) -> Any:
    """As the wire has it."""
    return msgspec.to_builtins(value, builtin_types=(bytes,))


def body_of(entry: Entry, change: Any) -> bytes:
    return msgspec.json.encode(change(msgspec.json.decode(entry.body))) if entry.body else b""


def older(body: dict[str, Any]) -> dict[str, Any]:
    """Of an observation, act or round, what is there in every version."""
    optional = {"identity", "telemetry", "errors", "schema", "refused", "number", "detail", "planned", "tried"}
    return {name: value for name, value in body.items() if name not in optional}


def newer(body: dict[str, Any]) -> dict[str, Any]:
    """With more in every map that has a name."""
    found = {**body, **NEWER, "schema": 2}
    if isinstance(found.get("fault"), dict):
        found["fault"] = {**found["fault"], **NEWER}
    parts = found.get("collectors", {})
    return {**found, "collectors": {name: {**part, **NEWER} for name, part in parts.items()}} if parts else found


def enveloped(schema: int, entries: list[dict[str, Any]], key: Key, **more: Any) -> bytes:
    """As another version would do it by itself: a map, then the same map with one field more at its end."""
    packed = msgspec.msgpack.encode(entries)
    last = entries[-1]
    fields = {
        "schema": schema, "site": "berlin", "collector": "c1", "epoch": EPOCH, "sent_at": START,
        "first": entries[0]["seq"], "last": last["seq"] + last.get("count", 1) - 1, "size": len(packed),
        "body": zstandard.compress(packed), **more,
    }  # fmt: skip
    signature = key.sign(ENVELOPE_CONTEXT + msgspec.msgpack.encode(fields))
    return msgspec.msgpack.encode({**fields, "signature": signature})


def main() -> None:
    made, key = site(), keys().of["berlin", "c1"]
    old, new = [], []
    for one in made.entries:
        fields = {"seq": one.seq, "kind": one.kind, "at": one.at, "body": body_of(one, older)}
        old.append({**fields, **({"count": one.count} if one.count > 1 else {})})  # before shards and fences
        new.append({**plain(one), "at": one.at, "body": body_of(one, newer), **NEWER})
    beat, claim, held = (msgspec.json.decode(msgspec.json.encode(one)) for one in (BEAT, CLAIM, REMEMBERED))
    few = ("site", "collector", "at", "version", "started_at", "spooled", "spool_bytes", "oldest")
    documents = {
        "beat-0": {name: beat[name] for name in few}, "beat-1": beat, "beat-2": {**beat, **NEWER},
        "claim-0": {name: claim[name] for name in ("collector", "holder", "fence")}, "claim-1": claim,
        "claim-2": {**claim, **NEWER}, "member-1": plain(Member("feed" * 4)),
        "member-2": {**plain(Member("feed" * 4)), **NEWER},
        "leases-0": {"held": held["held"]}, "leases-1": held, "leases-2": {**held, **NEWER},
    }  # fmt: skip
    RECORDED.mkdir(parents=True, exist_ok=True)
    (RECORDED / "up-0.bin").write_bytes(enveloped(0, old, key))
    (RECORDED / "up-1.bin").write_bytes(made.sealed())
    (RECORDED / "up-2.bin").write_bytes(enveloped(2, new, key, lanes=[1, 2]))
    for name, document in documents.items():
        (RECORDED / f"{name}.json").write_bytes(msgspec.json.encode(document) + b"\n")


if __name__ == "__main__":
    main()
