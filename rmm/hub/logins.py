"""Logins that the broker has turned away, as its servers tell the system account: counted, and in the audit log.

A collector whose login has ended or was revoked never reaches the hub itself. What the server tells of it
(`$SYS.SERVER.ID.CLIENT.AUTH.ERR`, nats-server 2.11 to 2.15) has the login that was shown, a JWT, whose signature says
whose it is. A certificate that has ended is refused before there is any login: of that the server tells no more than
from which address it was (`$SYS.ACCOUNT.$G.DISCONNECT`).

Servers may tell more than is heard of these: 32 a second of each kind.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec
from nats.aio.msg import Msg

from rmm.bus.link import Link, Listening
from rmm.bus.nats_jwt import Claims, decode
from rmm.errors import BusError, RmmError
from rmm.hub.authority import LOGIN_REFUSED, TLS_REFUSED, Authority
from rmm.hub.enrolment import Outcome, Quiet, Told
from rmm.hub.registry import Collector
from rmm.ports import Clock

log = logging.getLogger(__name__)

WHAT = "log on"
SHARE = 32  # of one kind in a second
ANEW = timedelta(hours=12)  # the login of the system account lasts for a day


class _Client(msgspec.Struct, frozen=True):
    host: str = ""
    jwt: str = ""


class _Event(msgspec.Struct, frozen=True):
    client: _Client
    reason: str = ""


async def hear_logins(authority: Authority, urls: Sequence[str], clock: Clock, told: Told) -> None:
    """Until cancelled. `told` hears of each login that was refused, in the loop's thread."""
    refusals = Refusals(authority, clock, told)
    while True:
        try:
            link = Link(authority.system_login(urls, clock.now()))
        except BusError as error:
            log.warning("logins that the broker refuses are not heard of: %s", error.told)
            return
        link.start()
        try:
            async with link.listening(
                Listening(LOGIN_REFUSED, refusals.login, share=SHARE), Listening(TLS_REFUSED, refusals.tls, share=SHARE)
            ):
                await asyncio.sleep(ANEW.total_seconds())
        finally:
            await link.aclose()


class Refusals:
    """What to say of each of them."""

    def __init__(self, authority: Authority, clock: Clock, told: Told) -> None:
        self._authority = authority
        self._clock = clock
        self._told = told
        self._quiet = Quiet()

    def login(self, message: Msg) -> None:
        """A login that was turned away."""
        if (event := _read(message.data)) is None:
            return
        now = self._clock.now()
        known, code, why = self._why(event.client.jwt, now)
        self._refuse(known, code, f"{why}; from {event.client.host[:64]}", now)

    def tls(self, message: Msg) -> None:
        """A connection that ended before there was a login."""
        event = _read(message.data)
        if event is not None and event.reason.startswith("TLS"):
            why = f"no certificate of this hub that is still good, or it broke off; from {event.client.host[:64]}"
            self._refuse(None, "login.tls", why, self._clock.now())

    def _why(self, jwt: str, now: datetime) -> tuple[Collector | None, str, str]:
        """Whose it is, a code, and a text."""
        claims = self._claims(jwt)
        known = None
        if claims is not None:
            with contextlib.suppress(RmmError):
                collectors = self._authority.registry.read().collectors.values()
                known = next((one for one in collectors if one.user == claims.sub), None)
        if claims is None:
            return None, "login.unknown", "a login that is not of this hub"
        if known is not None and known.revoked_at is not None:
            why = f"{known.site}/{known.id} was revoked at {known.revoked_at:%Y-%m-%d %H:%M} UTC"
            return known, "login.revoked", why
        if claims.exp and claims.exp <= now.timestamp():
            ended = datetime.fromtimestamp(claims.exp, now.tzinfo)
            return known, "login.expired", f"the login of {claims.name[:64]} ended at {ended:%Y-%m-%d %H:%M} UTC"
        return known, "login.refused", f"the login of {claims.name[:64]}, perhaps with another key than its own"

    def _claims(self, jwt: str) -> Claims | None:
        """What a login of this hub says; None for another one."""
        try:
            claims = decode(jwt)
        except BusError:
            return None
        return claims if claims.iss == self._authority.user_signer else None

    def _refuse(self, known: Collector | None, code: str, why: str, now: datetime) -> None:
        site, collector = (known.site, known.id) if known is not None else ("", "")
        again = not self._quiet.first(f"{site}/{collector}", code, now)
        if not again:
            log.warning("the broker refused a login (%s): %s; said once an hour", code, why)
        self._told(Outcome(what=WHAT, at=now, site=site, collector=collector, refused=code, detail=why, again=again))


def _read(data: bytes) -> _Event | None:
    try:
        return msgspec.json.decode(data, type=_Event)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
