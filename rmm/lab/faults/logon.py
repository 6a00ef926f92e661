"""Logons that go another way.

Option `how`: basic_only, no_scheme (Kerberos alone), no_header: what a 401 offers; endless: a challenge for each proof;
cbt_strict: the channel binding must be there and right; ntlm_refused: 401 to every NTLM proof, told by nothing else;
ntlm_off: the same, and the 401 offers Kerberos alone; no_trust: the domain does not trust the machine;
sddl, sddl_late: a good logon that RootSDDL refuses, at the proof or at the request after it;
denied: the resources in `resources` (ends of their URIs) are denied; dropped: a connection's context is gone after
`requests` or `seconds`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rmm.lab.faults.plan import Fault
from rmm.lab.wire.policy import Policy

_WAYS: dict[str, Callable[[], Policy]] = {
    "basic_only": lambda: Policy(offers=('Basic realm="WSMAN"',)),
    "no_scheme": lambda: Policy(offers=("Kerberos", "CredSSP")),
    "no_header": lambda: Policy(offers=()),
    "endless": lambda: Policy(endless=True),
    "cbt_strict": lambda: Policy(cbt="strict"),
    "ntlm_refused": lambda: Policy(ntlm="refused"),
    "ntlm_off": lambda: Policy(ntlm="off"),
    "no_trust": lambda: Policy(trusted=False),
    "sddl": lambda: Policy(denied="logon"),
    "sddl_late": lambda: Policy(denied="request"),
}


class Logon(Fault):
    def __init__(self, policy: Policy) -> None:
        self.policy = policy


def build(how: str, **options: Any) -> Logon:
    if how == "denied":
        return Logon(Policy(resources=tuple(options.pop("resources")), **options))
    if how == "dropped":
        return Logon(Policy(requests=int(options.get("requests", 0)), seconds=float(options.get("seconds", 0))))
    if how not in _WAYS or options:
        raise ValueError(f"`how` is one of {', '.join((*_WAYS, 'denied', 'dropped'))}, with no further option")
    return Logon(_WAYS[how]())
