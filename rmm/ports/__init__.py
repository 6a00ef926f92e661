"""The Protocols that services see; adapters implement them, `rmm.app` chooses among them.

Deadlines are absolute, in seconds of the running event loop's clock. Every method of a port either returns or
raises an `rmm.errors` class; foreign exceptions stay inside the adapter. Cancellation cleans up.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Any, Literal, Protocol, runtime_checkable

import msgspec

from rmm.errors import TierError
from rmm.model.endpoint import Credential, Target
from rmm.model.observation import Observation
from rmm.model.rollup import Rollup
from rmm.model.rule import Notification
from rmm.model.state import EndpointState
from rmm.ports.bus import Bus, Delivery, Keyed, Keys, Told


class Script(msgspec.Struct, frozen=True):
    """Static text that runs on an endpoint, with typed arguments that are never spliced into it.

    `language` is powershell, sh, or command: then the text is the name of one PowerShell command, which a session
    without a language takes too. Equal (text, argument types) may be serialised once and reused. `steps` says how
    many seconds each output may take after the one before; a script whose next output is `overdue` is stopped (state
    timed_out), so that one that hangs does not use up the time of those behind it.
    """

    text: str
    arguments: tuple[tuple[str, Any], ...] = ()  # (parameter name, value)
    language: str = "powershell"
    steps: tuple[float, ...] = ()


class ErrorRecord(msgspec.Struct, frozen=True):
    """A PowerShell error record, by its language-independent parts; `message` is localised text for people."""

    error_id: str  # FullyQualifiedErrorId
    category: str = ""  # ErrorCategory name, e.g. ObjectNotFound
    message: str = ""
    exception: str = ""  # type name


class ScriptResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a pipeline left: outputs in order, and how it ended.

    `state`: completed, failed (a terminating error, last in `errors`), stopped, timed_out (the deadline passed and
    the pipeline was stopped; the session is still usable unless `broken`), truncated (`max_bytes` reached).
    `overdue`: timed_out because of the script's `steps`, and not because the deadline came.
    `unknown` counts the messages of types that the protocol does not have; they were skipped.
    """

    output: tuple[Any, ...]
    state: str
    errors: tuple[ErrorRecord, ...] = ()
    warnings: tuple[str, ...] = ()
    bytes: int = 0
    broken: bool = False
    overdue: bool = False
    unknown: int = 0


@runtime_checkable
class Session(Protocol):
    """An open remoting context on one endpoint. One call at a time."""

    @property
    def language(self) -> str:
        """What `run` takes: powershell or sh."""
        ...

    @property
    def telemetry(self) -> Mapping[str, float]:
        """requests, bytes_in, bytes_out, connect_ms, auth_ms, open_ms: counted for this poll so far.

        unknown_messages where there were any: PSRP messages of types that the protocol does not have.
        """
        ...

    @property
    def peer(self) -> Mapping[str, str]:
        """What the endpoint said of itself while connecting, e.g. {"netbios": "SRV01", "dns": "srv01.corp"}."""
        ...

    async def run(self, script: Script, *, deadline: float, max_bytes: int = 16 << 20) -> ScriptResult:
        """Run one script. Raises TransportError (with `partial` outputs) when the endpoint is lost."""
        ...

    async def query(self, wql: str, *, namespace: str = "root/cimv2", deadline: float) -> list[dict[str, Any]]:
        """One WQL query by WS-Enumeration: instances as property -> text, None or list. UnsupportedError if absent."""
        ...


@runtime_checkable
class Transport(Protocol):
    """A way to reach endpoints."""

    name: str

    def session(self, target: Target, *, deadline: float) -> AbstractAsyncContextManager[Session]:
        """Open (or take from what policy keeps) a session; leaving the context closes or returns it.

        Leaving always deletes a shell that is not kept, also after an error or cancellation, within 5 s.
        """
        ...

    async def aclose(self) -> None:
        """Delete all that is kept. Idempotent."""
        ...


