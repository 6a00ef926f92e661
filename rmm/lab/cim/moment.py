"""A machine at one moment: what the providers of CIM classes are given."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from rmm.lab.fixtures import Fixtures
from rmm.lab.profile import Catalogue, ServiceSpec, SoftwareSpec
from rmm.lab.state import HOUR, MachineState

Row = dict[str, Any]
Provider = Callable[["Moment"], list[Row]]

_FILETIME_EPOCH = 11_644_473_600  # seconds from 1601 to 1970


class World:
    """What all machines of a lab share: the catalogue, and bounded caches that providers keep there."""

    __slots__ = ("catalogue", "fixtures", "installed", "service_rows", "services")

    def __init__(self, catalogue: Catalogue, fixtures: Fixtures) -> None:
        self.catalogue = catalogue
        self.fixtures = fixtures
        self.services: dict[Any, Any] = {}
        self.service_rows: dict[Any, Any] = {}
        self.installed: dict[tuple[str, ...], dict[str, ServiceSpec]] = {}


class Moment:
    """`t` is the true Unix time, `clock` what the machine believes it to be.

    `seen` keeps the rows of the classes already asked for, so that several questions of one poll agree and cost once.
    """

    __slots__ = ("clock", "machine", "programs", "seen", "t", "world")

    def __init__(self, machine: MachineState, now: datetime, world: World) -> None:
        self.machine = machine
        self.t = max(now.timestamp(), machine.boot + 1.0)
        self.clock = self.t + machine.skew
        self.world = world
        self.seen: dict[str, list[Row]] = {}
        self.programs: dict[tuple[str, str], SoftwareSpec] = {}  # by architecture and lower-case id, once asked for

    @property
    def elapsed(self) -> float:
        """Seconds since boot."""
        return self.t - self.machine.boot

    @property
    def hours(self) -> float:
        """Hours since the lab's start."""
        return (self.t - self.machine.started) / HOUR

    def stamps(self, frequency: int = 0) -> Row:
        """The time stamps that every raw counter instance carries. `frequency` is the object's own, 100 ns where 0."""
        filetime = int((self.clock + _FILETIME_EPOCH) * 10_000_000)
        ticks = int(self.elapsed * self.machine.os.perf_frequency)
        return {
            "Timestamp_Sys100NS": filetime,
            "Timestamp_PerfTime": ticks,
            "Timestamp_Object": ticks if frequency else filetime,
            "Frequency_Sys100NS": 10_000_000,
            "Frequency_PerfTime": self.machine.os.perf_frequency,
            "Frequency_Object": frequency or 10_000_000,
        }

    def filetime(self, unix: float) -> int:
        """A Unix time as 100 ns since 1601."""
        return int((unix + _FILETIME_EPOCH) * 10_000_000)


def when(unix: float) -> datetime:
    """An aware UTC time; half a second is the finest that Windows gives for boot and installation."""
    return datetime.fromtimestamp(round(unix * 2) / 2, UTC)
