"""A machine that answered for an endpoint and is another one: `Refusal`, and a person's word that it is right."""

from __future__ import annotations

from datetime import datetime

import msgspec


class Refusal(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was refused. `expected` and `seen` are evidence: name, uuid, serial, machine; what nobody knows is absent.

    `asked` and `listed` are the endpoint list's ComputerName and Uuid at that time. `machine` is the GUID of the
    installation.
    """

    asked: str
    listed: str = ""
    expected: dict[str, str] = {}
    seen: dict[str, str] = {}


class Acceptance(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody said that the machine of a refusal is the endpoint's from now on. It is for this evidence alone."""

    endpoint: str  # id
    at: datetime
    who: str  # account of the operating system
    reason: str
    refusal: Refusal
