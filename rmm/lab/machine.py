"""The contract between the lab's wire and its simulated machines: types only.

The concrete ones are `rmm.lab.fleet.LabFleet(count, seed=1, started=...)`, whose machines are made on demand, and
`rmm.lab.engine_samples.SamplesEngine(catalog)`. Nothing here opens a socket or reads a clock.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple, Protocol

INVALID_CLASS = 0x80041010  # WBEM_E_INVALID_CLASS
INVALID_QUERY = 0x80041017  # WBEM_E_INVALID_QUERY
INVALID_NAMESPACE = 0x8004100E  # WBEM_E_INVALID_NAMESPACE


class CimInstances(NamedTuple):
    """What a WQL query found.

    `types` maps each selected property, in order, to its CIM type (`uint64`, `datetime`, `string[]`); every row has
    exactly these properties, as Python values: None for null, aware datetimes, ints, bools, lists for arrays.
    """

    class_name: str
    namespace: str
    types: dict[str, str]
    rows: list[dict[str, Any]]


class CimFault(Exception):
    """WMI refused a query: `code` is an HRESULT such as 0x80041010, or a WSManFault code."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class ErrorInfo(NamedTuple):
    """One PowerShell error record.

    `error_id` is the FullyQualifiedErrorId, `category` the ErrorCategory name, `exception` the .NET type name.
    """

    error_id: str
    category: str
    message: str
    exception: str
    terminating: bool = False


class Execution(NamedTuple):
    """What running a script gave.

    `output` items are mostly str; `delay_s` is how long the wire shall wait before it answers; `failed` means that
    the pipeline ends in state Failed with the last of `errors`.
    """

    output: list[Any]
    errors: list[ErrorInfo]
    failed: bool = False
    delay_s: float = 0.0


class Machine(Protocol):
    """One simulated endpoint. Every answer is a function of the fleet's seed, the machine and `now`."""

    @property
    def index(self) -> int: ...

    @property
    def name(self) -> str:
        """NetBIOS name, at most 15 characters, upper case."""
        ...

    @property
    def dns_name(self) -> str: ...

    @property
    def domain(self) -> str:
        """DNS name of the domain, or WORKGROUP."""
        ...

    @property
    def address(self) -> str:
        """127.x.y.z, never in 127.0.0.0/24."""
        ...

    @property
    def profile(self) -> str:
        """Name of the operating system's profile, e.g. `server2022`."""
        ...

    @property
    def uuid(self) -> str: ...

    @property
    def os_version(self) -> str:
        """Such as 10.0.20348, for WS-Identify."""
        ...

    def query(self, namespace: str, wql: str, now: datetime) -> CimInstances:
        """Answer a WQL query. Raises CimFault."""
        ...


class Fleet(Protocol):
    """All machines of one lab; machines are created lazily, so 10,000 cost little."""

    def machine_at(self, address: str) -> Machine | None: ...

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Machine]: ...


class Engine(Protocol):
    """Runs scripts on machines. Synchronous: it only computes."""

    def execute(
        self,
        machine: Machine,
        text: str,
        arguments: list[tuple[str | None, Any]],
        now: datetime,
        language: str = "powershell",
    ) -> Execution: ...
