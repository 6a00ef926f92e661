"""Smooth load curves and their integrals: what a raw performance counter is.

A curve is a never negative rate over time; its counter is the exact integral since boot. So two samples of one machine,
taken whenever, give the rate that the curve had in between, and a counter never goes back.
"""

from __future__ import annotations

from math import cos, pi, sin
from typing import NamedTuple

_DAY = 2 * pi / 86_400.0


class Curve(NamedTuple):
    """rate(t) = mean * (1 + day * sin(daily wave) + fast * sin(faster wave)), with day + fast < 1.

    `t` is in Unix seconds (true time, so every machine has its own, but lasting, place in the day).
    """

    mean: float
    day: float = 0.35
    fast: float = 0.25
    period: float = 540.0  # seconds of the faster wave
    phase: float = 0.0

    def rate(self, t: float) -> float:
        """The rate at time `t`, in units per second."""
        return self.mean * (
            1.0 + self.day * sin(_DAY * t + self.phase) + self.fast * sin(2 * pi / self.period * t + 3.0 * self.phase)
        )

    def total(self, start: float, t: float) -> float:
        """The integral of the rate from `start` to `t`: the counter at `t` of a machine that booted at `start`."""
        quick = 2 * pi / self.period
        return self.mean * (
            (t - start)
            + self.day / _DAY * (cos(_DAY * start + self.phase) - cos(_DAY * t + self.phase))
            + self.fast / quick * (cos(quick * start + 3.0 * self.phase) - cos(quick * t + 3.0 * self.phase))
        )


def wrap32(value: float) -> int:
    """A counter as Windows keeps it in 32 bits: it starts again at zero after 4,294,967,295."""
    return int(value) & 0xFFFFFFFF


def saturate(value: float, low: float, high: float) -> float:
    return low if value < low else min(value, high)
