"""Samples of realistic shapes for the benchmarks of the store: sixty metrics of an endpoint, one every five minutes.

The metrics, their rounding and their orders of magnitude are those of the collectors that every poll reads (cpu, disk,
memory, network, system, volumes, self). Load follows the day and the week, with noise that remembers its last value and
now and then a burst; a third of the machines idles at night. Nothing here is a recording of a real machine.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from typing import Any

STEP_S = 300
DAY_S = 86_400
Readings = dict[str, list[dict[str, Any]]]


class Machine:
    """One endpoint; `readings(at)` for growing times. Equal seeds give equal samples."""

    def __init__(self, seed: int, begin: int) -> None:
        dice = self._dice = random.Random(seed)
        self._load = 0.0  # noise that remembers, around 0
        self._burst = 0
        self._office = dice.random() < 0.66
        self._busy = dice.choice((2.0, 5.0, 5.0, 15.0, 40.0))  # per cent of its processors at noon
        self._memory = dice.choice((8, 16, 16, 32, 64)) << 30
        self._used = self._memory * dice.uniform(0.3, 0.7)
        self._bandwidth = dice.choice((1_000_000_000, 1_000_000_000, 10_000_000_000))
        self._volumes = [(dice.choice((127, 256, 512)) << 30) - 4096 * dice.randrange(1000) for _ in range(2)]
        self._free = [size * dice.uniform(0.2, 0.8) for size in self._volumes]
        self._booted = begin - dice.randrange(1, 40) * DAY_S - dice.randrange(DAY_S)
        self._frequency = dice.choice((2100, 2400, 2900, 3600))
        self._handles = dice.randrange(90, 250)
        self._slow = dice.uniform(0.7, 3.0)

    def readings(self, at: int) -> Readings:
        """All readings at `at` (seconds since 1970)."""
        dice = self._dice
        level = self._level(at)
        return {
            "cpu": [self._cpu(level)],
            "disk": [self._disk(level)],
            "memory": [self._memories(level)],
            "network": [self._network(level)],
            "system": [self._system(level, at)],
            "volumes": [self._volume(index, at) for index in range(2)],
            "self": [self._self(dice)],
        }

    def _level(self, at: int) -> float:
        """Load from 0 on; 1 at the busiest hour of a working day."""
        hour, weekday = at % DAY_S / 3600, (at // DAY_S + 3) % 7
        day = math.exp(-(((hour - 13) / 4) ** 2)) if self._office else 0.6
        if self._office and weekday >= 5:
            day *= 0.15
        self._load = 0.85 * self._load + self._dice.gauss(0, 0.12)
        if self._burst == 0 and self._dice.random() < 0.004:
            self._burst = self._dice.randrange(1, 12)
        self._burst = max(0, self._burst - 1)
        return max(0.0, (0.08 + day) * (1 + self._load) + (1.5 if self._burst else 0.0))

    def _rate(self, level: float, scale: float, spread: float = 0.25) -> float:
        return level * scale * math.exp(self._dice.gauss(0, spread))

    def _cpu(self, level: float) -> dict[str, Any]:
        busy = min(100.0, self._rate(level, self._busy))
        user = busy * self._dice.uniform(0.6, 0.75)
        return {
            "util_pct": round(busy, 2), "user_pct": round(user, 2), "privileged_pct": round(busy - user, 2),
            "interrupt_pct": round(busy * 0.02, 2), "dpc_pct": round(busy * 0.03, 2), "frequency_mhz": self._frequency,
        }  # fmt: skip

    def _disk(self, level: float) -> dict[str, Any]:
        reads, writes = self._rate(level, 40), self._rate(level, 30)
        busy = min(100.0, (reads + writes) * 0.2)
        return {
            "reads_per_s": round(reads, 3), "writes_per_s": round(writes, 3),
            "read_b_per_s": round(reads * self._dice.uniform(16e3, 48e3)), "write_b_per_s": round(writes * 12e3),
            "read_latency_s": round(self._dice.gammavariate(4, 0.0004), 6),
            "write_latency_s": round(self._dice.gammavariate(4, 0.0006), 6),
            "queue": round(busy / 100 * self._dice.random(), 3), "idle_pct": round(100 - busy, 2),
            "split_io_per_s": 0.0,
        }  # fmt: skip

    def _memories(self, level: float) -> dict[str, Any]:
        self._used += (self._memory * (0.35 + 0.2 * min(1.0, level)) - self._used) * 0.05 + self._dice.gauss(0, 3e7)
        used = int(min(max(self._used, self._memory * 0.1), self._memory * 0.97)) // 4096 * 4096
        committed, limit = int(used * 1.15) // 4096 * 4096, self._memory + (self._memory >> 3)
        return {
            "total_b": self._memory, "available_b": self._memory - used,
            "used_pct": round(100 * used / self._memory, 3),
            "committed_b": committed, "commit_limit_b": limit, "commit_pct": round(100 * committed / limit, 3),
            "pages_per_s": round(self._rate(level, 12, 1.0), 3),
            "pool_paged_b": 412_532_736 + 4096 * self._dice.randrange(300),
            "pool_nonpaged_b": 268_435_456 + 4096 * self._dice.randrange(100),
            "free_system_ptes": 12_300_000 - self._dice.randrange(2000), "pagefile_used_pct": round(7 + 2 * level, 1),
        }  # fmt: skip

    def _network(self, level: float) -> dict[str, Any]:
        received, sent = self._rate(level, 5e6, 0.5), self._rate(level, 2e6, 0.5)
        return {
            "rx_b_per_s": round(received), "tx_b_per_s": round(sent), "rx_packets_per_s": round(received / 900, 3),
            "tx_packets_per_s": round(sent / 700, 3), "rx_errors_per_s": 0.0, "tx_errors_per_s": 0.0,
            "rx_discards_per_s": round(0.003, 3) if self._dice.random() < 0.01 else 0.0, "tx_discards_per_s": 0.0,
            "out_queue": 0, "bandwidth_bps": self._bandwidth,
            "util_pct": round(800 * (received + sent) / self._bandwidth, 3),
        }  # fmt: skip

    def _system(self, level: float, at: int) -> dict[str, Any]:
        processes = self._handles + int(8 * level) + self._dice.randrange(3)
        return {
            "uptime_s": at - self._booted, "clock_skew_s": round(self._dice.gauss(0, 0.004), 3),
            "processes": processes, "threads": processes * 14 + self._dice.randrange(40),
            "queue_length": int(level > 1.3), "context_switches_per_s": round(self._rate(0.3 + level, 4200), 1),
            "system_calls_per_s": round(self._rate(0.3 + level, 15000), 1),
        }  # fmt: skip

    def _volume(self, index: int, at: int) -> dict[str, Any]:
        size = self._volumes[index]
        if index == 0 or self._burst:
            self._free[index] -= self._dice.expovariate(1 / 2e6) if self._dice.random() < 0.5 else 0
        if self._free[index] < size * 0.15 or at % (7 * DAY_S) < STEP_S:
            self._free[index] = size * 0.4  # somebody tidied up
        free = int(self._free[index]) // 4096 * 4096
        return {
            "drive": "CD"[index] + ":",
            "size_b": size,
            "free_b": free,
            "used_pct": round(100 - 100 * free / size, 2),
        }

    def _self(self, dice: random.Random) -> dict[str, Any]:
        gather = dice.gammavariate(20, 25 * self._slow)
        return {
            "total_ms": round(gather + dice.gammavariate(10, 12), 3), "gather_ms": round(gather, 1),
            "queue_wait_ms": round(dice.expovariate(0.5), 3), "bytes_in": 48_000 + dice.randrange(800),
            "bytes_out": 23_904, "requests": 7, "shells_opened": 1, "retries": 0, "collectors": 11, "faults": 0,
        }  # fmt: skip


def times(begin: int, days: int, seed: int) -> Iterator[int]:
    """Times of an endpoint's polls, in microseconds: every five minutes at its own offset, some milliseconds late."""
    dice = random.Random(seed ^ 0x5EED)
    offset = dice.randrange(STEP_S)
    for step in range(days * DAY_S // STEP_S):
        yield (begin + step * STEP_S + offset) * 1_000_000 + round(abs(dice.gauss(0, 400))) * 1000
