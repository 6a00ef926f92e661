"""Watches sites, their collectors and links: hears beats, and changes the alerts that the hub finds by itself.

The hub judges only what it could have heard: it hears a pulse of its own over the same bus, and after that was missing,
or this process stood still, everything has `silent_after` anew.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Callable, Collection, Mapping

import msgspec

from rmm.bus.subjects import site_of
from rmm.core.alerting.lifecycle import FIRING, Change
from rmm.core.alerting.link import FORGOTTEN, Found, Known, Lags, Limits, changes, troubles
from rmm.core.alerting.site import RULE
from rmm.core.health import health
from rmm.errors import BusError, RmmError
from rmm.hub.books import Books
from rmm.hub.folding import Folding
from rmm.model.envelope import Beat
from rmm.model.observation import SITE_DOWN
from rmm.model.rule import Alert
from rmm.model.sites import Contact
from rmm.ports import Bus, Clock, Told
from rmm.tiers.fleet_sqlite import FleetStore
from rmm.tiers.fleet_sqlite.sites import SiteStore

log = logging.getLogger(__name__)

BEATS = "rmm.beat.*"
TICK_S = 2.0
MISSED = 4  # ticks without the hub's own pulse after which the bus is taken to be away
WRITE_S = 5.0  # how often what was heard is written
AGAIN_S = 1.0
DEFECT_S = 10.0  # after a defect of ours
MOST_BEAT = 16 << 10
MOST_COLLECTORS = 64  # of a site
MOST_PROBLEMS, MOST_TEXT = 16, 300

_beat = msgspec.json.Decoder(Beat).decode

Collector = tuple[str, str]  # site, id


def _gave_up(beat: Beat, before: Beat | None) -> bool:
    """Whether something was given up since the beat before; collectors of the version before count it over starts."""
    if before is None or beat.started_at == before.started_at:
        return beat.dropped > (before.dropped if before else 0)
    return beat.dropped not in (0, before.dropped)


class Watch:
    """One per process; several come to the same conclusions, of which the database has each once.

    Args:
        known: whether a site has this collector, and it is not revoked.
        quiet: site -> when something that it signed came last, by the monotonic clock.
    """

    def __init__(
        self, coordinator: Folding, books: Books, *, sites: Collection[str], limits: Limits, clock: Clock,
        known: Callable[[str, str], bool], quiet: Mapping[str, float],
    ) -> None:  # fmt: skip
        self._coordinator = coordinator
        self._books = books
        self._sites = sites
        self._limits = limits
        self._clock = clock
        self._known = known
        self._quiet = quiet
        self._contacts: dict[Collector, Contact] = {}
        self._heard: dict[Collector, float] = {}  # by the monotonic clock, since this process began
        self._lags: dict[Collector, Lags] = {}
        self._dirty: set[Collector] = set()
        self._gone: set[Collector] = set()
        self._pulse = f"rmm.pulse.{secrets.token_hex(8)}"
        self._felt: float | None = None  # when the pulse was heard last
        self._since: float | None = None  # since when it is heard without a break
        self._written = self._ticked = clock.monotonic()

    async def load(self, store: FleetStore) -> None:
        """What was heard before. Inside a transaction."""
        self._contacts = {(one.beat.site, one.beat.collector): one for one in await SiteStore(store).contacts()}

    async def run(self, bus: Bus) -> None:
        """Until cancelled."""
        while True:
            try:
                async with bus.hear(BEATS) as beats, bus.hear(self._pulse) as pulses, asyncio.TaskGroup() as group:
                    hearing = [group.create_task(self._listen(beats)), group.create_task(self._feel(pulses))]
                    try:
                        await self._tick(bus)
                    finally:
                        for task in hearing:
                            task.cancel()
                return
            except* BusError as errors:
                log.debug("nothing is heard of sites: %s", errors.exceptions[0])
            self._felt = self._since = None
            await asyncio.sleep(AGAIN_S)

    async def _listen(self, beats: AsyncIterator[Told]) -> None:
        async for told in beats:
            self.hear(told)

    async def _feel(self, pulses: AsyncIterator[Told]) -> None:
        async for _ in pulses:
            self.feel()

    def feel(self) -> None:
        """The bus carries."""
        self._felt = self._clock.monotonic()
        if self._since is None:
            self._since = self._felt

    def hear(self, told: Told) -> None:
        """One beat."""
        site = site_of(told.subject)
        try:
            beat = self._checked(site, told.data)
        except ValueError as error:
            place = site if site in self._sites else "unknown"
            if self._books.refuse(place, "beat", str(error), self._clock.now()):
                log.warning("refused of site %s: a beat: %s; said once an hour", place, error)
            return
        key = beat.site, beat.collector
        now, at = self._clock.now(), self._clock.monotonic()
        before = self._contacts.get(key)
        lag = max(0.0, (beat.at - beat.oldest).total_seconds()) if beat.oldest else 0.0
        dropped_at = before.dropped_at if before else None
        if _gave_up(beat, before.beat if before else None):
            dropped_at = now
        self._contacts[key] = Contact(
            beat=beat, heard_at=now, offset_s=round((beat.at - now).total_seconds(), 3), lag_s=round(lag, 3),
            dropped_at=dropped_at,
        )  # fmt: skip
        lags = self._lags.setdefault(key, Lags(self._limits.slow_after))
        if at - self._heard.get(key, at) > self._limits.silent_after:
            lags.forget()
        lags.note(at, lag)
        self._heard[key] = at
        self._dirty.add(key)
        self._gone.discard(key)

    def _checked(self, site: str, data: bytes) -> Beat:
        """ValueError for what is no beat of this site."""
        if site not in self._sites:
            raise ValueError(f"there is no site {site[:64]!r}")
        if len(data) > MOST_BEAT:
            raise ValueError(f"{len(data)} bytes")
        try:
            beat = _beat(data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise ValueError(f"cannot be read: {error}") from error
        if beat.site != site or not self._known(site, beat.collector):
            raise ValueError(f"of collector {beat.collector[:64]!r} of site {beat.site[:64]!r}, which is unknown here")
        times = (beat.at, beat.started_at, beat.oldest, beat.expires_at, beat.polled_at)
        if any(one is not None and one.tzinfo is None for one in times):
            raise ValueError("a time without its offset from UTC")
        mine = sum(1 for known, _ in self._contacts if known == site)
        if mine >= MOST_COLLECTORS and (site, beat.collector) not in self._contacts:
            raise ValueError(f"more than {MOST_COLLECTORS} collectors")
        problems = tuple(one[:MOST_TEXT] for one in beat.problems[:MOST_PROBLEMS])
        return msgspec.structs.replace(beat, problems=problems)

    async def _tick(self, bus: Bus) -> None:
        while True:
            await bus.tell(self._pulse, b"")
            try:
                await self.look()
            except RmmError as error:  # the store's trouble is told by whoever takes observations
                log.debug("what was heard of sites waits: %s", error)
            except Exception:  # a defect must not keep the hub from taking what comes
                log.exception("watching failed inside rmm")
                await asyncio.sleep(DEFECT_S)
            await asyncio.sleep(TICK_S)

    async def look(self) -> None:
        """Judge, and write what has changed. Raises TierError and LeaseLost."""
        at, now = self._clock.monotonic(), self._clock.now()
        still = at - self._ticked > MISSED * TICK_S
        self._ticked = at
        if self._felt is not None and at - self._felt > MISSED * TICK_S:
            self._felt = self._since = None
        elif still and self._since is not None:
            self._since = at
        self._forget()
        found: list[Found] | None = None
        live = self._coordinator.of_none
        if self._since is not None:
            members = [self._state(key, contact, at) for key, contact in self._contacts.items()]
            quiet = {site: at - last for site, last in self._quiet.items()}
            found = list(troubles(members, quiet, self._limits, live, now))
        due = (self._dirty or self._gone) and at - self._written >= WRITE_S
        if due or (found is not None and changes(found, live, now, self._is_heard)):
            await self._write(found, at)

    def _state(self, key: Collector, contact: Contact, at: float) -> Known:
        since = max(self._heard.get(key, float("-inf")), self._since or at)
        lags = self._lags.get(key)
        return Known(contact, at - since, lags is not None and lags.is_slow(self._limits.slow_after))

    def _is_heard(self, row: str) -> bool:
        """Whether a site, or a collector, is heard by this process; what is no collector any more has no trouble."""
        site, _, collector = row.partition("/")
        at = self._clock.monotonic()
        if not any(known == site and collector in ("", one) for known, one in self._contacts):
            return True
        return any(
            at - heard <= self._limits.silent_after
            for (known, one), heard in self._heard.items()
            if known == site and collector in ("", one)
        )

    def _forget(self) -> None:
        """Collectors that are revoked, or were silent for ever, are none."""
        for key, contact in list(self._contacts.items()):
            if key[0] not in self._sites or not self._known(*key) or self._clock.now() - contact.heard_at > FORGOTTEN:
                del self._contacts[key]
                self._heard.pop(key, None)
                self._lags.pop(key, None)
                self._dirty.discard(key)
                self._gone.add(key)

    async def _write(self, found: list[Found] | None, at: float) -> None:
        dirty, gone = set(self._dirty), set(self._gone)
        down: list[str] = []

        def decide(live: Mapping[str, Alert]) -> list[Change]:
            made = changes(found, live, self._clock.now(), self._is_heard) if found is not None else []
            down.extend(one.alert.site for one in made if one.alert.rule == RULE and one.tell == FIRING)
            return made

        async def within(store: FleetStore) -> None:
            database = SiteStore(store)
            await database.put_contacts(self._contacts[key] for key in dirty if key in self._contacts)
            await database.drop_contacts(gone)
            for site in down:
                await database.restate(site, SITE_DOWN, *health(SITE_DOWN, (), {}))

        await self._coordinator.change(decide, within)
        self._dirty -= dirty
        self._gone -= gone
        self._written = at
