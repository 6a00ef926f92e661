"""The hub's side of enrolment and renewal: answers to `rmm.enroll.*` and `rmm.ask.*.renew`.

Every byte of a question is hostile. What is refused says why in an answer that is signed like every other one, is told
to whoever keeps the audit, and changes nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import datetime, timedelta

import msgspec

from rmm.bus import nkeys, subjects
from rmm.bus.nats_jwt import UserLimits
from rmm.errors import BusError, EnvelopeError, RmmError
from rmm.hub.authority import Authority, verifier
from rmm.hub.certificates import client_certificate, collector_name, requested_key
from rmm.hub.registry import Collector, Invitation, Registry
from rmm.model.enrolment import (
    ENROL_CONTEXT,
    HINTS,
    RENEW_CONTEXT,
    Grant,
    Question,
    is_proven,
    is_signed,
    opened,
    seal_grant,
)
from rmm.ports import Clock

log = logging.getLogger(__name__)

LIFE = timedelta(days=90)  # of a collector's certificate and login; renewed from two thirds on
CLOCKS = timedelta(minutes=5)  # how far a site's clock may be off when it is enrolled
_EARLY = timedelta(hours=1)  # a renewal within is the same one again: its answer was lost
_LIMITS = UserLimits(payload=1 << 20, subscriptions=100)
_KEY_SIZE = 32
_SILENT = timedelta(hours=1)
_MOST_TOLD = 1024

Reply = Callable[[str, bytes], Awaitable[bytes]]
ENROLMENT, RENEWAL = "rmm.enroll.*", "rmm.ask.*.renew"  # the patterns that they answer


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a question, for the audit log. `refused` is a code, empty where it was granted."""

    what: str  # enrol | renew
    at: datetime
    site: str
    collector: str = ""
    refused: str = ""
    detail: str = ""
    again: bool = False  # refused, and told of for the same reason within the hour: it is only to be counted


Told = Callable[[Outcome], None]


class _Refused(EnvelopeError):
    """Not granted; `code` and the message go to whoever asked, who knows by the code what to do."""

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message, code=code, hint=HINTS[code])


def answer_enrolment(
    authority: Authority, sites: Collection[str], urls: Sequence[str], clock: Clock, told: Told = lambda _: None
) -> Reply:
    """For `bus.answer(ENROLMENT, ...)`.

    Args:
        authority: the hub's.
        sites: the sites of the hub's configuration; looked at anew for each question.
        urls: how sites reach the broker.
        clock: the hub's.
        told: hears what came of each question, in the loop's thread.
    """

    def enrol(subject: str, data: bytes, now: datetime) -> tuple[Grant, Outcome]:
        id = subject.rsplit(".", 1)[-1]
        _invited(authority.registry.read(), id, data)  # nobody else is worth the lock
        with authority.registry.turn() as registry:
            invitation, question = _invited(registry, id, data)
            collector = _enrolled(registry, invitation, question)
            if collector is None:
                _check(invitation, question, data, sites, registry, now)
                collector = _new(registry, invitation, question, now)
                used = msgspec.structs.replace(invitation, used_at=now, collector=collector.id)
                changed = registry.with_collector(collector)
                invitations = {**changed.invitations, id: used}
                authority.registry.write(msgspec.structs.replace(changed, invitations=invitations))
            return _granted(authority, collector, question, urls, now), Outcome(
                what="enrol", at=now, site=collector.site, collector=collector.id, detail=f"invitation {id}"
            )

    return _answering("enrol", authority, clock, told, enrol)


def answer_renewal(authority: Authority, urls: Sequence[str], clock: Clock, told: Told = lambda _: None) -> Reply:
    """For `bus.answer(RENEWAL, ...)`: a collector's next certificate and login. Arguments as of `answer_enrolment`."""

    def renew(subject: str, data: bytes, now: datetime) -> tuple[Grant, Outcome]:
        site = subjects.site_of(subject)
        question = opened(data, Question)
        verify = authority.public_key_of(site, question.collector)
        if verify is None or question.site != site:
            raise _Refused(f"{site} has no collector {question.collector[:64]!r}", code="enrol.revoked")
        if not is_signed(data, RENEW_CONTEXT, verify):
            raise _Refused("the signature is not that collector's", code="envelope.signature")
        with authority.registry.turn() as registry:
            known = registry.collectors[f"{site}/{question.collector}"]
            if known.revoked_at is not None:
                raise _Refused(f"{site}/{known.id} is revoked", code="enrol.revoked")
            if question.user != known.user:
                raise _Refused("the broker's user is another one", code="enrol.key")
            requested_key(question.csr)
            if known.renewed_at is None or not timedelta(0) <= now - known.renewed_at < _EARLY:
                known = msgspec.structs.replace(
                    known, renewed_at=now, expires_at=now + LIFE, version=question.version[:64]
                )
                authority.registry.write(registry.with_collector(known))
            return _granted(authority, known, question, urls, now), Outcome(
                what="renew", at=now, site=site, collector=known.id
            )

    return _answering("renew", authority, clock, told, renew)


