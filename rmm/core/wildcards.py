"""Patterns with * and ?, as people write them for names."""

from __future__ import annotations

import re
from collections.abc import Callable


def pattern(wanted: str) -> Callable[[str], bool]:
    """Whether a text is like `wanted`: * stands for any characters and ? for one; without both, anywhere in it.

    The time is that of as many searches as there are stars: what lies between two is not tried again.
    """
    folded = wanted.casefold()
    if "*" not in folded and "?" not in folded:
        return lambda value: folded in value.casefold()
    first, *others = [re.escape(part).replace(r"\?", ".") for part in re.sub(r"\*+", "*", folded).split("*")]
    middle = "".join(f"(?>.*?{part})" for part in others[:-1])
    last = f".*{others[-1]}" if others else ""
    matches = re.compile(f"(?s:{first}{middle}{last})\\Z").match
    return lambda value: matches(value.casefold()) is not None
