"""What the hub asks of a coordinator: `rmm.coordinator.SitesCoordinator` is one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from rmm.core.alerting.lifecycle import Change
from rmm.model.observation import Fault, Observation
from rmm.model.rule import Alert
from rmm.tiers.fleet_sqlite import FleetStore

Within = Callable[[FleetStore], Awaitable[None]]


class Folding(Protocol):
    """Every method that writes is durable on return, and raises TierError or LeaseLost when it could not."""

    @property
    def seen(self) -> Mapping[str, datetime]:
        """Sites of which something was taken since they were judged."""
        ...

    @property
    def of_none(self) -> Mapping[str, Alert]:
        """Live alerts of no endpoint, by key."""
        ...

    @property
    def awaiting(self) -> set[str]:
        """Sites with alerts that wait for the end of a round."""
        ...

    def fold(self, batch: Sequence[bytes]) -> Awaitable[None]:
        """Take encoded observations."""
        ...

    def take(self, observations: Iterable[Observation], within: Within | None = None) -> Awaitable[None]:
        """Take observations, and write what `within` writes in the same transaction."""
        ...

    def change(
        self, decide: Callable[[Mapping[str, Alert]], Iterable[Change]], within: Within | None = None
    ) -> Awaitable[None]:
        """Change alerts of no endpoint, and write what `within` writes in the same transaction."""
        ...

    def judge(self, ended: Mapping[str, Sequence[Fault]], listed: Collection[str] = ()) -> Awaitable[None]:
        """The rounds of these sites are over."""
        ...

    def pass_time(self, listed: Collection[str] = ()) -> Awaitable[None]:
        """What time does."""
        ...
