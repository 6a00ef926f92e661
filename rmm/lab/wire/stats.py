"""What a lab counts."""

from __future__ import annotations

import msgspec

from rmm.lab.wire.accounts import AccountStats


class Stats(msgspec.Struct):
    """What a lab has seen; `GET /lab/stats` on 127.0.0.1 gives it as JSON."""

    connections: int = 0
    requests: int = 0
    shells_opened: int = 0
    shells_open: int = 0
    pipelines: int = 0
    most_operations: int = 0  # commands that were open at once, of one user on one machine: begun and not terminated
    most_shell_operations: int = 0  # ... and in one shell
    queries: int = 0
    listings: int = 0  # of shells
    unencrypted: int = 0
    authorizations: int = 0  # requests with an Authorization header, whatever is in it
    logons_accepted: int = 0
    logons_rejected: int = 0
    proofs: int = 0  # messages made with a secret that arrived, accepted or not
    accounts: dict[str, AccountStats] = {}
