"""Rights to bad logons: a directory never counts beyond the budget, whatever happens to the collectors of a site."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rmm.core import authguard, escrow
from rmm.core.authguard import CANARY, GO, HELD, OPEN, PROVEN, Flight, Guard, Proof, ask
from rmm.core.escrow import Need, Shared, Step, limits_of
from rmm.model.settings import LockoutSettings

NOW = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)
LIMITS = LockoutSettings()
SECOND = timedelta(seconds=1)


def step(shared: Shared | None, me: str, share: int | None, need: Need = Need(), **rest: object) -> Step:  # noqa: B008
    guard = rest.pop("guard", Guard())
    return escrow.step(shared, me, share, guard, 0, need, NOW, LIMITS, **rest)  # type: ignore[arg-type]


def test_one_collector_has_the_whole_budget() -> None:
    one = step(None, "a", None)
    assert (one.shared.shares, one.shared.pool, one.before, one.after) == ({"a": 2}, 0, 0, 2)
    assert limits_of(LIMITS, one.after) == LIMITS == limits_of(LIMITS, None)
    assert limits_of(LIMITS, 1) == LockoutSettings(budget=1, window=2 * LIMITS.window)


def test_a_second_one_asks_and_gets_what_the_first_does_not_need() -> None:
    shared = step(None, "a", None).shared
    asked = step(shared, "b", None, Need(right=True), live=["a"])
    assert (asked.shared.wants, asked.after) == (("b",), 0)
    given_ = step(asked.shared, "a", 2, Need(waiting=True), live=["b"])
    assert (given_.before, given_.after, given_.shared.pool) == (1, 1, 1)  # off its disk first
    taken = step(given_.shared, "b", 0, Need(right=True), live=["a"])
    assert (taken.before, taken.after, taken.shared.pool, taken.shared.wants) == (0, 1, 0, ())
    assert step(taken.shared, "a", 1, live=["b"]).shared is taken.shared  # nothing to write


def test_a_record_that_begins_with_several_leaves_them_theirs() -> None:
    one = step(None, "a", None, live=["b"])
    assert (one.shared.shares, one.shared.pool) == ({"a": 1}, 1)


def test_what_was_spent_is_not_given() -> None:
    guard = Guard(bad=(NOW, NOW))
    shared = Shared({"a": 2}, 0, ("b",))
    assert step(shared, "a", 2, guard=guard, live=["b"]).after == 2
    assert step(shared, "a", 2, guard=Guard(bad=(NOW,)), live=["b"]).after == 1


def test_who_asked_first_gets_it_and_who_is_dead_does_not_stand_in_the_way() -> None:
    shared = Shared({"a": 1, "d": 0}, 1, ("d", "b", "c"))
    assert step(shared, "c", 0, Need(right=True), live=["a", "b"]).after == 0
    assert step(shared, "b", 0, Need(right=True), live=["a", "c"]).after == 1
    assert step(shared, "c", 0, Need(right=True), live=["a"]).after == 1


def test_one_collector_at_a_time_tries_a_secret() -> None:
    shared = Shared({"a": 1, "b": 1})
    first = step(shared, "a", 1, Need(trying="7"), live=["b"])
    assert first.go
    second = step(first.shared, "b", 1, Need(trying="7"), live=["a"])
    assert not second.go
    assert step(first.shared, "a", 1, Need(trying="7"), live=["b"]).go
    assert step(first.shared, "b", 1, Need(trying="7"), live=["a"], stale=first.shared.trying).go
    done = step(first.shared, "a", 1, live=["b"])
    assert done.shared.trying is None
    assert step(done.shared, "b", 1, Need(trying="7"), live=["a"]).go


def test_what_one_found_out_holds_the_others() -> None:
    refused = authguard.rejected(Guard(), "7", "h1", NOW, LIMITS)
    told = step(Shared({"a": 1, "b": 1}), "a", 1, guard=refused, live=["b"])
    heard = step(told.shared, "b", 1, live=["a"])
    assert heard.guard.proofs["7"].state == OPEN
    assert ask(heard.guard, "7", "h2", NOW, limits_of(LIMITS, 1)).word == HELD
    assert heard.guard.bad == ()  # the right that it cost was another's


def test_what_is_proven_is_told_once_and_not_every_minute() -> None:
    good = Guard(proofs={"7": Proof(PROVEN, NOW, True)})
    told = step(Shared({"a": 1, "b": 1}), "a", 1, guard=good, live=["b"]).shared
    later = Guard(proofs={"7": Proof(PROVEN, NOW + timedelta(minutes=2), True)})
    assert step(told, "a", 1, guard=later, live=["b"]).shared is told
    old = Guard(proofs={"7": Proof(PROVEN, NOW + timedelta(minutes=6), True)})
    assert step(told, "a", 1, guard=old, live=["b"]).shared is not told


def test_a_host_that_is_accepted_again_is_not_held_by_what_was_known_before() -> None:
    known = Shared({"a": 2}, proofs={"7": Proof(PROVEN, NOW - SECOND, True, (), {"h7": NOW - SECOND})})
    mine = Guard(proofs={"7": Proof(PROVEN, NOW, True)})
    assert step(known, "a", 2, guard=mine).guard.proofs["7"].held == {}


def test_a_changed_budget() -> None:
    two = Shared({"a": 1, "b": 1})
    three = LockoutSettings(budget=3)
    assert escrow.fitted(two, "a", three).pool == 1
    wide = Shared({"a": 2, "b": 1}, 0)
    assert escrow.fitted(wide, "a", LIMITS).shares == {"a": 1, "b": 1}
    assert escrow.fitted(Shared({"a": 1, "b": 1}, 1), "a", LIMITS) == Shared({"a": 1, "b": 1}, 0)
    assert escrow.fitted(Shared({"b": 3}, 0), "a", LIMITS).shares == {"a": 0, "b": 3}


def test_a_record_is_cut_to_what_the_bucket_takes_and_keeps_every_right() -> None:
    held = {f"{'x' * 200}{n}": NOW + n * SECOND for n in range(256)}
    proofs = {str(n): Proof(PROVEN, NOW, True, tuple(held)[:32], held) for n in range(8)}
    shared = Shared({f"collector{n}": 1 for n in range(20)}, 3, proofs=proofs, worked=tuple(held)[:32])
    small = escrow.bounded(shared, lambda one: len(msgspec.json.encode(one)) > 4000)
    assert len(msgspec.json.encode(small)) <= 4000
    assert (small.shares, small.pool) == (shared.shares, shared.pool)
    assert all(len(proof.held) > 0 for proof in small.proofs.values()) or not small.proofs
    newest = escrow.bounded(shared, lambda one: len(msgspec.json.encode(one)) > 40_000)
    assert max(held.values()) in newest.proofs["0"].held.values()
    assert escrow.bounded(Shared({"a": 1}), lambda _: False) == Shared({"a": 1})


def test_who_leaves_and_who_is_forgotten() -> None:
    shared = Shared({"a": 2}, 0, ("a", "b"), escrow.Trial("a", "7", NOW))
    assert escrow.left(shared, "a", Guard(), 0, NOW, LIMITS) == Shared({}, 2, ("b",))
    spent = escrow.left(shared, "a", Guard(bad=(NOW,)), 0, NOW, LIMITS)
    assert (spent.shares, spent.pool) == ({"a": 1}, 1)
    assert escrow.forget(shared, "a") == Shared({}, 2, ("b",))
    assert escrow.forget(shared, "x") == shared


@pytest.mark.parametrize(
    ("shared", "so"),
    [(Shared({"a": 2}), True), (Shared({"a": -1}, 3), False), (Shared({"a": 1}, -1), False),
     (Shared({f"c{n}": 0 for n in range(100)}), False), (Shared({"a": 1 << 40}), False)],
)  # fmt: skip
def test_what_cannot_be_a_record(shared: Shared, so: bool) -> None:
    assert escrow.sound(shared) is so


# --- a whole site --------------------------------------------------------------------------------------------------


@dataclass
class Directory:
    """Counts as Active Directory does: forgets a WINDOW after the last bad logon, or at a good one."""

    good: str = "v0"
    count: int = 0
    last: datetime = NOW - timedelta(days=1)
    most: int = 0
    trustless: set[str] = field(default_factory=set)

    def judge(self, version: str, host: str, now: datetime) -> bool:
        if host in self.trustless:
            return False
        if version == self.good:
            self.count = 0
            return True
        if now - self.last >= timedelta(seconds=LIMITS.window):
            self.count = 0
        self.count += 1
        self.last, self.most = now, max(self.most, self.count)
        return False


class Site:
    """Collectors with disks, one record with revisions, and a network that loses answers and delays what is said."""

    def __init__(self, names: str, limits: LockoutSettings = LIMITS) -> None:
        self.names = names
        self.limits = limits
        self.now = NOW
        self.directory = Directory()
        self.record: tuple[Shared | None, int] = (None, 0)
        self.share: dict[str, int | None] = dict.fromkeys(names)
        self.guard: dict[str, Guard] = dict.fromkeys(names, Guard())
        self.link: dict[str, str] = dict.fromkeys(names, "up")  # up, cut, deaf (the write may land now or later)
        self.late: list[tuple[Shared, int]] = []
        self.logons = 0

    def put(self, shared: Shared, after: int) -> bool:
        if self.record[1] != after:
            return False
        self.record = (shared, after + 1)
        return True

    def agree(self, me: str, need: Need, stop_at: str = "") -> bool:
        """As `poller.colleagues`; False: it may not try. `stop_at`: the process dies there."""
        if self.link[me] == "cut":
            return True
        shared, revision = self.record
        live = [one for one in self.names if one != me and self.link[one] == "up"]
        one = escrow.step(shared, me, self.share[me], self.guard[me], 0, need, self.now, self.limits, live=live)
        if one.shared is shared and self.share[me] == one.after:
            self.guard[me] = one.guard
            return one.go
        self.share[me] = one.before
        if stop_at == "before":
            return False
        if self.link[me] == "deaf":
            self.late.append((one.shared, revision))
            return True
        if not self.put(one.shared, revision):
            return False
        if stop_at == "written":
            return False
        self.share[me] = one.after
        self.guard[me] = one.guard
        return one.go

    def logon(self, me: str, version: str, host: str, stop_at: str = "") -> str:
        limits = limits_of(self.limits, self.share[me] or 0)
        answer = ask(self.guard[me], version, host, self.now, limits, waited_s=60)
        if self.share[me] is None or answer.word in (CANARY, HELD):
            right = answer.word == HELD and answer.reason in ("budget", "allowance")
            need = Need(trying=version if answer.word == CANARY else "", right=right or self.share[me] is None)
            if not self.agree(me, need, stop_at) or stop_at in ("before", "written"):
                return "wait"
            limits = limits_of(self.limits, self.share[me] or 0)
            answer = ask(self.guard[me], version, host, self.now, limits, waited_s=60)
        if answer.word not in (GO, CANARY):
            return answer.reason
        flight = Flight(version, host, self.now)
        good = self.directory.judge(version, host, self.now)
        self.logons += 1
        guard = self.guard[me]
        if stop_at == "flight":
            self.guard[me] = authguard.crashed(guard, 1, self.now, limits, flight.at)
            return "crashed"
        if good:
            self.guard[me] = authguard.accepted(guard, version, host, self.now, flight.at)
        else:
            self.guard[me] = authguard.rejected(guard, version, host, self.now, limits, flight.at)
        self.agree(me, Need())
        return "accepted" if good else "rejected"

    def check(self) -> None:
        rights = sum(share or 0 for share in self.share.values())
        assert rights <= self.limits.budget, (self.share, self.record)
        if self.record[0] is not None:
            assert sum(self.record[0].shares.values()) + self.record[0].pool == self.limits.budget
        assert self.directory.most <= self.limits.budget, (self.share, self.record)


NAMES = "abc"
VERSIONS = st.sampled_from(["v0", "v1", "v2"])
WHO = st.sampled_from(NAMES)
STEPS = st.one_of(
    st.tuples(st.just("logon"), WHO, VERSIONS, st.sampled_from(["h0", "h1", "h2"]),
              st.sampled_from(["", "", "", "flight", "before", "written"])),
    st.tuples(st.just("wait"), st.sampled_from([1.0, 30.0, 600.0, 1740.0, 1801.0, 3500.0, 3601.0, 7300.0])),
    st.tuples(st.just("link"), WHO, st.sampled_from(["up", "cut", "deaf"])),
    st.tuples(st.just("land"), st.booleans()),
    st.tuples(st.just("good"), VERSIONS),
    st.tuples(st.just("trust"), st.sampled_from(["h0", "h1", "h2"])),
    st.tuples(st.just("agree"), WHO, st.booleans()),
    st.tuples(st.just("leave"), WHO),
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.lists(STEPS, min_size=5, max_size=60))
def test_a_directory_never_counts_beyond_the_budget(steps: list[tuple[str, ...]]) -> None:
    site = Site(NAMES)
    for what, *rest in steps:
        _happens(site, what, rest)
        site.now += SECOND
        site.check()


def _happens(site: Site, what: str, rest: list[str]) -> None:
    if what == "logon":
        site.logon(*rest)
    elif what == "wait":
        site.now += timedelta(seconds=float(rest[0]))
    elif what == "link":
        site.link[rest[0]] = rest[1]
    elif what == "land":
        late, site.late = site.late, []
        for shared, after in late if rest[0] else ():
            site.put(shared, after)
    elif what == "good":
        site.directory.good = rest[0]
    elif what == "trust":
        site.directory.trustless ^= {rest[0]}
    elif what == "agree":
        site.agree(rest[0], Need(right=bool(rest[1])))
    elif site.link[rest[0]] == "up" and site.record[0] is not None:
        _leave(site, rest[0])


def _leave(site: Site, me: str) -> None:
    shared, revision = site.record
    assert shared is not None
    new = escrow.left(shared, me, site.guard[me], 0, site.now, site.limits)
    site.share[me] = min(site.share[me] or 0, new.shares.get(me, 0))
    site.put(new, revision)


def test_a_password_changed_in_the_middle_costs_two_over_three_collectors() -> None:
    site = Site(NAMES)
    for number in range(30):
        site.logon(NAMES[number % 3], "v0", f"h{number}")
        site.now += SECOND
    assert site.logons >= 20
    site.directory.good = "v9"
    for number in range(300):
        site.logon(NAMES[number % 3], "v0", f"h{number}")
        site.now += SECOND
        site.check()
    assert site.directory.count == 2


def test_a_wrong_password_costs_one_over_three_collectors_and_any_number_of_fail_overs() -> None:
    site = Site(NAMES)
    site.directory.good = "right"
    for number in range(200):
        site.logon(NAMES[number % 3], "v0", f"h{number}")
        site.now += SECOND
    assert site.directory.count == 1


def test_cut_off_from_each_other_two_go_on_and_a_wrong_password_costs_one_each() -> None:
    site = Site("ab")
    for number in range(10):
        site.logon("ab"[number % 2], "v0", f"h{number}")
        site.now += SECOND
    assert site.share == {"a": 1, "b": 1}
    site.link = dict.fromkeys("ab", "cut")
    before = site.logons
    assert {site.logon(name, "v0", "h1") for name in "ab" for _ in range(50)} == {"accepted"}
    assert site.logons - before == 100  # polling goes on, for as long as the link is cut
    site.directory.good = "v9"
    for _ in range(500):
        for name in "ab":
            site.logon(name, "v0", "h2")
        site.now += timedelta(seconds=61)
        site.check()
    assert site.directory.most == 2


def test_an_endpoint_without_trust_is_held_alone_with_two_collectors() -> None:
    """The one right of a collector is spent; another lends it one for the canary."""
    site = Site("ab")
    for number in range(10):
        site.logon("ab"[number % 2], "v0", f"h{number}")
        site.now += SECOND
    site.directory.trustless = {"bad"}
    assert site.logon("a", "v0", "bad") == "rejected"
    seen = []
    for number in range(20):
        seen.append(site.logon("ab"[number % 2], "v0", f"h{number}"))
        site.now += SECOND
    assert seen.count("accepted") >= 15
    assert site.logon("a", "v0", "bad") == "host"
    assert {site.logon(name, "v0", "h1") for name in "ab" for _ in range(3)} == {"accepted"}


def test_the_record_travels_as_json() -> None:
    shared = Shared({"a": 1}, 1, ("b",), escrow.Trial("a", "7", NOW), {"7": Proof(PROVEN, NOW)}, ("h",))
    assert msgspec.json.decode(msgspec.json.encode(shared), type=Shared) == shared


@pytest.mark.parametrize("offset", [60, 600, 899, 901, 1500, 1740, 1799])
def test_cut_off_and_out_of_step_they_do_not_add_up(offset: int) -> None:
    """Each waits for long enough that somewhere in between nobody tried for a whole window."""
    site = Site("ab")
    for number in range(10):
        site.logon("ab"[number % 2], "v0", f"h{number}")
        site.now += SECOND
    site.link = dict.fromkeys("ab", "cut")
    site.directory.good = "v9"
    began, tried = site.now, site.logons
    while site.now - began < timedelta(hours=24):
        site.logon("a", "v0", "h1")
        site.check()
        if site.now - began >= timedelta(seconds=offset):
            site.logon("b", "v0", "h1")
            site.check()
        site.now += timedelta(seconds=7)
    assert 20 < site.logons - tried < 2 * 24 + 3
