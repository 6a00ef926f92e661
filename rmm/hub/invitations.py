"""Invitations: a token for one new collector of one site. What is secret in it comes from 32 random bytes.

The token carries a login for the broker, because the broker talks to nobody without one; it may ask the one question
`rmm.enroll.<invitation>`, hears only the answer, and ends with the invitation.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.x509.oid import NameOID

from rmm.bus import nkeys, subjects
from rmm.bus.login import place
from rmm.bus.nats_jwt import UserLimits
from rmm.core.token_keys import tls_key
from rmm.errors import BusError, ConfigError
from rmm.hub.authority import Authority
from rmm.hub.certificates import client_certificate, der
from rmm.hub.registry import Invitation
from rmm.model.enrolment import MOST_BYTES, NAME, Token, derived

LONGEST = timedelta(days=7)


def invite(
    authority: Authority,
    site: str,
    *,
    sites: Collection[str],
    urls: Sequence[str],
    lasts: timedelta,
    now: datetime,
    name: str = "",
    own_urls: Sequence[str] = (),
) -> Token:
    """Invite one collector of a site; durable on return.

    Args:
        authority: the hub's.
        site: its id, which must be among `sites`.
        sites: the sites of the hub's configuration.
        urls: how sites reach the broker.
        lasts: until when the token can be used, at most seven days.
        now: the hub's time.
        name: of the collector to be; empty: the hub makes one from the machine's.
        own_urls: how this one does, now and later, where that is another way.

    Raises ConfigError, LeaseLost, TierError.
    """
    urls = own_urls or urls
    _check(site, sites, urls, lasts, name)
    id, secret = secrets.token_hex(8), secrets.token_bytes(32)
    expires = now + lasts
    key = tls_key(derived(secret, "tls"))
    user = nkeys.public_key(nkeys.seed_text(nkeys.USER, derived(secret, "user")))
    token = Token(
        invitation=id,
        site=site,
        secret=secret,
        made_at=now,
        expires_at=expires,
        urls=tuple(urls),
        authority=der(authority.clients.certificate),
        hub=authority.public,
        jwt=authority.user_claims(
            user,
            name=f"invitation {id}",
            now=now,
            expires=expires,
            permissions=subjects.invitation_permissions(id),
            limits=UserLimits(payload=MOST_BYTES, subscriptions=8),
        ),
        certificate=_certificate(authority, key, id, now, expires),
    )
    with authority.registry.turn() as registry:
        if name and f"{site}/{name}" in registry.collectors:
            raise ConfigError(
                f"{site} has, or had, a collector {name!r}",
                hint="Choose another --name, or none: names are not given twice.",
            )
        made = Invitation(
            id=id,
            site=site,
            key=derived(secret, "proof").hex(),
            made_at=now,
            expires_at=expires,
            name=name,
            urls=tuple(own_urls),
        )
        authority.registry.write(registry.with_invitation(made))
    return token


def _check(site: str, sites: Collection[str], urls: Sequence[str], lasts: timedelta, name: str) -> None:
    if site not in sites:
        raise ConfigError(
            f"there is no site {site!r}; there are {', '.join(sorted(sites)) or 'none'}",
            hint="Add it to `sites` in the hub's rmm.yaml first.",
        )
    if not NAME.match(site):
        raise ConfigError(f"site {site!r} cannot be named to the broker", hint="Use letters, digits, - and _.")
    if name and not NAME.match(name):
        raise ConfigError(f"--name {name!r} is none", hint="Use letters, digits, - and _, 64 at most.")
    if not timedelta(0) < lasts <= LONGEST:
        raise ConfigError("a token lasts longer than nothing and 7 days at most", hint="Choose other --hours.")
    for url in urls:
        try:
            place(url)
        except BusError as error:
            raise ConfigError(f"{url!r}: {error}", hint=error.hint) from error
    if not urls:
        raise ConfigError("the token would say of no broker", hint="Name `urls` in the section `hub` of rmm.yaml.")


def _certificate(
    authority: Authority, key: EllipticCurvePrivateKey, id: str, now: datetime, expires: datetime
) -> bytes:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"invitation {id}")])
    return der(client_certificate(authority.clients, key.public_key(), subject, now, expires))