class Look(msgspec.Struct, frozen=True):
    """What one rung of a ladder saw: in words, what to do about it, and as data."""

    detail: str
    verdict: str = "ok"  # ok | warning | failed | skipped
    fix: str = ""
    code: str = ""
    facts: Mapping[str, Any] = {}


class Rung(msgspec.Struct, frozen=True):
    """One step towards a session. `look` gets a deadline, and raises an `rmm.errors` class when the step fails."""

    name: str
    look: Callable[[float], Awaitable[Look]]
    needs: tuple[str, ...] = ()  # rungs without which this one cannot be tried


class Ladder(Protocol):
    """The rungs from nothing to a session on one endpoint, in order. They share what the lower ones opened."""

    rungs: Sequence[Rung]

    async def aclose(self) -> None:
        """Delete and close what the rungs opened. Idempotent."""
        ...


class Identified(msgspec.Struct, frozen=True):
    """What answered WS-Identify (DSP0226 11), a question that needs no logon."""

    connect_ms: float  # TLS included
    answer_ms: float
    winrm: bool  # whether it is what WinRM says
    version: str = ""  # ProductVersion, such as `OS: 10.0.20348 SP: 0.0 Stack: 3.0`
    status: int = 0
    date: str = ""  # the Date header


class Recorder(Protocol):
    """Keeps what is said on WSMan connections, in plain. It never sees a header or token of a logon."""

    def exchanged(
        self, request: bytes, status: int, headers: Mapping[str, str], answer: bytes | None, ms: float
    ) -> None:
        """One request and its answer as envelopes; None where the answer was none."""
        ...

    def introduced(self, names: Mapping[str, str]) -> None:
        """What the endpoint called itself while somebody logged on: netbios, dns, domain."""
        ...

    def identified(self, status: int, headers: Mapping[str, str], answer: bytes) -> None:
        """What WS-Identify was answered."""
        ...

    def offered(self, status: int, headers: Mapping[str, str], schemes: list[str]) -> None:
        """The names of the schemes that a request without a token was offered."""
        ...


class AuthGate(Protocol):
    """Bounds the number of bad logons per account; asked before any secret-derived byte leaves."""

    def attempt(self, credential: Credential, host: str) -> AbstractAsyncContextManager[AuthAttempt]:
        """Wait for permission to try one logon. Raises AuthHeld when the credential is held."""
        ...


class AuthAttempt(Protocol):
    """One permitted logon. No method called: the outcome is unknown (connection lost)."""

    def accepted(self) -> None: ...

    def rejected(self) -> None: ...

    def unsent(self) -> None:
        """It did not take place: nothing that comes of the secret has left."""
        ...


class Tier(Protocol):
    """Keeps observations. `store` is idempotent and order-free: redelivery and reordering change nothing."""

    async def store(self, observations: Sequence[Observation]) -> None:
        """Durable on return. Raises TierError, and then nothing of this call is promised."""
        ...

    async def aclose(self) -> None: ...


class ShardStore(Protocol):
    """What one shard keeps: the spool first, then hot and cold. Used by the one holder of the shard's lease."""

    def state(self, endpoint: str) -> EndpointState | None:
        """The last state, including what was acknowledged a moment ago."""
        ...

    async def acknowledge(self, observation: Observation, not_before: datetime | None) -> bytes:
        """Durable in the spool on return; hot and cold follow. Returns it encoded.

        Raises TierError, and then nothing is promised.
        """
        ...

    def pending(self) -> Iterator[bytes]:
        """Encoded observations found at opening, which a coordinator may not have folded yet; read one by one."""
        ...

    @property
    def postponed(self) -> TierError | None:
        """Why hot and cold wait, and the spool alone has what was acknowledged: there is no room, for example."""
        ...

    async def flush(self) -> None:
        """Hot and cold hold all that was acknowledged, unless it is `postponed`."""
        ...

    async def rest(self) -> None:
        """Flush, and let go of what was acknowledged: only a few endpoints are still waited for."""
        ...

    async def release(self) -> None:
        """The coordinator committed all of it: the spool may forget what is also in hot and cold."""
        ...


