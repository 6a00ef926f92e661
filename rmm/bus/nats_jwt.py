"""The claims of NATS as JWT (version 2, `ed25519-nkey`): operator, account, user. Pure: time is an argument.

As in github.com/nats-io/jwt. A server that trusts the operator's key admits what the operator signed an account for,
and what the account, or one of its signing keys, signed a user for.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from rmm.bus import nkeys
from rmm.bus.subjects import Permissions
from rmm.errors import BusError

_HEADER = {"typ": "JWT", "alg": "ed25519-nkey"}
_VERSION = 2
_ANY = -1  # no limit


class UserLimits(msgspec.Struct, frozen=True):
    """What a user may use: bytes of a message and subscriptions, -1 for no limit; how it may connect."""

    payload: int = _ANY
    subscriptions: int = _ANY
    connections: tuple[str, ...] = ("STANDARD", "WEBSOCKET")


class Claims(msgspec.Struct, frozen=True):
    """What a JWT says, after its signature was found good. `nats` is the part of NATS."""

    jti: str
    iat: int
    iss: str
    sub: str
    nats: dict[str, Any]
    name: str = ""
    exp: int = 0


def operator_jwt(seed: str, *, name: str, system_account: str, now: datetime) -> str:
    """An operator, signed by itself."""
    own = nkeys.public_key(seed)
    return _signed(seed, own, name, {"system_account": system_account, "type": "operator"}, now)


def account_jwt(
    operator: str,
    account: str,
    *,
    name: str,
    now: datetime,
    signing_keys: Sequence[str] = (),
    jetstream_bytes: int = 0,
    revoked: Mapping[str, int] | None = None,
) -> str:
    """An account, signed by the seed `operator`.

    Args:
        operator: the operator's seed.
        account: the account's public key.
        name: for people.
        now: when it is issued; a server keeps the newer of two, by the second.
        signing_keys: public keys that may sign users in the account's place.
        jetstream_bytes: what its streams may take, -1 for all there is; 0 is an account without JetStream.
        revoked: user's public key -> unix time: users that were issued then or before are refused.
    """
    streams = _ANY if jetstream_bytes else 0
    limits = {
        "subs": _ANY, "data": _ANY, "payload": _ANY, "imports": _ANY, "exports": _ANY, "wildcards": True,
        "conn": _ANY, "leaf": 0, "mem_storage": jetstream_bytes, "disk_storage": jetstream_bytes, "streams": streams,
        "consumer": streams,
    }  # fmt: skip
    nats: dict[str, Any] = {"limits": limits, "default_permissions": {"pub": {}, "sub": {}}, "type": "account"}
    if signing_keys:
        nats["signing_keys"] = sorted(signing_keys)
    if revoked:
        nats["revocations"] = dict(sorted(revoked.items()))
    return _signed(operator, account, name, nats, now)


def user_jwt(
    signer: str,
    user: str,
    *,
    account: str,
    name: str,
    now: datetime,
    expires: datetime | None,
    permissions: Permissions | None = None,
    limits: UserLimits | None = None,
) -> str:
    """A user of an account.

    Args:
        signer: the seed of the account or of one of its signing keys.
        user: the user's public key.
        account: the public key of the account.
        name: for people; a server's log and monitoring show it.
        now: when it is issued.
        expires: a server ends the connection then; None for never.
        permissions: None for everything in the account.
        limits: None for none.
    """
    limits = limits or UserLimits()
    nats: dict[str, Any] = {
        "pub": {}, "sub": {}, "subs": limits.subscriptions, "data": _ANY, "payload": limits.payload,
        "allowed_connection_types": list(limits.connections), "type": "user",
    }  # fmt: skip
    if permissions is not None:
        # A list of allowed subjects that is empty allows everything.
        nats["pub"] = {"allow": list(permissions.publish)} if permissions.publish else {"deny": [">"]}
        nats["sub"] = {"allow": list(permissions.subscribe)} if permissions.subscribe else {"deny": [">"]}
    if nkeys.public_key(signer) != account:
        nats["issuer_account"] = account
    return _signed(signer, user, name, nats, now, expires)


def decode(text: str) -> Claims:
    """What a JWT says, if the signature of its issuer is good; whether that issuer may is the caller's business.

    Raises BusError (bus.jwt).
    """
    try:
        header, body, signature = text.split(".")
        if msgspec.json.decode(_from_base64(header), type=dict[str, str]) != _HEADER:
            raise _damaged()
        claims = msgspec.json.decode(_from_base64(body), type=Claims)
        good = nkeys.verify(claims.iss, f"{header}.{body}".encode(), _from_base64(signature))
    except (ValueError, msgspec.DecodeError, BusError) as error:
        raise _damaged() from error
    if not good:
        raise _damaged()
    return claims


def _signed(
    seed: str, subject: str, name: str, nats: Mapping[str, Any], now: datetime, expires: datetime | None = None
) -> str:
    claims: dict[str, Any] = {
        "iat": int(now.timestamp()),
        "iss": nkeys.public_key(seed),
        "name": name,
        "sub": subject,
        "nats": {**nats, "version": _VERSION},
    }
    if expires is not None:
        claims["exp"] = int(expires.timestamp())
    # Two claims that say the same have the same name, as in the original.
    digest = hashlib.sha256(msgspec.json.encode(claims, order="deterministic")).digest()
    claims["jti"] = base64.b32encode(digest).decode().rstrip("=")
    said = f"{_base64(msgspec.json.encode(_HEADER))}.{_base64(msgspec.json.encode(claims))}"
    return f"{said}.{_base64(nkeys.sign(seed, said.encode()))}"


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _from_base64(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


def _damaged() -> BusError:
    return BusError("this is no JWT of NATS, or it was changed", code="bus.jwt", hint="Restore it, or enrol again.")
