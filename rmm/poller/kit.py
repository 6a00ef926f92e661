"""What the catalogue and the settings give the poller."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime

import msgspec

from rmm.model.collector import Collector
from rmm.model.endpoint import Endpoint, Target
from rmm.model.identity import Acceptance
from rmm.model.settings import PollSettings
from rmm.ports import Clock, Identified, Ladder, Script, Transport

SHELL_TRANSPORTS = frozenset({"ssh"})  # no WinRM; whether they run PowerShell or sh, the session says


class Kit(msgspec.Struct, frozen=True, kw_only=True):
    """What the catalogue and the settings give the poller; built once per process by `rmm.app`."""

    collectors: Mapping[str, Collector]
    intervals: Mapping[str, int]  # collector name -> seconds, in the order in which they run
    bundle: Callable[[tuple[str, ...], str], Script]  # (collector names, language) -> script
    rights: Script  # tries the places that its argument lists: see `poller.rights`
    transport: Callable[[str], Transport]  # transport name -> the one instance of this process
    target: Callable[[Endpoint], Target]
    transport_of: Callable[[Endpoint], str]  # the transport's name alone, without unlocking a credential
    shell_of: Callable[[Endpoint], str]  # auto, powershell or sh, for transports that can both
    identify: Callable[[Target, float], Awaitable[Identified]]  # WS-Identify before a deadline
    ladder: Callable[[Target], Ladder]  # the steps to a session, one by one
    poll: PollSettings
    clock: Clock
    epoch: str
    accepted: Mapping[str, Acceptance] = {}  # endpoint id -> the newest acceptance of another machine
    changed_at: datetime | None = None  # when a file of the configuration, or the vault, was changed last
