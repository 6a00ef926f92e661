"""Is the machine that answered the endpoint that was asked? Decided before anything is stored."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping


def short_name(name: str) -> str:
    """The NetBIOS form in which Windows compares names: first label, 15 characters, lower case."""
    return name.strip().split(".")[0][:15].casefold()


def mismatch(expected: str, known: Mapping[str, str], evidence: Mapping[str, str]) -> str:
    """Why `evidence` is of another machine; empty when it is not, or when nothing can be said.

    Args:
        expected: the endpoint's configured name. An IP address says nothing about the machine, so then the name
            that was learned at the first poll (`known["name"]`) is what is expected.
        known: identity stored with the endpoint's last state.
        evidence: what this session showed; `name` is the ComputerName.
    """
    seen = evidence.get("name", "")
    if not seen:
        return ""
    wanted = known.get("name", "") if _is_address(expected) else expected
    if not wanted or short_name(wanted) == short_name(seen):
        return ""
    return f"{wanted} was asked, {seen} answered"


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
