"""What rules remember and what came late, in the coordinator's transaction: see `rmm.tiers.fleet_sqlite.writer`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from rmm.core.alerting.late import Settled
from rmm.model.observation import Observation
from rmm.model.rule import Alert
from rmm.tiers.fleet_sqlite.writer import FleetStore

_encode = msgspec.json.Encoder().encode
_alert = msgspec.json.Decoder(Alert).decode
_memory = msgspec.msgpack.Decoder(dict[str, Any]).decode
_packed = msgspec.msgpack.Encoder().encode

Memory = dict[str, Any]


def _text(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds")


class Remembered:
    """Statements of one store; each call inside its `transaction`. Raises TierError."""

    def __init__(self, store: FleetStore) -> None:
        self._store = store

    async def of(self, endpoints: Iterable[str]) -> dict[str, Memory]:
        """What is remembered of these endpoints."""
        wanted = list(endpoints)
        return dict(await self._store.rows("remembered", lambda row: (row[0], _memory(row[1])), wanted))

    async def all(self) -> dict[str, Memory]:
        """What is remembered of every endpoint."""
        return dict(await self._store.rows("all_remembered", lambda row: (row[0], _memory(row[1]))))

    async def put(self, memories: Mapping[str, Memory]) -> None:
        """Replace what is remembered of these endpoints."""
        await self._store.run("put_remembered", [(name, _packed(memory)) for name, memory in memories.items()])

    async def add_late(self, found: Iterable[tuple[Observation, bytes]], now: datetime) -> None:
        """Keep late observations, reduced; one that is there already changes nothing."""
        rows = [(one.endpoint, _text(one.observed_at), one.epoch, one.seq, _text(now), body) for one, body in found]
        await self._store.run("add_late", rows)

    async def late_endpoints(self, most: int) -> list[tuple[str, int]]:
        """Endpoints with late observations that are not evaluated, and how many are kept of each."""
        return await self._store.rows("late_endpoints", lambda row: (row[0], row[1]), most)

    async def late_of(self, endpoint: str) -> list[bytes]:
        """The late observations of an endpoint, by their time."""
        return await self._store.rows("late_of", lambda row: bytes(row[1]), endpoint)

    async def late_evaluated(self, endpoint: str, most: int) -> None:
        """They are; the newest `most` of them are kept."""
        await self._store.run("late_evaluated", [(endpoint,)])
        await self._store.run("bound_late", [(endpoint, most)])

    async def forget_late(self, before: datetime) -> None:
        """Drop what was evaluated and arrived before then."""
        await self._store.run("forget_late", [(_text(before),)])

    async def ended_since(self, endpoint: str, since: datetime) -> list[tuple[int, Alert]]:
        """Alerts of an endpoint that are over and lasted until then, with their numbers."""
        found = await self._store.rows(
            "alerts_since", lambda row: (row[0], _alert(row[1])), endpoint, since.astimezone(UTC).isoformat()
        )
        return list(found)

    async def settle(self, settled: Iterable[Settled]) -> None:
        """Write alerts that were over before anybody knew of them."""
        for one in settled:
            alert = one.alert
            body, at = _encode(alert).decode(), alert.last_at.isoformat()
            if one.number:
                await self._store.run("restate_ended", [(at, body, one.number)])
            else:
                await self._store.run("add_ended", [(alert.key, alert.endpoint, alert.state, at, body)])

    async def silent(self, before: datetime) -> list[tuple[str, str, str, str]]:
        """(id, name, site, caption of the system) of endpoints without an observation since then."""
        return await self._store.rows("silent", lambda row: (row[0], row[1], row[2], row[3]), _text(before))
