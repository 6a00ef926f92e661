"""One simulated machine: who it is and how it lives, as a function of (seed, index, start of the lab).

Only lasting traits are here, small enough that 10,000 machines cost little; what they look like at a moment is
computed by `cim` and `registry` from these traits and the time.
"""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import NamedTuple

from rmm.lab.dice import Dice
from rmm.lab.load import Curve, saturate
from rmm.lab.profile import Language, Model, OsProfile, Zone

GIB = 1 << 30
HOUR, DAY = 3600.0, 86_400.0


class Drive(NamedTuple):
    """A volume with a letter, on a disk of its own.

    `used` is the share at the lab's start, `fill` what is added per hour; `activity` scales its traffic; `latency` in
    seconds per transfer.
    """

    letter: str
    label: str
    size: int
    used: float
    fill: float
    activity: float
    latency: float
    dirty: bool

    def used_share(self, hours: float) -> float:
        return saturate(self.used + self.fill * hours, 0.02, 0.995)


class Hardware(NamedTuple):
    """The chosen parts of a hardware model."""

    model: Model
    cpu: tuple[str, int, int, int]
    sockets: int
    memory: int  # bytes

    @property
    def cores(self) -> int:
        return self.sockets * self.cpu[1]

    @property
    def logical(self) -> int:
        return self.cores * self.cpu[2]


class MachineState:
    """The lasting traits of a simulated Windows machine. `load`, `memory_load` and `net_load` are 0..1."""

    __slots__ = (
        "address",
        "boot",
        "dns_name",
        "domain",
        "drives",
        "hardware",
        "index",
        "install",
        "installation",
        "language",
        "load",
        "memory_load",
        "name",
        "net_load",
        "os",
        "pagefile",
        "pending",
        "phase",
        "role",
        "seed",
        "serial",
        "skew",
        "started",
        "stopped",
        "uuid",
        "variant",
        "words",
        "zone",
    )

    def __init__(
        self, *, seed: int, index: int, name: str, address: str, role: str, profile: OsProfile, language: Language,
        model: Model, started: float, may_stop: tuple[str, ...], condition: str = "",
        words: frozenset[str] = frozenset(),
    ) -> None:  # fmt: skip
        self.seed, self.index, self.name, self.address = seed, index, name, address
        self.role, self.os, self.language, self.started = role, profile, language, started
        self._identity(Dice(seed, index, "identity"), model)
        self._parts(Dice(seed, index, "parts"), model)
        self._life(Dice(seed, index, "life"), may_stop)
        self.words = words
        if condition == "healthy":
            self._heal()
        elif condition == "degraded":
            self._degrade(may_stop)

    def _identity(self, dice: Dice, model: Model) -> None:
        workgroup = self.os.kind == "client" and dice.chance(0.15)
        self.domain = "WORKGROUP" if workgroup else "lab.example"
        self.dns_name = self.name.lower() if workgroup else f"{self.name.lower()}.lab.example"
        # The index is in both, so no two machines of a fleet share them whatever the dice say.
        digits = dice.hexadecimal(20) + f"{self.index:08X}" + dice.hexadecimal(4)
        self.uuid = f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{digits[16:20]}-{digits[20:32]}"
        self.installation = str(uuid.uuid5(uuid.UUID(self.uuid), "installation"))
        self.serial = _serial(model, digits, self.index)
        self.zone: Zone = dice.pick(self.language.zones)
        self.install = self.started - dice.uniform(40, 1500) * DAY

    def _parts(self, dice: Dice, model: Model) -> None:
        self.hardware = Hardware(model, dice.pick(model.cpus), dice.pick(model.sockets), dice.pick(model.memory) * GIB)
        self.pagefile = (
            0 if dice.chance(0.04) else int(min(self.hardware.memory, 16 * GIB) * dice.pick((0.15, 0.25, 1)))
        )
        labels = self.language.labels
        uses = [("C", "system")]
        if self.os.kind == "server":
            uses += [("D", "data")] * dice.chance(0.6) + [("E", "logs")] * dice.chance(0.25)
            uses += [("F", "backup")] * dice.chance(0.08)
        self.drives = tuple(_drive(dice, letter, labels[use], dice.pick(model.disks)) for letter, use in uses)

    def _life(self, dice: Dice, may_stop: tuple[str, ...]) -> None:
        self.boot = min(self.started - _uptime(dice), self.started - 90.0)
        self.install = min(self.install, self.boot - DAY)
        self.skew = dice.uniform(-0.4, 0.4) if dice.chance(0.97) else dice.pick((-1, 1)) * dice.uniform(61, 420)
        self.load = dice.uniform(0.85, 0.96) if dice.chance(0.06) else dice.uniform(0.02, 0.45)
        self.memory_load = dice.uniform(0.86, 0.97) if dice.chance(0.07) else dice.uniform(0.25, 0.75)
        self.net_load = dice.uniform(0.7, 0.93) if dice.chance(0.03) else dice.uniform(0.0004, 0.08)
        self.phase = dice.uniform(0.0, 6.28)
        self.variant = dice.between(0, 1)
        count = dice.between(1, 2) if dice.chance(0.15) else 0
        self.stopped = frozenset(dice.pick(may_stop) for _ in range(count))
        reasons = ("component_servicing", "windows_update", "file_rename", "computer_rename", "domain_join")
        often = (0.04, 0.07, 0.05, 0.01, 0.003)
        self.pending = tuple(reason for reason, share in zip(reasons, often, strict=True) if dice.chance(share))

    def _heal(self) -> None:
        """Nothing that an administrator would have to look at."""
        self.boot = max(self.boot, self.started - 20 * DAY)
        self.skew = 0.1
        self.load, self.memory_load, self.net_load = min(self.load, 0.4), min(self.memory_load, 0.7), 0.01
        self.stopped, self.pending = frozenset(), ()
        self.drives = tuple(
            drive._replace(used=min(drive.used, 0.6), fill=0.0, latency=0.002, dirty=False) for drive in self.drives
        )

    def _degrade(self, may_stop: tuple[str, ...]) -> None:
        """Everything that the shipped rules are about at once."""
        self.boot = min(self.boot, self.started - 120 * DAY)
        self.install = min(self.install, self.boot - DAY)
        self.skew = 190.0
        self.load, self.memory_load, self.net_load = 0.96, 0.96, 0.92
        self.stopped = frozenset(may_stop[:2])
        self.pending = ("component_servicing", "windows_update", "file_rename")
        self.drives = tuple(drive._replace(used=0.97, fill=0.0005, latency=0.06, dirty=True) for drive in self.drives)

    @property
    def profile(self) -> str:
        return self.os.name

    @property
    def os_version(self) -> str:
        return self.os.version

    @property
    def part_of_domain(self) -> bool:
        return self.domain != "WORKGROUP"

    def clock(self, now: datetime) -> float:
        """The machine's own idea of the Unix time."""
        return now.timestamp() + self.skew

    def cpu_curve(self, core: int) -> Curve:
        """Busy share of one logical processor; never above 0.985."""
        room = 0.985 / self.load - 1.0
        return Curve(
            self.load, min(0.35, room * 0.6), min(0.3, room * 0.35), 300.0 + 37.0 * (core % 5), self.phase + 0.7 * core
        )

    def memory_used(self, t: float) -> float:
        """Share of the physical memory in use."""
        return saturate(Curve(self.memory_load, 0.03, 0.02, 800.0, self.phase).rate(t), 0.05, 0.985)


