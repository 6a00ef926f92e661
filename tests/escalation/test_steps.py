"""Which steps are due: the function that a restart asks again, and whom a step tells."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rmm.core.alerting.escalation import Calls, Step, calls_of, due_steps, next_due, steps
from rmm.core.alerting.hours import OpenHours
from rmm.core.alerting.oncall import Roster
from rmm.model.escalation import Contact, Course, Layer, Person, Policy, Rota, Slot, Target, Tier

pytestmark = pytest.mark.databases("sqlite", "postgres")

START = datetime(2026, 3, 2, 15, tzinfo=UTC)  # a Monday, 16:00 in Berlin
MINUTE = timedelta(minutes=1)
BERLIN = ZoneInfo("Europe/Berlin")
HOURS = {"office": OpenHours(BERLIN, ((Slot(480, 1020),),) * 5 + ((), ()), lambda _: "")}
ANNA = Target("person", "anna")


def tier(minutes: int, *tell: Target, during: str = "", outside: str = "") -> Tier:
    return Tier(after=minutes * MINUTE, tell=tell or (ANNA,), during=during, outside=outside)


POLICY = Policy(id="standard", tiers=(tier(0), tier(15), tier(45)), repeat=2, repeat_after=30 * MINUTE)
COURSE = Course(key="k||", first_at=START, policy="standard", fired_at=START)


def due(policy: Policy, now: datetime, taken: set[tuple[int, int]] | None = None, **ended: datetime) -> list[Step]:
    return due_steps(policy, msgspec.structs.replace(COURSE, **ended), HOURS, taken or set(), now)


def minutes(found: list[Step]) -> list[float | None]:
    return [None if one.due_at is None else (one.due_at - START) / MINUTE for one in found]


def test_tiers_and_repeats() -> None:
    assert minutes(steps(POLICY, START, HOURS)) == [0, 15, 45, 75, 90, 120, 150, 165, 195]
    assert [one.identity for one in due(POLICY, START + 80 * MINUTE)] == [(0, 1), (0, 2), (0, 3), (1, 1)]
    assert [one.identity for one in due(POLICY, START + 80 * MINUTE, {(0, 1), (0, 2), (0, 3)})] == [(1, 1)]
    assert due(POLICY, START - MINUTE) == []
    assert next_due(POLICY, COURSE, HOURS, {(0, 1), (0, 2)}) == START + 45 * MINUTE


def test_an_acknowledgement_between_two_tiers_stops_the_rest() -> None:
    then = START + 20 * MINUTE
    assert minutes(due(POLICY, START + 19 * MINUTE, {(0, 1)}, ended_at=then)) == [15]
    for later in (20, 45, 9999):
        assert due(POLICY, START + later * MINUTE, {(0, 1)}, ended_at=then) == []
    assert next_due(POLICY, msgspec.structs.replace(COURSE, ended_at=then), HOURS, set()) is None


def test_delays_run_in_business_hours_alone() -> None:
    office = msgspec.structs.replace(POLICY, hours="office", repeat=0)
    # 60 minutes are left of Monday; the weekend and the change to summer time lie before the third one.
    assert minutes(steps(office, START + 30 * MINUTE, HOURS)) == [30, 45, 30 + 45 + 15 * 60 - 0]
    friday = datetime(2026, 3, 27, 15, 50, tzinfo=UTC)  # 16:50
    assert [one.due_at for one in steps(office, friday, HOURS)] == [
        friday, datetime(2026, 3, 30, 6, 5, tzinfo=UTC), datetime(2026, 3, 30, 6, 35, tzinfo=UTC),
    ]  # fmt: skip


def test_tiers_for_hours() -> None:
    day, night = tier(0, during="office"), tier(0, Target("oncall", "r"), outside="office")
    policy = Policy(id="p", tiers=(day, night))
    assert [one.passed_over for one in steps(policy, START, HOURS)] == ["", "within office"]
    assert [one.passed_over for one in steps(policy, START + 2 * 60 * MINUTE, HOURS)] == ["outside of office", ""]
    # What is passed over is due, so that it is taken and the policy comes to its end.
    assert len(due(policy, START)) == 2


def test_hours_that_never_open_end_the_course() -> None:
    never = {"office": HOURS["office"]._replace(holiday=lambda _: "closed")}
    policy = msgspec.structs.replace(POLICY, hours="office")
    assert due_steps(policy, COURSE, never, set(), START + timedelta(days=900)) == []
    assert next_due(policy, COURSE, never, set()) is None


@settings(deadline=None)
@given(st.lists(st.integers(0, 400), min_size=1, max_size=30), st.sampled_from(["", "office"]))
def test_a_restart_neither_repeats_nor_skips(looks: list[int], hours: str) -> None:
    """Whenever somebody looks, each step is taken once, none before its time, and all of them in the end."""
    policy = msgspec.structs.replace(POLICY, hours=hours)
    taken: set[tuple[int, int]] = set()
    for look in [*sorted(looks), 10**6]:
        now = START + look * MINUTE
        for step in due(policy, now, taken):
            assert step.identity not in taken and step.due_at is not None and step.due_at <= now
            taken.add(step.identity)
    assert taken == {one.identity for one in steps(policy, START, HOURS)}
    assert next_due(policy, COURSE, HOURS, taken) is None


MAIL, SMS, PLAIN = (
    Contact("mail", "mail/anna", {"to": "a@b"}),
    Contact("sms", "sms/anna", {"to": "+49"}),
    Contact("x", "x"),
)
PEOPLE = {
    "anna": Person(id="anna", contacts=(MAIL, SMS)),
    "bob": Person(id="bob", contacts=(PLAIN,)),
}
ROTA = Rota(
    id="r", layers=(Layer(people=("anna", "bob"), every=timedelta(weeks=1), starts=datetime(2026, 3, 2)),)
)  # fmt: skip
ROSTERS = {"r": Roster(ROTA, BERLIN), "none": Roster(Rota(id="none", calendar="x"), BERLIN, note="x cannot be used")}


def calls(*targets: Target, via: tuple[str, ...] = (), at: datetime = START) -> Calls:
    return calls_of([(one, via) for one in targets], PEOPLE, ROSTERS, at)


def test_whom_targets_mean() -> None:
    assert calls(ANNA) == Calls(("mail/anna", "sms/anna"))
    assert calls(ANNA, via=("sms",)) == Calls(("sms/anna",))
    assert calls(Target("person", "bob"), via=("sms",)) == Calls(("x",))  # has none of these: all, rather than nobody
    assert calls(Target("oncall", "r"), ANNA, Target("channel", "x")) == Calls(("mail/anna", "sms/anna", "x"))
    assert calls(Target("oncall", "r"), at=START + timedelta(days=7)) == Calls(("x",))
    assert calls(Target("oncall", "none")) == Calls((), "none: x cannot be used; none: nobody is on call")
