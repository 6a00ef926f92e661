"""Revocation: the hub refuses at once what a collector signed, and the broker throws it out and lets it in no more.

The registry comes first, and is enough for the hub; brokers are told by a new account whose claims name the users that
are void, and keep it on their disks. When no broker can be reached they are told at the next start of the hub.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from rmm.bus.asking import Asks, open_asker
from rmm.bus.nats_jwt import Claims, decode
from rmm.errors import BusError, ConfigError
from rmm.hub.authority import Authority
from rmm.hub.enrolment import LIFE
from rmm.hub.registry import Collector

_ANSWER_S = 5.0
_LASTS = timedelta(minutes=5)  # of the login for it


def revoke(authority: Authority, site: str, collector: str, now: datetime) -> list[Collector]:
    """Revoke a collector, or with an empty id all of a site, and the site's open invitations; durable on return.

    Returns those that were not revoked before. Raises ConfigError for one that there is not.
    """
    with authority.registry.turn() as registry:
        found = [one for one in registry.of_site(site) if collector in ("", one.id)]
        open_ones = [] if collector else [one for one in registry.invitations.values() if one.site == site]
        if not found and not open_ones:
            known = ", ".join(f"{one.site}/{one.id}" for one in registry.collectors.values()) or "none"
            what = f"{site}/{collector}" if collector else site
            raise ConfigError(f"no collector of {what} was enrolled; there are {known}", hint="Check the name.")
        revoked = [msgspec.structs.replace(one, revoked_at=now) for one in found if one.revoked_at is None]
        for one in revoked:
            registry = registry.with_collector(one)
        ids = {one.id for one in open_ones}
        kept = {id: one for id, one in registry.invitations.items() if id not in ids}
        authority.registry.write(msgspec.structs.replace(registry, invitations=kept))
    return revoked


async def tell_brokers(authority: Authority, urls: Sequence[str], now: datetime) -> None:
    """`push_claims` over its own connection: by `rmm hub revoke`, and at each start of the hub. Raises BusError."""
    async with open_asker(authority.system_login(urls, now, _LASTS)) as bus:
        await push_claims(bus, authority, now)


async def push_claims(bus: Asks, authority: Authority, now: datetime) -> None:
    """Tell the brokers who is void; they throw those out at once. `bus`: of the system account.

    What the brokers know to be void stays so, although the registry may have come from a backup. Raises BusError.
    """
    before = await _current(bus, authority)
    issued = now if before is None else max(now, datetime.fromtimestamp(before.iat + 1, UTC))  # the newer one counts
    claims = authority.account_claims(issued, _void(before, now))
    answer = _answer(await bus.ask("$SYS.REQ.CLAIMS.UPDATE", claims.encode(), timeout_s=_ANSWER_S))
    if answer.get("error") or (answer.get("data") or {}).get("code") != 200:
        reason = answer.get("error") or answer.get("data")
        raise BusError(f"the broker did not take the account's new claims: {reason}", code="bus.claims")


async def _current(bus: Asks, authority: Authority) -> Claims | None:
    """The account's claims as the brokers have them; None where they have none that the operator has signed."""
    subject = f"$SYS.REQ.ACCOUNT.{authority.account}.CLAIMS.LOOKUP"
    found = (await bus.ask(subject, b"", timeout_s=_ANSWER_S)).decode("ascii", "replace")
    if not found:
        return None
    try:
        claims = decode(found)
    except BusError:
        return None
    return claims if claims.iss == authority.operator and claims.sub == authority.account else None


def _void(claims: Claims | None, now: datetime) -> dict[str, int]:
    """Revocations that still mean something: what was issued before has not expired by itself."""
    found = claims.nats.get("revocations") if claims is not None else None
    earliest = int((now - LIFE - timedelta(days=1)).timestamp())
    return {user: at for user, at in (found or {}).items() if isinstance(at, int) and at > earliest}


def _answer(data: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(data, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise BusError("the broker's answer is not readable", code="bus.claims") from error
