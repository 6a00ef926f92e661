"""Public holidays by country and subdivision, from the package `holidays` (extra `calendars`)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from functools import lru_cache
from typing import Any

from rmm.core.alerting.hours import Holiday
from rmm.errors import ConfigError

MISSING = "pip install 'mytech-rmm[calendars]'."


def holiday_of(codes: Sequence[str], closed: Sequence[date] = ()) -> Holiday:
    """A function that names the holiday on a day: of any of the countries (DE or DE-BY), or one of `closed`.

    Raises ConfigError when the package is not installed and there are codes.
    """
    countries = [_country(code) for code in codes]
    own = frozenset(closed)

    def holiday(day: date) -> str:
        if day in own:
            return "closed"
        return next((str(name) for country in countries if (name := country.get(day))), "")

    return holiday


@lru_cache(maxsize=64)
def _country(code: str) -> Any:
    """The holidays of one country; years are worked out when they are first asked for."""
    try:
        import holidays
    except ModuleNotFoundError as error:
        raise ConfigError("holidays need the package holidays, which is not installed", hint=MISSING) from error
    country, _, subdivision = code.partition("-")
    return holidays.country_holidays(country, subdiv=subdivision or None)
