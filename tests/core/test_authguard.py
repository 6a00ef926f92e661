"""The lock-out machine: whatever asks, answers, crashes and breaks off, a directory never counts beyond the budget."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rmm.core import authguard
from rmm.core.authguard import BREAKS, CANARY, GO, HELD, NEXT, WAIT, Allowance, Flight, Guard, ask
from rmm.model.settings import LockoutSettings

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
LIMITS = LockoutSettings()
WINDOW = timedelta(seconds=LIMITS.window)
SECOND = timedelta(seconds=1)


def accepted(guard: Guard, host: str = "a", now: datetime = NOW, version: str = "1") -> Guard:
    return authguard.accepted(guard, version, host, now)


def rejected(guard: Guard, host: str = "a", now: datetime = NOW, version: str = "1") -> Guard:
    return authguard.rejected(guard, version, host, now, LIMITS)


def word(guard: Guard, host: str = "b", now: datetime = NOW, version: str = "1", **rest: object) -> str:
    return ask(guard, version, host, now, LIMITS, **rest).word  # type: ignore[arg-type]


def test_a_secret_that_was_never_accepted_sends_one_canary_and_the_others_wait() -> None:
    assert word(Guard()) == CANARY
    assert word(Guard(), flights=[Flight("1", "a", NOW)]) == WAIT


def test_a_rejected_canary_opens_for_the_window_and_then_one_goes() -> None:
    guard = rejected(Guard())
    for after in (SECOND, WINDOW - SECOND):
        answer = ask(guard, "1", "b", NOW + after, LIMITS)
        assert (answer.word, answer.reason) == (HELD, "rejected")
    assert word(guard, now=NOW + WINDOW) == CANARY
    assert word(guard, host="a", now=NOW + WINDOW) == NEXT  # not first of all where it was rejected
    assert word(guard, host="a", now=NOW + WINDOW, waited_s=5.0) == CANARY


def test_a_hold_is_as_long_as_a_lock_that_lasts_longer() -> None:
    limits = LockoutSettings(duration=7200)
    guard = authguard.rejected(Guard(), "1", "a", NOW, limits)
    assert ask(guard, "1", "b", NOW + 2 * WINDOW, limits).word == HELD
    assert ask(guard, "1", "b", NOW + timedelta(hours=2), limits).word == CANARY


def test_a_proven_secret_goes_one_after_the_other_or_as_many_as_the_settings_say() -> None:
    guard, flight = accepted(Guard()), Flight("1", "a", NOW)
    assert word(guard) == GO
    assert word(guard, flights=[flight]) == WAIT
    many = LockoutSettings(parallel=4)
    assert ask(guard, "1", "b", NOW, many, flights=[flight] * 3).word == GO
    assert ask(guard, "1", "b", NOW, many, flights=[flight] * 4).word == WAIT


def test_what_is_not_answered_holds_nobody_up_but_counts() -> None:
    guard = accepted(Guard())
    slow = Flight("1", "a", NOW - SECOND)
    assert word(guard, flights=[slow]) == GO
    assert word(guard, flights=[slow, slow]) == WAIT  # two may both turn out bad


def test_one_endpoint_that_rejects_a_good_account_is_held_alone() -> None:
    guard = rejected(accepted(Guard(), "b"), "a")
    assert ask(guard, "1", "a", NOW, LIMITS).reason == "suspect"
    assert word(guard, "b") == CANARY  # it worked there
    assert word(guard, "c") == NEXT
    assert word(guard, "c", waited_s=1.0) == CANARY
    guard = accepted(guard, "b", NOW + SECOND)
    answer = ask(guard, "1", "a", NOW + SECOND, LIMITS)
    assert (answer.word, answer.reason) == (HELD, "host")
    assert word(guard, "c", NOW + SECOND) == GO
    assert authguard.spent(guard, NOW + SECOND, LIMITS) == 0
    assert word(guard, "a", NOW + WINDOW) != HELD  # and tried again
    assert word(accepted(guard, "a", NOW + WINDOW), "a", NOW + WINDOW) == GO


def test_a_password_that_was_changed_costs_two_and_the_new_one_waits() -> None:
    guard = rejected(rejected(accepted(Guard(), "b"), "a"), "b")
    assert ask(guard, "1", "c", NOW, LIMITS).reason == "rejected"
    assert ask(guard, "2", "c", NOW, LIMITS).reason == "budget"
    assert word(guard, "c", NOW + WINDOW, version="2") == CANARY
    assert word(authguard.released(guard, forget=True), "c", version="2") == CANARY


def test_where_the_directory_forgives_the_new_one_is_tried_once() -> None:
    limits = msgspec.structs.replace(LIMITS, forgives=True)
    guard = rejected(rejected(accepted(Guard(), "b"), "a"), "b")
    assert ask(guard, "2", "c", NOW, limits).word == CANARY
    assert ask(guard, "2", "d", NOW, limits, flights=[Flight("2", "c", NOW)]).word == WAIT
    wrong = rejected(guard, "c", version="2")
    assert ask(wrong, "3", "c", NOW, limits).word == HELD  # the account has spent what it may, with whatever secret
    assert ask(wrong, "3", "c", NOW + WINDOW, limits).word == CANARY


def test_a_new_secret_ends_a_hold_while_the_account_has_something_left() -> None:
    guard = rejected(Guard())
    assert word(guard, version="2") == CANARY
    assert word(rejected(guard, version="2"), version="3") == HELD
    good = accepted(guard, version="2")
    assert word(good, version="2") == GO
    assert word(good, version="1") == HELD  # the wrong one is not tried again for all that


def test_an_operator_ends_every_hold_and_forgets_what_was_spent_only_when_he_says_so() -> None:
    once = authguard.released(rejected(Guard()), forget=False)
    assert word(once) == CANARY
    twice = rejected(once)
    assert ask(authguard.released(twice, forget=False), "1", "b", NOW, LIMITS).reason == "budget"
    vouched = authguard.released(twice, forget=True)
    assert word(vouched) == CANARY
    assert authguard.spent(vouched, NOW, LIMITS) == 0


def test_a_crash_counts_as_a_bad_logon() -> None:
    once = authguard.crashed(Guard(), 1, NOW, LIMITS)
    assert word(once) == CANARY
    assert ask(authguard.crashed(once, 1, NOW, LIMITS), "1", "b", NOW, LIMITS).reason == "budget"
    proven = authguard.crashed(accepted(Guard()), 1, NOW, LIMITS)
    assert word(proven) == GO
    assert word(rejected(proven)) == HELD


def test_endpoints_that_break_off_do_not_hold_the_account_until_something_is_rejected() -> None:
    guard = Guard()
    for _ in range(BREAKS - 1):
        guard = authguard.broke_off(guard, NOW, LIMITS)
        assert word(guard) == CANARY
    assert word(authguard.broke_off(guard, NOW, LIMITS)) == HELD
    assert word(accepted(guard)) == GO
    one = authguard.broke_off(Guard(), NOW, LIMITS)
    assert ask(rejected(one), "2", "b", NOW, LIMITS).reason == "budget"  # now the unanswered one counts


def test_many_breaks_do_not_hold_a_secret_that_was_accepted() -> None:
    guard = accepted(Guard())
    for _ in range(3 * BREAKS):
        guard = authguard.broke_off(guard, NOW, LIMITS)
    assert word(guard) == GO


def test_a_directory_counts_on_while_bad_logons_follow_within_the_window() -> None:
    guard = rejected(rejected(Guard()), now=NOW + WINDOW - SECOND, version="2")
    assert word(guard, now=NOW + WINDOW + SECOND, version="3") == HELD


def test_an_allowance_that_is_not_renewed_leaves_one() -> None:
    lease = Allowance(2, NOW + SECOND)
    assert (lease.at(NOW), lease.at(NOW + SECOND), Allowance().at(NOW), Allowance(0, NOW).at(NOW)) == (2, 1, 2, 0)


def test_an_answer_that_comes_after_the_window_does_not_shorten_what_the_directory_counts() -> None:
    guard = rejected(Guard())
    left = NOW + WINDOW - SECOND
    late = NOW + WINDOW + SECOND
    flight = Flight("2", "b", left)
    assert ask(guard, "3", "c", late, LIMITS, flights=[flight]).word == WAIT
    assert authguard.spent(authguard.rejected(guard, "2", "b", late, LIMITS, left), late, LIMITS) == 2
    assert authguard.spent(authguard.crashed(guard, 1, late, LIMITS, left), late, LIMITS) == 2


def test_without_a_bad_logon_left_nobody_goes_not_even_with_a_proven_secret() -> None:
    none = msgspec.structs.replace(LIMITS, budget=0)
    for guard in (Guard(), accepted(Guard())):
        answer = ask(guard, "1", "a", NOW, none)
        assert (answer.word, answer.reason) == (HELD, "allowance")


def test_a_clock_that_was_set_back_does_not_hold_for_ever() -> None:
    guard = rejected(Guard(), now=NOW + timedelta(days=365))
    assert word(authguard.settled(guard, NOW), now=NOW + WINDOW) == CANARY


def test_an_answer_from_before_a_rejection_proves_nothing() -> None:
    guard = rejected(accepted(Guard(), "b"), "a", NOW + SECOND)
    late = authguard.accepted(guard, "1", "b", NOW + 2 * SECOND, NOW)
    assert word(late, "c", NOW + 2 * SECOND) == NEXT
    assert authguard.spent(late, NOW + 2 * SECOND, LIMITS) == 1


def test_a_good_answer_forgives_only_what_came_before_it_left() -> None:
    guard = rejected(Guard(), "b", NOW + SECOND, version="2")
    guard = authguard.accepted(guard, "1", "a", NOW + 2 * SECOND, NOW)
    assert authguard.spent(guard, NOW + 2 * SECOND, LIMITS) == 1
    assert authguard.spent(accepted(guard, "a", NOW + 3 * SECOND), NOW + 3 * SECOND, LIMITS) == 0


def test_nothing_is_written_down_for_what_is_known() -> None:
    guard = accepted(Guard())
    assert accepted(guard, "b") is guard
    assert accepted(guard, "b", NOW + timedelta(minutes=2)) is not guard


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (("CORP\\poll", "a"), ("corp\\POLL", "b"), True),
        (("poll@corp.example", "a"), ("CORP\\poll", "b"), True),
        (("CORP\\poll", "a"), ("OTHER\\poll", "a"), False),
        (("CORP\\poll", "a"), ("CORP\\other", "a"), False),
        (("Administrator", "a"), ("administrator", "A"), True),
        (("Administrator", "a"), ("Administrator", "b"), False),
        ((".\\Administrator", "a"), ("Administrator", "a"), True),
        (("SRV01\\Administrator", "srv01.corp.example"), ("Administrator", "SRV01.corp.example"), True),
    ],
)
def test_what_a_directory_counts_together(one: tuple[str, str], other: tuple[str, str], same: bool) -> None:
    assert (authguard.account_of(*one) == authguard.account_of(*other)) is same


def test_a_guard_survives_its_file() -> None:
    guard = rejected(accepted(authguard.crashed(Guard(account="CORP\\poll"), 1, NOW, LIMITS)))
    assert msgspec.json.decode(msgspec.json.encode(guard), type=Guard) == guard


class Directory:
    """A domain controller: counts as `rmm.lab.wire.accounts` does, with a password that changes.

    `forgives` so many of the passwords before the current one, which it does not count.
    """

    def __init__(self, forgives: int) -> None:
        self.passwords = ["1"]
        self.forgives = forgives
        self.bad = 0
        self.bad_at = NOW - timedelta(days=1)
        self.most = 0

    def judge(self, version: str, now: datetime) -> bool:
        if now - self.bad_at >= WINDOW:
            self.bad = 0
        if version == self.passwords[-1]:
            self.bad = 0
            return True
        if version not in self.passwords[-1 - self.forgives : -1]:
            self.bad += 1
            self.bad_at = now
            self.most = max(self.most, self.bad)
        return False


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["ask", "answer", "late", "crash", "wait", "rotate"]),
        st.sampled_from(["1", "2", "3", "4"]),  # version
        st.sampled_from(["a", "b", "c", "trustless"]),
        st.floats(0, 2400),
    ),
    max_size=120,
)


def most_bad(events: list[tuple[str, str, str, float]], directory: Directory, limits: LockoutSettings = LIMITS) -> int:
    """Logons are judged when they leave; their answers come in any order, or never."""
    guard, now = Guard(), NOW
    flights: list[tuple[Flight, bool]] = []
    for what, version, host, seconds in events:
        if what == "wait":
            now += timedelta(seconds=seconds)
        elif what == "rotate" and version != directory.passwords[-1]:
            directory.passwords.append(version)
        elif what == "crash":
            left = [flight.at for flight, _ in flights]
            guard = authguard.crashed(guard, len(flights), now, limits, left[-1]) if flights else guard
            flights = []
        elif what == "ask":
            now += timedelta(milliseconds=1)
            out = [flight for flight, _ in flights]
            if ask(guard, version, host, now, limits, flights=out, waited_s=10.0).word in (GO, CANARY):
                # A machine without trust refuses before its domain is asked: nothing is counted.
                good = directory.judge(version, now) if host != "trustless" else False
                flights.append((Flight(version, host, now), good))
        elif flights:
            flight, good = flights.pop(0 if what == "answer" else -1)
            if good:
                guard = authguard.accepted(guard, flight.version, flight.host, now, flight.at)
            else:
                guard = authguard.rejected(guard, flight.version, flight.host, now, limits, flight.at)
    return directory.most


@settings(max_examples=800, deadline=None)
@given(EVENTS)
def test_no_interleaving_spends_more_than_the_budget(events: list[tuple[str, str, str, float]]) -> None:
    assert most_bad(events, Directory(forgives=0)) <= LIMITS.budget


@settings(max_examples=400, deadline=None)
@given(EVENTS)
def test_where_the_directory_forgives_a_new_secret_costs_no_more(events: list[tuple[str, str, str, float]]) -> None:
    limits = msgspec.structs.replace(LIMITS, forgives=True)
    once = [event for number, event in enumerate(events) if event[0] != "rotate" or number == _first_rotation(events)]
    assert most_bad(once, Directory(forgives=2), limits) <= LIMITS.budget


def _first_rotation(events: list[tuple[str, str, str, float]]) -> int:
    return next((number for number, event in enumerate(events) if event[0] == "rotate"), -1)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["a", "b", "trustless"]), st.floats(1, 600)), min_size=1, max_size=60))
def test_a_good_secret_comes_back_whatever_one_endpoint_does(visits: list[tuple[str, float]]) -> None:
    """Answers come at once, so a proven account is never held by the endpoint that rejects it."""
    guard, now = accepted(Guard(), "a"), NOW
    for host, seconds in visits:
        now += timedelta(seconds=seconds)
        answer = ask(guard, "1", host, now, LIMITS, waited_s=10.0)
        if answer.word == HELD:
            assert host == "trustless"
            continue
        good = host != "trustless"
        guard = accepted(guard, host, now) if good else rejected(guard, host, now)
    guard = accepted(guard, "b", now) if word(guard, "b", now, waited_s=10.0) != HELD else guard
    assert word(guard, "a", now) == GO
