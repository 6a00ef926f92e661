"""What a round is asked to do, and what came of it."""

from __future__ import annotations

import msgspec

from rmm.model.observation import COLLECTOR_FAULT, OK, PARTIAL, Fault, Observation


class PollRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One `rmm poll`. `mode`: round (fast collectors always, slower ones when due), due (strictly), all."""

    mode: str = "round"
    part: tuple[int, int] | None = None  # --shard I/N, 1-based I
    sites: tuple[str, ...] = ()
    endpoints: tuple[str, ...] = ()  # ids or names; empty: all


class PollSummary(msgspec.Struct, kw_only=True):
    """Counts of one round."""

    planned: int = 0
    skipped: int = 0
    duration_s: float = 0.0
    statuses: dict[str, int] = {}
    firing: int = 0
    resolved: int = 0
    unknown_messages: int = 0  # of PSRP, of types that the protocol does not have; they were skipped
    faults: tuple[Fault, ...] = ()  # of the site collector itself

    def count(self, observation: Observation) -> None:
        """One more observation."""
        self.statuses[observation.status] = self.statuses.get(observation.status, 0) + 1
        self.unknown_messages += int(observation.telemetry.get("unknown_messages", 0))

    @property
    def tried(self) -> int:
        """Endpoints with an observation, of readings or of a fault."""
        return sum(self.statuses.values())

    @property
    def polled(self) -> int:
        """Endpoints with readings."""
        return self.statuses.get(OK, 0) + self.statuses.get(PARTIAL, 0)

    @property
    def failed(self) -> int:
        """Endpoints without readings: out of reach, refused, or not tried for an account that is held."""
        return self.tried - self.polled

    @property
    def exit_code(self) -> int:
        """0 all endpoints polled, 1 internal error, 3 some endpoints failed, 4 nothing could be polled."""
        if self.statuses.get(COLLECTOR_FAULT) and self.failed == self.tried:
            return 1
        if self.tried and self.failed == self.tried:
            return 4
        if self.failed or self.statuses.get(PARTIAL):
            return 3
        return 0 if self.tried or self.skipped == self.planned else 4
