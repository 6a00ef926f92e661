"""How a machine deals with logons that differ from the usual: see `rmm.lab.faults.logon`, which makes one of a plan."""

from __future__ import annotations

import msgspec


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """The logon policy of one machine. The default is a healthy one."""

    offers: tuple[str, ...] | None = None  # what a 401 offers instead of the usual; empty: no header at all
    endless: bool = False  # every proof is answered with another challenge
    cbt: str = ""  # strict: over TLS the channel binding must be there and right
    ntlm: str = ""  # refused: a proof by NTLM is never accepted; off: and the 401 to it says so
    trusted: bool = True  # False: the domain does not trust the machine; its users are refused, nothing is counted
    denied: str = ""  # RootSDDL: logon (401 to the proof) or request (401 to what comes next), after a good logon
    resources: tuple[str, ...] = ()  # ends of resource URIs that this account may not use
    requests: int = 0  # after so many requests the context of a connection is gone
    seconds: float = 0.0  # after so long it is gone


HEALTHY = Policy()
