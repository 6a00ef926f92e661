"""The forecast of the data folder's size."""

import pytest

from rmm.core.budget import GB, Part, forecast
from rmm.model.settings import DiskSettings

SIZE = 100 * GB


@pytest.mark.parametrize(
    ("days", "keep", "budget", "reached"),
    [(10, 0, 20, 10), (10, 0, 10, 0), (10, 0, 9, 0), (10, 0, 10.5, 1), (10, 15, 15, 5), (10, 15, 15.1, -1),
     (20, 15, 10.1, -1), (10, 0, 4000, -1)],
)  # fmt: skip
def test_the_day_of_a_budget(days: int, keep: int, budget: float, reached: int) -> None:
    told = forecast(
        [Part("raw", 10 * GB, days, keep)], DiskSettings(budget_gb=budget, keep_free_gb=0), free=SIZE, size=SIZE
    )
    assert told.budget_days == reached


def test_what_is_told_and_when() -> None:
    parts = [Part("raw", 7 * GB, 7, 97), Part("hourly", GB, 10, 0), Part("hot", GB, 0, 0)]
    calm = forecast(parts, DiskSettings(), free=80 * GB, size=SIZE)
    assert (calm.total, calm.growth, calm.levels_out, calm.budget_days, calm.trouble) == (
        9 * GB,
        1.1 * GB,
        None,
        -1,
        "",
    )
    assert calm.disk_days == 72  # 79 GB at 1.1 GB a day
    soon = forecast(parts, DiskSettings(warn_days=80), free=80 * GB, size=SIZE)
    assert soon.trouble == (
        "the data folder reaches the last 1.0 GB of its disk in 72 days (9.0 GB, 1.1 GB more a day, 80.0 GB free)"
    )
    both = forecast(parts, DiskSettings(budget_gb=5), free=GB, size=SIZE)
    assert both.trouble.startswith("the data folder has reached its budget of 5 GB and has reached the last 1.0 GB of")
    assert forecast(parts[:1], DiskSettings(), free=0, size=GB).disk_days == 0
    assert forecast(parts[:1], DiskSettings(), free=0, size=GB).levels_out == 97 * GB
    assert forecast(parts[2:], DiskSettings(), free=80 * GB, size=SIZE).growth is None
    assert forecast([], DiskSettings(), free=GB, size=10 * GB).trouble == ""  # of a small disk a twentieth is kept
