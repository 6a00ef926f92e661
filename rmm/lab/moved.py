"""The times of a sample, moved to when the lab runs: what was two days old when it was taken is two days old there."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

# ISO 8601 in UTC, and the form in which Windows Update writes times into the registry.
_TIME = re.compile(r"(\d{4}-\d{2}-\d{2})(?:T(\d{2}:\d{2}:\d{2})((?:\.\d{1,7})?Z)| (\d{2}:\d{2}:\d{2})())(?![\d.])")
_SETTLED = "2015"  # older are epochs that stand for "never", and dates of products

_SIGNED = frozenset({"NotBefore", "NotAfter"})  # stand in a certificate, which cannot be changed


def moved(value: Any, by: timedelta) -> Any:
    """The value with every time in its texts moved; other forms (FILETIME, certificates, mere days) stay."""
    if isinstance(value, str):
        return _moved_text(value, by) if value[:2] == "20" or value[:1] == "{" else value
    if isinstance(value, dict):
        return {key: item if key in _SIGNED else moved(item, by) for key, item in value.items()}
    if isinstance(value, list):
        return [moved(item, by) for item in value]
    return value


@lru_cache(maxsize=4096)
def _moved_text(text: str, by: timedelta) -> str:
    """A time, or a JSON text with times in it, which is what a file holds."""
    if text[:1] != "{" and _TIME.fullmatch(text) is None:
        return text
    return _TIME.sub(lambda match: _later(match, by), text)


def _later(match: re.Match[str], by: timedelta) -> str:
    if match[1] < _SETTLED:
        return match[0]
    at = datetime.fromisoformat(f"{match[1]} {match[2] or match[4]}").replace(tzinfo=UTC) + by
    return f"{at:%Y-%m-%dT%H:%M:%S}{match[3]}" if match[2] else f"{at:%Y-%m-%d %H:%M:%S}"


def age_of(content: dict[str, Any], started: float) -> timedelta:
    """How long before the lab's start, in whole seconds, a sample was taken."""
    at = datetime.fromisoformat(content["observed_at"]) if "observed_at" in content else None
    return timedelta(seconds=round(started - at.timestamp())) if at is not None else timedelta()
