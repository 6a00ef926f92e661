"""What the fleet's database keeps of sites: marks, fences, collectors, what was refused."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from rmm.model.envelope import Marks
from rmm.model.sites import Contact, EpochMarks, Fence, Refused
from rmm.tiers.fleet_sqlite.reader import FleetFile
from rmm.tiers.fleet_sqlite.writer import FleetStore

SCHEMA, LEASES = 9, 10  # the first that has these tables
RECENT = timedelta(days=30)  # what epochs that did not grow for longer are not: shown, in memory, in receipts

_encode = msgspec.json.Encoder().encode
_marks = msgspec.json.Decoder(Marks).decode
_contact = msgspec.json.Decoder(Contact).decode


class SiteStore:
    """Statements about sites on the coordinator's store; each call inside its `transaction`."""

    def __init__(self, store: FleetStore) -> None:
        self._store = store

    async def marks(self, sites: Iterable[str], since: datetime) -> list[EpochMarks]:
        """All epochs of these sites that grew since then, those that grew last at the end."""
        return await self._store.rows("site_marks", _read_marks, list(sites), _instant(since))

    async def marks_of(self, epochs: Collection[tuple[str, str]]) -> list[EpochMarks]:
        """These epochs, by site and name, as far as there is anything of them."""
        wanted = set(epochs)
        names = sorted({epoch for _, epoch in wanted})
        found = await self._store.rows("site_marks_of", _read_marks, sorted({site for site, _ in wanted}), names)
        return [one for one in found if (one.site, one.epoch) in wanted]

    async def put_marks(self, rows: Iterable[EpochMarks]) -> None:
        """Replace what is committed of epochs."""
        await self._store.run(
            "put_site_mark", [(one.site, one.epoch, _instant(one.at), _text(one.marks)) for one in rows]
        )

    async def trim_marks(self, sites: Iterable[str], most: int) -> None:
        """Forget epochs where a site has more than `most` that grew later."""
        await self._store.run("trim_site_marks", [(site, site, most) for site in sites])

    async def fences(self) -> list[Fence]:
        """Of all shards of all sites, each with its newest at the end."""
        return await self._store.rows("site_fences", _read_fence)

    async def put_fences(self, fences: Iterable[Fence]) -> None:
        """Add fences, or replace when they began."""
        await self._store.run(
            "put_site_fence",
            [(one.site, one.shard, one.fence, _instant(one.since), one.collector) for one in fences],
        )

    async def drop_fences(self, fences: Iterable[Fence]) -> None:
        """Forget fences."""
        await self._store.run("drop_site_fence", [(one.site, one.shard, one.fence) for one in fences])

    async def contacts(self) -> list[Contact]:
        """All collectors that were ever heard and are not forgotten."""
        return await self._store.rows("site_collectors", lambda row: _contact(row[0]))

    async def put_contacts(self, contacts: Iterable[Contact]) -> None:
        """Replace what is known of collectors."""
        rows = [(one.beat.site, one.beat.collector, _instant(one.heard_at), _text(one)) for one in contacts]
        await self._store.run("put_site_collector", rows)

    async def drop_contacts(self, collectors: Iterable[tuple[str, str]]) -> None:
        """Forget collectors, by site and id."""
        await self._store.run("drop_site_collector", list(collectors))

    async def refused(self) -> list[Refused]:
        """All that was ever refused, by site and reason."""
        return await self._store.rows("site_refused", _read_refused)

    async def add_refused(self, refused: Iterable[Refused]) -> None:
        """Count what was refused."""
        rows = [(one.site, one.reason, _instant(one.at), one.number) for one in refused]
        await self._store.run("add_site_refused", rows)

    async def restate(self, site: str, status: str, score: int, word: str, reasons: list[str]) -> None:
        """What all endpoints of a site are shown as until their next observation."""
        await self._store.run("restate_site", [(status, score, word, _text(reasons), site)])


class SitesFile:
    """The same for commands, also while the hub writes."""

    def __init__(self, file: FleetFile) -> None:
        self._file = file

    def marks(self, since: datetime) -> list[EpochMarks]:
        """All epochs that grew since then, by site, those that grew last at the end."""
        return self._file.ask("all_site_marks", _read_marks, _instant(since), schema=SCHEMA)

    def fences(self) -> list[Fence]:
        """Of all shards of all sites, each with its newest at the end."""
        return self._file.ask("site_fences", _read_fence, schema=LEASES)

    def contacts(self) -> list[Contact]:
        """All collectors, by site."""
        return self._file.ask("site_collectors", lambda row: _contact(row[0]), schema=SCHEMA)

    def refused(self) -> list[Refused]:
        """All that was ever refused, by site and reason."""
        return self._file.ask("site_refused", _read_refused, schema=SCHEMA)


def _read_marks(row: Any) -> EpochMarks:
    return EpochMarks(row[0], row[1], datetime.fromisoformat(row[2]), _marks(row[3]))


def _read_fence(row: Any) -> Fence:
    return Fence(row[0], int(row[1]), int(row[2]), datetime.fromisoformat(row[3]), row[4])


def _read_refused(row: Any) -> Refused:
    return Refused(row[0], row[1], datetime.fromisoformat(row[2]), int(row[3]))


def _text(value: Any) -> str:
    return _encode(value).decode()


def _instant(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds")
