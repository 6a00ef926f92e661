"""The forecast of a volume."""

from __future__ import annotations

import random

import pytest

from rmm.core.capacity import LEAST, capacity


def test_a_line_meets_the_limit() -> None:
    found = capacity([(day, 50 + 2.0 * day) for day in range(10)], 100)
    assert found is not None
    assert found.per_day == pytest.approx(2) and found.days == pytest.approx((100 - 68) / 2) and found.fit == 1


@pytest.mark.parametrize("points", [[(day, 50.0) for day in range(10)], [(day, 90.0 - day) for day in range(10)]])
def test_what_does_not_grow_is_never_full(points: list[tuple[float, float]]) -> None:
    found = capacity(points, 100)
    assert found is not None and found.days is None


def test_noise_is_no_line() -> None:
    dice = random.Random(7)
    found = capacity([(day, 50 + dice.uniform(-5, 5)) for day in range(30)], 100)
    assert found is not None and found.days is None and found.fit < 0.6


def test_few_days_say_nothing_and_a_full_one_is_full() -> None:
    assert capacity([(day, 50.0 + day) for day in range(LEAST - 1)], 100) is None
    full = capacity([(day, 100.0) for day in range(LEAST)], 100)
    assert full is not None and full.days == 0
