"""Names of what travels over the broker, and what each of its users may say and hear. Pure; no I/O.

Everything that belongs to one site has the site's id as a word of its subject, or at the end of its stream's name, so
that the permissions of a broker's user, which are patterns of subjects, keep sites apart:

==============================  =========================  =========================================================
of a site S                     may publish                why
==============================  =========================  =========================================================
envelopes                       rmm.up.S                   into the stream RMM_UP; the answer goes to its inbox
beats, questions                rmm.beat.S, rmm.ask.S.>
keys: write, if unchanged       $KV.BUCKET.S.>             by Nats-Expected-Last-Subject-Sequence
keys: read one, from the leader $JS.API.STREAM.MSG.GET.K   K is KV_BUCKET_S: a stream of each bucket for each site
keys: remove, if unchanged      $JS.API.STREAM.MSG.DELETE.K
keys: read all                  $JS.API.DIRECT.GET.K       a batch (`multi_last`, server 2.11); a server lower in a
                                                           cluster may answer, so it may be a moment behind
==============================  =========================  =========================================================

and may subscribe to `rmm.down.S` and to its own inbox, `_INBOX.s.S.>`.

Why a stream for each site and bucket: a question about a stream has the key in its body, which no permission sees. In
one stream for all sites, who may read its own keys could read all; who may make a consumer of it could have the server
publish wherever that consumer says, on the server's authority; and one site could fill it for all the others.
"""

from __future__ import annotations

import hashlib
import re

import msgspec

from rmm.errors import BusError

STREAM = "RMM_UP"
UP = "rmm.up.*"  # all that the stream takes
UP_ALL = "rmm.up.>"

LEASES, GUARD = "rmm_leases", "rmm_guard"  # the buckets
BUCKETS = (LEASES, GUARD)

HUB_INBOX = "_INBOX.h"

_WORD = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")


_KEY = re.compile(r"[A-Za-z0-9_=/-]+(\.[A-Za-z0-9_=/-]+)+\Z")


class Permissions(msgspec.Struct, frozen=True):
    """Patterns of subjects that a user of the broker is allowed; everything else is denied."""

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]


def word(text: str) -> str:
    """The text, when it can be one word of a subject and the end of a stream's name. ValueError otherwise."""
    if not _WORD.match(text):
        raise ValueError(f"{text!r} cannot be a word of a subject: use 1 to 64 of A-Z a-z 0-9 - _")
    return text


def up(site: str) -> str:
    """Envelopes of a site: into the stream, kept until they are acknowledged."""
    return f"rmm.up.{word(site)}"


def down(site: str) -> str:
    """Receipts for a site: told."""
    return f"rmm.down.{word(site)}"


def beat(site: str) -> str:
    """What a collector of a site says of itself: told."""
    return f"rmm.beat.{word(site)}"


def ask(site: str, what: str) -> str:
    """A question of a site to the hub: receipt, bundle, renew."""
    return f"rmm.ask.{word(site)}.{word(what)}"


def enroll(invitation: str) -> str:
    """The one question of a site that is not enrolled yet."""
    return f"rmm.enroll.{word(invitation)}"


def site_of(subject: str) -> str:
    """The site of a subject from `up`, `down`, `beat` or `ask`; empty for another."""
    words = subject.split(".")
    fits = len(words) >= 3 and words[0] == "rmm" and words[1] in ("up", "down", "beat", "ask")
    return words[2] if fits else ""


def site_inbox(site: str) -> str:
    """Where the answers for a site's collectors come: `Login.inbox`."""
    return f"_INBOX.s.{word(site)}"


def enroll_inbox(invitation: str) -> str:
    """Where the answer for whoever is invited comes: `Login.inbox`."""
    return f"_INBOX.e.{word(invitation)}"


def bucket_stream(bucket: str, site: str) -> str:
    """The stream that has the keys of one site in a bucket."""
    return f"KV_{word(bucket)}_{word(site)}"


def key_subject(bucket: str, key: str) -> str:
    """The subject of a key, or of a pattern of keys."""
    return f"$KV.{bucket}.{key}"


def checked_key(key: str) -> str:
    """The key: two words or more of A-Z a-z 0-9 - _ = /, joined by dots. Raises BusError (bus.key_name)."""
    if not _KEY.match(key) or len(key) > 255:
        hint = "A key is SITE.WORD, of A-Z a-z 0-9 - _ = /."
        raise BusError(f"{key!r} cannot be a key", code="bus.key_name", hint=hint)
    return key


def durable(pattern: str) -> str:
    """The name of the one durable consumer of a pattern: legible, and unlike that of every other pattern."""
    legible = re.sub(r"[^A-Za-z0-9]+", "_", pattern.replace("*", "any").replace(">", "all")).strip("_")
    return f"{legible[:64]}_{hashlib.sha256(pattern.encode()).hexdigest()[:8]}"


def site_permissions(site: str) -> Permissions:
    """What a site's collector may do at the broker: its own, and nothing else."""
    publish = [up(site), beat(site), f"rmm.ask.{word(site)}.>"]
    for bucket in BUCKETS:
        stream = bucket_stream(bucket, site)
        publish += [
            f"$KV.{bucket}.{site}.>",
            f"$JS.API.STREAM.MSG.GET.{stream}",
            f"$JS.API.STREAM.MSG.DELETE.{stream}",
            f"$JS.API.DIRECT.GET.{stream}",
        ]
    return Permissions(tuple(publish), (down(site), f"{site_inbox(site)}.>"))


def invitation_permissions(invitation: str) -> Permissions:
    """What the login in a token may do: ask one question."""
    return Permissions((enroll(invitation),), (f"{enroll_inbox(invitation)}.>",))


def hub_permissions() -> Permissions:
    """What the hub may do: all of its account, except to speak as the server."""
    return Permissions(
        ("rmm.>", "_INBOX.>", "$KV.>", "$JS.API.>", "$JS.ACK.>"),
        ("rmm.>", f"{HUB_INBOX}.>", "$KV.>"),
    )
