"""The tables of stages and delivery, for the one writer of the fleet's database; each call inside its transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypeVar

import msgspec

from rmm.core.alerting.pipeline import Known, Plan, Unit
from rmm.core.alerting.route import subject
from rmm.model.routing import Heard, Waiting
from rmm.model.rule import Alert, Notification
from rmm.tiers.fleet_sqlite.database import Database

T = TypeVar("T")

_encode = msgspec.json.Encoder().encode
_alert = msgspec.json.Decoder(Alert).decode
_notification = msgspec.json.Decoder(Notification).decode
_waiting = msgspec.json.Decoder(Waiting).decode
_heard = msgspec.json.Decoder(Heard).decode


class Fared(NamedTuple):
    """How a channel did lately."""

    failures: int  # in a row
    not_before: datetime | None
    result: str


class Outbox:
    """One connection's view."""

    def __init__(self, database: Database) -> None:
        self._db = database

    async def _rows(self, statement: str, read: Callable[[Any], T], *arguments: Any) -> list[T]:
        found = await self._db.fetch(statement, arguments)
        try:
            return [read(row) for row in found]
        except (msgspec.DecodeError, ValueError, TypeError) as error:
            raise self._db.failed(error) from error

    async def _many(self, statement: str, rows: Iterable[Sequence[Any]]) -> None:
        await self._db.executemany(statement, list(rows))

    async def fresh(self, most: int) -> list[Notification]:
        """What no stage has looked at yet, oldest first."""
        return await self._rows("fresh", lambda row: _notification(row[0]), most)

    async def soonest(self) -> datetime | None:
        """When the next thing that waits is due."""
        (found,) = await self._rows("soonest", lambda row: row[0])
        return datetime.fromisoformat(found) if found else None

    async def known(self, fresh: Sequence[Notification], units: Iterable[Unit], now: datetime) -> Known:
        """All that the stages need of these notifications and of what is due now; without live alerts."""
        keys = {subject(one) for one in fresh}
        wanted = [list(unit) for unit in units]
        found = await self._rows(
            "concerned_waiting", lambda row: (_waiting(row[0]), _notification(row[1])),
            _text(now), list(keys), wanted,
        )  # fmt: skip
        keys |= {one.alert for one, _ in found}
        heard = await self._rows("concerned_heard", lambda row: _heard(row[0]), list(keys))
        flushed = await self._rows("flushed", lambda row: ((row[0], row[1]), datetime.fromisoformat(row[2])))
        return Known({body.id: body for _, body in found}, [one for one, _ in found], heard, dict(flushed), {})

    async def stale(self, route: str, before: datetime) -> list[Heard]:
        """Who was told of something by this route, not after this moment."""
        return await self._rows("stale_heard", lambda row: _heard(row[0]), route, _text(before))

    async def alerts(self, subjects: Iterable[str]) -> dict[str, list[Alert]]:
        """Live alerts by what they are told as: `rmm.core.alerting.route.subject`."""
        live: dict[str, list[Alert]] = {}
        wanted = list(subjects)
        for name, alert in await self._rows("alerts_by_subject", lambda row: (row[0], _alert(row[1])), wanted):
            live.setdefault(name, []).append(alert)
        return live

    async def keep(self, plan: Plan, remembered: Iterable[str]) -> None:
        """Store what the stages decided; `remembered` are routes whose groups have an interval."""
        await self.post(plan.messages)
        await self._many("end_waiting", ((one.channel, one.id) for one in plan.done))
        await self._many(
            "put_waiting",
            ((w.channel, w.id, w.group, w.alert, _text(w.due_at), _encode(w).decode()) for w in plan.waiting),
        )
        told = [one for one in plan.heard.values() if one is not None]
        await self.remember(told)
        await self._many("end_heard", (pair for pair, one in plan.heard.items() if one is None))
        begins = tuple(f"{name}|" for name in remembered)
        rows = [(*unit, _text(at)) for unit, at in plan.flushed.items() if unit[1].startswith(begins)]
        await self._many("put_flushed", rows)
        await self._many("outcome", (("; ".join(said)[:1000], name) for name, said in plan.outcomes.items()))

    async def remember(self, told: Iterable[Heard]) -> None:
        """Channels were told that these fire."""
        await self._many("put_heard", map(_heard_row, told))

    async def hear(self, told: Iterable[Heard]) -> None:
        """The same beside the routes: what a route has told stays as it is."""
        await self._many("hear", map(_heard_row, told))

    async def post(self, messages: Iterable[tuple[str, Notification]]) -> None:
        """Messages for channels; one of the same id is there once."""
        rows = [(one.id, channel, _text(one.at), _encode(one).decode()) for channel, one in messages]
        await self._many("post", rows)

    async def open(self, channel: str, now: datetime, most: int) -> list[tuple[Notification, int]]:
        """What this channel is to be given now, and how often that was tried; what it refused often comes last."""
        return await self._rows(
            "open_notifications", lambda row: (_notification(row[0]), row[1]), channel, _text(now), most
        )

    async def mark_sent(self, notification: str, channel: str, at: datetime, receipt: str) -> None:
        """The channel took it."""
        await self._many("sent", [(_text(at), receipt, notification, channel)])

    async def mark_failed(self, notification: str, channel: str, result: str, due_at: datetime) -> None:
        """It did not; it is tried again then."""
        await self._many("not_sent", [(_text(due_at), result, notification, channel)])

    async def fared(self) -> dict[str, Fared]:
        """How the channels did."""
        return dict(
            await self._rows(
                "channels",
                lambda row: (row[0], Fared(row[1], datetime.fromisoformat(row[2]) if row[2] else None, row[4])),
            )
        )

    async def put_fared(self, channel: str, fared: Fared, now: datetime) -> None:
        """How this channel does."""
        until = _text(fared.not_before) if fared.not_before else ""
        await self._many("put_channel", [(channel, fared.failures, until, _text(now), fared.result)])

    async def give_up(self, now: datetime, before: datetime, most: int) -> list[str]:
        """Stop trying what is older than that, and the oldest of what a channel has more than `most` of.

        Returns the channel of each.
        """
        given = await self._rows("give_up_old", lambda row: str(row[0]), _text(now), _text(before))
        for channel, count in await self._rows("open_counts", lambda row: (row[0], row[1])):
            if count > most:
                given += await self._rows("give_up_most", lambda row: str(row[0]), _text(now), channel, most)
        return given

    async def try_again(self, channel: str) -> int:
        """Everything that was not taken, given up or not, is due now; of all channels where empty. How many."""
        await self._db.execute("free_channels", (channel,))
        return len(await self._rows("try_again", lambda row: row[0], channel))

    async def forget(self, before: datetime) -> None:
        """What is done and older than that."""
        for statement in ("forget_outbox", "forget_notifications", "forget_flushed"):
            await self._db.execute(statement, (_text(before),))


def _heard_row(one: Heard) -> tuple[str, str, str, str, str]:
    return one.alert, one.channel, one.route, _text(one.at), _encode(one).decode()


def _text(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds")