class Outlet(Protocol):
    """The way of a shard's observations to the coordinator, wherever that runs."""

    async def publish(self, site: str, shard: int, data: bytes) -> None:
        """Hand over one encoded observation; waits while the coordinator is behind."""
        ...

    async def committed(self, site: str, shard: int) -> bool:
        """Wait until everything published for this shard is committed; False when it could not be."""
        ...


class Fence(Protocol):
    """The right to poll a shard and to write what was seen; see `rmm.core.lease`."""

    def fence_of(self, site: str, shard: int) -> int:
        """The fence under which this shard may be polled and written now; 0 where there is no other collector.

        Raises LeaseLost as soon as it may not. It costs no question to anybody, and is asked before every step.
        """
        ...


class Channel(Protocol):
    """Delivers notifications. A retry belongs to the caller; `send` says by its error whether one can help."""

    name: str

    async def send(self, notification: Notification, *, deadline: float) -> str:
        """Deliver; returns a short receipt for the log."""
        ...


class HistoryReader(Protocol):
    """Read access to the history of endpoints, wherever its parts lie: what commands, reports and dashboards use.

    A metric is `collector.field`, or `collector.field[row key]` where a reading has several rows. Without the key it
    means the only row, or `_Total`. A text of another form is a ValueError; a file that cannot be read a TierError.
    `since` and `until` are both part of the span.
    """

    def metrics(self, endpoint: str, *, since: datetime, until: datetime) -> Sequence[str]:
        """Names of all metrics that have samples in this time."""
        ...

    def history(
        self, endpoint: str, metric: str, *, since: datetime, until: datetime
    ) -> Sequence[tuple[datetime, float]]:
        """Samples, oldest first; where a sample says nothing, there is none."""
        ...

    def rollups(
        self, endpoint: str, metric: str, *, since: datetime, until: datetime, step: Literal["hour", "day"]
    ) -> Sequence[Rollup]:
        """Hours or days of UTC, oldest first: all that the span touches, each of them whole.

        So the answer is the same whether an hour is kept as samples or as what they came to.
        """
        ...

    def values(self, endpoint: str, metric: str, *, since: datetime, until: datetime) -> Sequence[tuple[datetime, Any]]:
        """What a text, state, boolean or time was: the value that stood at `since`, then each that differs."""
        ...


class FleetReader(HistoryReader, Protocol):
    """Read access to the fleet view for commands and reports. All rows are plain dictionaries."""

    def endpoints(self, *, site: str = "") -> list[dict[str, Any]]:
        """One row per endpoint.

        endpoint, name, site, shard, status, fault_code, hint, observed_at, health, health_status, duration_s, facts
        (dict: os, cpu_pct, memory_pct, volumes_max_pct, uptime_s, model, serial ...).
        """
        ...

    def alerts(self, *, states: Sequence[str] = (), endpoint: str = "") -> list[dict[str, Any]]: ...

    def readings(self, endpoint: str) -> dict[str, Any]:
        """The last reading of each collector of one endpoint: name -> CollectorResult as plain data, plus `at`."""
        ...


class SecretSource(Protocol):
    """Gives credentials by name."""

    def credential(self, name: str) -> Credential:
        """Raises VaultError when there is none."""
        ...


class Clock(Protocol):
    """Time for the shells; `core` gets it as an argument."""

    def now(self) -> datetime:
        """UTC-aware wall time."""
        ...

    def monotonic(self) -> float: ...


__all__ = [
    "AuthAttempt",
    "AuthGate",
    "Bus",
    "Channel",
    "Clock",
    "Delivery",
    "ErrorRecord",
    "Fence",
    "FleetReader",
    "HistoryReader",
    "Identified",
    "Keyed",
    "Keys",
    "Ladder",
    "Look",
    "Outlet",
    "Recorder",
    "Rung",
    "Script",
    "ScriptResult",
    "SecretSource",
    "Session",
    "ShardStore",
    "Tier",
    "Told",
    "Transport",
]
