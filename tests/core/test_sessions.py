"""Which session configuration follows which, and what is remembered of the choice."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmm.core.sessions import REMEMBERED, is_full, order, recall, remember, wider

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
FULL = [
    "Microsoft.PowerShell",
    "microsoft.powershell32",
    "PowerShell.7",
    "powershell.7.4.6",
    "PowerShell.7-preview",
    "winrs",
]
OWN = ["RmmJea", "Microsoft.PowerShell.Rmm", "PowerShellJea", "winrs2", "CORP.Monitoring"]
names = st.sampled_from(FULL + OWN)


@pytest.mark.parametrize("name", FULL)
def test_what_windows_brings_is_full(name: str) -> None:
    assert is_full(name)


@pytest.mark.parametrize("name", OWN)
def test_everything_else_may_be_restricted(name: str) -> None:
    assert not is_full(name)


@given(names, st.lists(names, max_size=4))
def test_a_list_that_is_accepted_never_leads_from_a_restricted_one_to_a_full_one(first: str, rest: list[str]) -> None:
    if wider(first, rest):
        return
    tried = [is_full(name) for name in order(first, rest)]
    assert tried == sorted(tried, reverse=True)


def test_which_names_are_refused() -> None:
    assert wider("RmmJea", ["Other", "winrs", "Microsoft.PowerShell"]) == ("winrs", "Microsoft.PowerShell")
    assert wider("Microsoft.PowerShell", ["RmmJea", "winrs"]) == ("winrs",)
    assert wider("PowerShell.7", ["Microsoft.PowerShell", "winrs", "RmmJea", "Other"]) == ()


def test_the_known_one_comes_first_if_it_is_in_the_list() -> None:
    assert order("a", ("b", "c", "a"), "c") == ("c", "a", "b")
    assert order("a", ("b",), "gone") == ("a", "b")
    assert order("a", ()) == ("a",)


def test_what_is_learnt_is_remembered_for_a_week() -> None:
    kept = remember({}, {"netbios": "A", "session": "winrs"}, NOW, opened=True)
    assert kept == {"session": "winrs", "session_at": NOW.isoformat()}
    assert recall(kept, NOW + REMEMBERED - timedelta(seconds=1)) == ("winrs", 0)
    assert recall(kept, NOW + REMEMBERED) == ("", 0)
    assert recall(kept, NOW - timedelta(days=1)) == ("", 0)
    later = NOW + timedelta(days=1)
    assert remember(kept, {"session": "winrs"}, later, opened=True) == kept
    assert remember(kept, {}, later, opened=False) == kept
    assert remember(kept, {}, later, opened=True) == {}
    assert remember(kept, {"session": "b", "idle_s": "60"}, later, opened=True) == {
        "session": "b", "idle_s": "60", "session_at": later.isoformat()
    }  # fmt: skip
    assert remember(kept, {}, NOW + REMEMBERED, opened=False) == {}
    assert remember({}, {}, NOW, opened=True) == {}


@pytest.mark.parametrize("at", ["", "yesterday", "2026-11-24T12:00:00", "9999"])
def test_a_damaged_memory_is_none(at: str) -> None:
    assert recall({"session": "winrs", "session_at": at}, NOW) == ("", 0)
    assert recall({"session": "winrs", "idle_s": "x", "session_at": NOW.isoformat()}, NOW) == ("", 0)
