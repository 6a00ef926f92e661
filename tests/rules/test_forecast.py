"""Forecasts: growth is foreseen, and nothing that only looks like it."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest

from rmm.core.forecast import NEVER, forecast, line
from rmm.core.measures import HELD, MEASURED, Context, measured
from rmm.core.rules import compile_rules
from rmm.model.rule import Rule

HOUR = 3600.0
FULL = Rule(
    id="full", collector="volumes", field="used_pct", measure="forecast", reach=100, op="<", warning=24, critical=6,
    hysteresis=6, window_s=86_400, span_s=21_600,
)  # fmt: skip


def fires(values: Callable[[int], float], polls: int, rule: Rule = FULL) -> list[tuple[int, float]]:
    """(poll, hours) of each poll, five minutes apart, of which the rule would fire."""
    memory: dict[str, object] = {}
    found = []
    for poll in range(polls):
        context = Context("a", poll * 300.0, memory, set())
        (row,) = measured(rule, [("C:", {"volume": "C:", "used_pct": values(poll)})], context)
        if row[MEASURED] is not None and row[MEASURED] < rule.warning:
            found.append((poll, row[MEASURED]))
    return found


def test_a_volume_that_fills_is_foreseen_about_a_day_ahead() -> None:
    dice = random.Random(1)
    per_poll = 50 / (72 * 12)  # from 50 % to full in three days
    found = fires(lambda poll: 50 + poll * per_poll + dice.gauss(0, 0.2), 72 * 12)
    first, hours = found[0]
    left = 72 - first / 12
    assert 20 < left < 25
    assert hours == pytest.approx(left, abs=1.5)
    assert [left for poll, left in found if abs(72 - poll / 12 - left) > 5] == []


def test_what_has_begun_lately_is_seen_within_ten_hours() -> None:
    flat = 48 * 12
    found = fires(lambda poll: 30 if poll < flat else 30 + (poll - flat) * 3 / 12, flat + 20 * 12)
    assert 6 * 12 <= found[0][0] - flat <= 10 * 12


def noise(seed: int, polls: int) -> dict[str, list[float]]:
    """Weeks of values that go nowhere."""
    dice = random.Random(seed)
    white = [97 + dice.gauss(0, 1.0) for _ in range(polls)]
    wave, walk, tidied, steps, spikes = [], [], [], [], []
    level, left, step = 80.0, 0.0, 70.0
    for poll in range(polls):
        wave.append(85 + 4 * math.sin(poll / 288 * 2 * math.pi + seed) + dice.gauss(0, 0.3))
        level = min(max(level + dice.gauss(0, 0.02), 60), 97)
        walk.append(level)
        left = 0 if poll % 288 == 0 else left + 0.02
        tidied.append(80 + left + dice.gauss(0, 0.05))
        step = min(max(step + dice.choice((-5, 5)), 40), 95) if dice.random() < 0.002 else step
        steps.append(step)
        spikes.append(99.9 if dice.random() < 0.05 else 60.0)
    return {"white": white, "wave": wave, "walk": walk, "tidied": tidied, "steps": steps, "spikes": spikes}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", ["white", "wave", "walk", "tidied", "steps", "spikes"])
def test_noise_never_fires(kind: str, seed: int) -> None:
    values = noise(seed, 14 * 288)[kind]
    assert fires(values.__getitem__, len(values)) == []


def test_too_short_a_past_says_nothing() -> None:
    assert forecast([0, 300, 600], [50, 60, 70], 100, 0, HOUR) is None
    times = [300.0 * n for n in range(40)]
    assert forecast(times, [50 + n for n in range(40)], 100, 6 * HOUR, 24 * HOUR) is None
    found = forecast(times, [50 + n for n in range(40)], 100, HOUR, 3 * HOUR)
    assert found is not None and found.sure and found.seconds == pytest.approx(11 * 300)


def test_what_goes_away_from_the_limit_never_reaches_it() -> None:
    times = [600.0 * n for n in range(48)]
    assert forecast(times, [90 - n for n in range(48)], 100, HOUR, 3 * HOUR) == (NEVER, True)
    down = forecast(times, [90 - n for n in range(48)], 0, HOUR, 3 * HOUR)
    assert down is not None and down.sure and down.seconds == pytest.approx(43 * 600)


def test_outliers_do_not_move_the_line() -> None:
    times = [float(n) for n in range(40)]
    values = [2 * n + (500 if n % 6 == 0 else 0) for n in range(40)]
    slope, level, _ = line(times, values)
    assert slope == pytest.approx(2, abs=0.3)
    assert level == pytest.approx(78, abs=6)


def test_what_is_not_sure_does_not_fire_but_keeps_what_fires() -> None:
    dice = random.Random(2)
    memory: dict[str, object] = {}
    rows = []
    for poll in range(25 * 12):
        context = Context("a", poll * 300.0, memory, set())
        rows += measured(FULL, [("C:", {"used_pct": 40 + poll / 12 * 1.5 + dice.gauss(0, 10)})], context)
    last = rows[-1]
    assert last[MEASURED] == NEVER and 0 < last[HELD] < 48
    severity = compile_rules([FULL])["volumes"][0].severity
    assert severity({MEASURED: NEVER, HELD: 20.0}, "") == ""
    assert severity({MEASURED: NEVER, HELD: 20.0}, "warning") == "warning"
    assert severity({MEASURED: NEVER, HELD: 31.0}, "warning") == ""


def test_what_is_remembered_is_bounded() -> None:
    memory: dict[str, dict[str, list[list[float]]]] = {}
    for poll in range(2000):
        rows = [(str(number), {"used_pct": 50.0}) for number in range(200)]
        measured(FULL, rows, Context("a", poll * 300.0, memory, set()))
    (slot,) = memory.values()
    assert len(slot) == 64
    assert max(len(kept[0]) for kept in slot.values()) <= 48