def _serial(model: Model, digits: str, index: int) -> str:
    """A serial number as such makers write it; the index keeps it unique."""
    if model.vm == "vmware":
        text = (digits[:16] + f"{index:016x}").lower()
        pairs = [text[at : at + 2] for at in range(0, 32, 2)]
        return f"VMware-{' '.join(pairs[:8])}-{' '.join(pairs[8:])}"
    if model.vm == "hyperv":
        text = f"{int(digits[:12], 16) % 10**12:012d}{index:014d}"
        return "-".join((text[:4], text[4:8], text[8:12], text[12:16], text[16:20], text[20:24], text[24:26]))
    letters = "0123456789BCDFGHJKLMNPQRSTVWXYZ"
    tail = ""
    while index or len(tail) < 4:
        index, digit = divmod(index, len(letters))
        tail = letters[digit] + tail
    return "".join(letters[int(digit, 16)] for digit in digits[:3]) + tail


def _drive(dice: Dice, letter: str, label: str, gigabytes: int) -> Drive:
    fate = dice.uniform()
    used, fill = dice.uniform(0.15, 0.78), 0.0
    if fate < 0.04:
        used = dice.uniform(0.905, 0.98)
    elif fate < 0.10:
        used = dice.uniform(0.81, 0.9)
    elif fate < 0.16:
        used, fill = dice.uniform(0.5, 0.85), dice.uniform(0.003, 0.03)
    slow = dice.chance(0.04)
    return Drive(
        letter=letter,
        label=label,
        size=(gigabytes * 1_000_000_000 - 700_000_000) // 4096 * 4096,
        used=used,
        fill=fill,
        activity=dice.uniform(0.02, 1.0),
        latency=dice.uniform(0.03, 0.08) if slow else dice.uniform(0.0004, 0.006),
        dirty=dice.chance(0.01),
    )


def _uptime(dice: Dice) -> float:
    """Seconds since boot at the lab's start: mostly weeks, some hours, some more than a quarter of a year."""
    fate = dice.uniform()
    if fate < 0.03:
        return dice.uniform(120, 2 * HOUR)
    if fate < 0.75:
        return dice.uniform(0.2, 30) * DAY
    return dice.uniform(30, 90) * DAY if fate < 0.9 else dice.uniform(91, 400) * DAY