def _answering(
    what: str,
    authority: Authority,
    clock: Clock,
    told: Told,
    decide: Callable[[str, bytes, datetime], tuple[Grant, Outcome]],
) -> Reply:
    quiet = Quiet()

    async def reply(subject: str, data: bytes) -> bytes:
        now = clock.now()
        try:
            # Files and a lock that another process may hold.
            grant, outcome = await asyncio.to_thread(decide, subject, data, now)
        except EnvelopeError as error:
            outcome = Outcome(
                what=what, at=now, site=_about(authority, subject), refused=error.code, detail=f"{subject}: {error}"
            )
            grant = Grant(nonce=_nonce_of(data), at=now, refused=error.code, reason=str(error))
        except RmmError as error:
            # Ours, and not the site's: it may ask again.
            outcome = Outcome(what=what, at=now, site=_about(authority, subject), refused=error.code, detail=str(error))
            grant = Grant(nonce=_nonce_of(data), at=now, refused="enrol.hub", reason="the hub cannot do it at present")
        if outcome.refused:
            outcome = msgspec.structs.replace(outcome, again=not quiet.first(subject, outcome.refused, now))
            if not outcome.again:
                log.warning("%s was refused (%s): %s", subject, outcome.refused, outcome.detail)
        told(outcome)
        return seal_grant(grant, authority.sign)

    return reply


class Quiet:
    """One word an hour of who is refused for one reason, however often it asks."""

    def __init__(self) -> None:
        self._told: dict[tuple[str, str], datetime] = {}

    def first(self, subject: str, code: str, now: datetime) -> bool:
        """Whether this is to be told."""
        last = self._told.get((subject, code))
        if last is not None and timedelta(0) <= now - last < _SILENT:
            return False
        if len(self._told) >= _MOST_TOLD:
            self._told.clear()
        self._told[subject, code] = now
        return True


def _about(authority: Authority, subject: str) -> str:
    """The site that a refused question is about, for the log; empty where it is about none that is known."""
    if site := subjects.site_of(subject):
        return site
    with contextlib.suppress(RmmError):
        invitation = authority.registry.read().invitations.get(subject.rsplit(".", 1)[-1])
        return invitation.site if invitation is not None else ""
    return ""


def _nonce_of(data: bytes) -> bytes:
    try:
        return opened(data, Question).nonce[:64]
    except EnvelopeError:
        return b""


def _invited(registry: Registry, id: str, data: bytes) -> tuple[Invitation, Question]:
    """The invitation and what its holder asks. Before the proof is good, nothing is said of the invitation."""
    question = opened(data, Question)
    invitation = registry.invitations.get(id)
    if invitation is None or question.invitation != id or not is_proven(data, bytes.fromhex(invitation.key)):
        raise _Refused("this token is not of this hub, or was withdrawn", code="enrol.unknown")
    if question.site != invitation.site:
        raise _Refused("the token is for another site", code="enrol.unknown")
    return invitation, question


def _enrolled(registry: Registry, invitation: Invitation, question: Question) -> Collector | None:
    """The collector that this question has made already, when the answer was lost; None where it is the first."""
    if invitation.used_at is None:
        return None
    known = registry.collectors.get(f"{invitation.site}/{invitation.collector}")
    mine = known is not None and known.key == question.key.hex() and known.user == question.user
    if known is None or not mine or known.revoked_at is not None:
        raise _Refused(
            f"the token was used at {invitation.used_at:%Y-%m-%d %H:%M} UTC, for {invitation.collector}",
            code="enrol.used",
        )
    return known


def _check(
    invitation: Invitation, question: Question, data: bytes, sites: Collection[str], registry: Registry, now: datetime
) -> None:
    if now >= invitation.expires_at:
        raise _Refused(f"the token expired at {invitation.expires_at:%Y-%m-%d %H:%M} UTC", code="enrol.expired")
    if abs(question.at - now) > CLOCKS:
        raise _Refused(
            f"the site's clock says {question.at:%Y-%m-%d %H:%M:%S} UTC, the hub's {now:%Y-%m-%d %H:%M:%S}",
            code="enrol.clock",
        )
    if invitation.site not in sites:
        raise _Refused(f"the hub's configuration has no site {invitation.site!r} any more", code="enrol.site")
    if len(question.key) != _KEY_SIZE or not is_signed(data, ENROL_CONTEXT, verifier(question.key)):
        raise _Refused("the question is not signed with the key that it names", code="envelope.signature")
    try:
        nkeys.check_public(question.user, nkeys.USER)
    except BusError as error:
        raise _Refused("the broker's user is no key", code="enrol.key") from error
    requested_key(question.csr)
    for other in registry.collectors.values():
        if other.key == question.key.hex() or other.user == question.user:
            raise _Refused("these keys belong to another collector", code="enrol.key")


def _new(registry: Registry, invitation: Invitation, question: Question, now: datetime) -> Collector:
    taken = {one.id for one in registry.of_site(invitation.site)}
    wanted = invitation.name or re.sub(r"[^a-z0-9]+", "-", question.host.lower()[:40]).strip("-") or "collector"
    id, number = wanted, 1
    while id in taken:
        number += 1
        id = f"{wanted}-{number}"
    return Collector(
        site=invitation.site,
        id=id,
        key=question.key.hex(),
        user=question.user,
        enrolled_at=now,
        expires_at=now + LIFE,
        host=question.host[:255],
        version=question.version[:64],
        urls=invitation.urls,
    )


def _granted(
    authority: Authority, collector: Collector, question: Question, urls: Sequence[str], now: datetime
) -> Grant:
    """Certificate and login for the keys that the question names."""
    subject = collector_name(collector.site, collector.id)
    public = requested_key(question.csr)
    return Grant(
        nonce=question.nonce[:64],
        at=now,
        site=collector.site,
        collector=collector.id,
        certificate=client_certificate(authority.clients, public, subject, now, collector.expires_at),
        authority=authority.clients.certificate,
        jwt=authority.user_claims(
            collector.user,
            name=f"{collector.site}/{collector.id}",
            now=now,
            expires=collector.expires_at,
            permissions=subjects.site_permissions(collector.site),
            limits=_LIMITS,
        ),
        urls=collector.urls or tuple(urls),
        expires_at=collector.expires_at,
    )
