"""The breaker: a wrong password costs one logon in a round and two in a window, whatever asks."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from rmm.core import authguard
from rmm.core.authguard import BUDGET, CANARY, GO, HELD, WINDOW, Guard, ask
from rmm.model.endpoint import Credential, Secret

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


def test_a_new_credential_sends_a_canary_first() -> None:
    assert ask(Guard(), NOW, "r1") == CANARY


def test_proof_opens_the_way_for_the_round_and_not_for_ever() -> None:
    proven = authguard.accepted(Guard(), NOW)
    assert ask(proven, NOW + timedelta(seconds=59), "r1") == GO
    assert ask(proven, NOW + timedelta(minutes=5), "r2") == CANARY
    assert ask(proven, NOW - timedelta(hours=1), "r2") == CANARY  # the clock was set back


def test_a_rejected_canary_holds_the_round_and_two_hold_the_window() -> None:
    one = authguard.rejected(Guard(), NOW, "r1", canary=True)
    assert ask(one, NOW, "r1") == HELD
    assert ask(one, NOW + timedelta(minutes=5), "r2") == CANARY
    two = authguard.rejected(one, NOW + timedelta(minutes=5), "r2", canary=True)
    assert ask(two, NOW + timedelta(minutes=10), "r3") == HELD
    assert ask(two, NOW + timedelta(minutes=5) + WINDOW, "r4") == CANARY


def test_one_endpoint_that_rejects_a_proven_credential_does_not_stop_the_others() -> None:
    guard = authguard.accepted(Guard(), NOW)
    for _ in range(10):
        guard = authguard.rejected(guard, NOW, "r1", canary=False)
        assert ask(guard, NOW, "r1") == CANARY
        guard = authguard.accepted(guard, NOW)
        assert ask(guard, NOW, "r1") == GO


def test_a_password_changed_in_mid_round_stops_after_the_canary() -> None:
    guard = authguard.accepted(Guard(), NOW)
    guard = authguard.rejected(guard, NOW, "r1", canary=False)
    guard = authguard.rejected(guard, NOW, "r1", canary=True)
    assert ask(guard, NOW, "r1") == HELD
    assert ask(guard, NOW, "r2") == HELD


@given(st.lists(st.integers(0, 3600), max_size=60))
def test_a_wrong_password_never_costs_more_than_the_budget_in_a_window(gaps: list[int]) -> None:
    guard, now, spent = Guard(), NOW, []
    for round_number, gap in enumerate(gaps):
        now += timedelta(seconds=gap)
        for _endpoint in range(3):
            if ask(guard, now, str(round_number)) != HELD:
                guard = authguard.rejected(guard, now, str(round_number), canary=True)
                spent.append(now)
    assert all(sum(at <= other < at + WINDOW for other in spent) <= BUDGET for at in spent)


def test_what_is_counted_together() -> None:
    def key(username: str, host: str, version: str = "1") -> str:
        return authguard.key_of(Credential(name="c", username=username, secret=Secret("x"), version=version), host)

    assert key("CORP\\poll", "a") == key("corp\\POLL", "b")
    assert key("poll@corp.example", "a") == key("poll@corp.example", "b")
    assert key("Administrator", "a") != key("Administrator", "b")
    assert key(".\\Administrator", "a") != key(".\\Administrator", "b")
    assert key("CORP\\poll", "a", "1") != key("CORP\\poll", "a", "2")
