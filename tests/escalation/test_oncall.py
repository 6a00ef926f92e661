"""Rotas: exactly one person on call per layer at every moment, no gap at hand-offs, whatever the clocks do."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rmm.core.alerting.hours import OpenHours
from rmm.core.alerting.oncall import Duty, Roster, Span, duties, on_call, shift
from rmm.core.walltime import instant, shown
from rmm.model.escalation import Layer, Override, Rota, Slot

BERLIN = ZoneInfo("Europe/Berlin")
ZONES = [ZoneInfo(name) for name in (
    "UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Santiago", "Pacific/Apia",
)]  # fmt: skip
PEOPLE = ("anna", "bob", "carla")
NIGHT = (Slot(1080, 1440 + 480),)
layers = st.builds(
    lambda people, hours, starts: Layer(people=PEOPLE[:people], every=timedelta(hours=hours), starts=starts),
    st.integers(1, 3),
    st.one_of(st.sampled_from([1, 8, 12, 24, 168, 336]), st.integers(1, 2000)),
    st.datetimes(datetime(2009, 1, 1), datetime(2031, 1, 1)).map(lambda at: at.replace(second=0, microsecond=0)),
)
moments = st.datetimes(datetime(2010, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))
changes = st.sampled_from([datetime(2026, 3, 29, 1, tzinfo=UTC), datetime(2026, 10, 25, 1, tzinfo=UTC)])


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


@settings(deadline=None)
@given(layers, st.sampled_from(ZONES), moments | changes)
def test_shifts_meet(layer: Layer, zone: ZoneInfo, now: datetime) -> None:
    """The moment lies in its shift; the next begins where it ends, has the next person, and so on around all."""
    first = span = shift(layer, zone, now)
    assert span.since <= now < span.until
    for _ in range(len(layer.people)):
        following = shift(layer, zone, span.until)
        skipped = following.since != span.until
        assert not skipped or layer.every == timedelta(hours=1)  # an hour that the clocks leave out
        assert following.since <= span.until < following.until
        if not skipped:
            turn = layer.people.index(span.person) + 1
            # A shift without length lies between where a short one falls into the hour that is left out.
            near = [layer.people[turn % len(layer.people)], layer.people[(turn + 1) % len(layer.people)]]
            assert following.person in near[: 2 if layer.every == timedelta(hours=1) else 1]
        span = following
    assert shift(layer, zone, first.since) == first
    assert shift(layer, zone, first.until - timedelta(microseconds=1)) == first


@settings(deadline=None)
@given(layers, st.sampled_from(ZONES), moments | changes)
def test_hand_off_is_at_the_same_time_on_the_wall(layer: Layer, zone: ZoneInfo, now: datetime) -> None:
    until = shift(layer, zone, now).until
    turns, rest = divmod(shown(until, zone) - layer.starts, layer.every)
    if rest:  # then that time was left out on that day, and the hand-off is when the clock was put forward
        wanted = layer.starts + turns * layer.every
        assert instant(wanted, zone) == until or instant(wanted + layer.every, zone) == until
        before = (until - timedelta(seconds=1)).astimezone(zone)
        assert before.utcoffset() != until.astimezone(zone).utcoffset()


overrides = st.builds(
    lambda person, begin, hours, number: Override(
        rota="r", person=person, since=begin, until=begin + timedelta(hours=hours), number=number
    ),
    st.sampled_from(PEOPLE),
    st.datetimes(datetime(2026, 3, 20), datetime(2026, 4, 10), timezones=st.just(UTC)),
    st.integers(1, 100),
    st.integers(1, 9),
)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(layers.filter(lambda one: one.every >= timedelta(hours=6)), min_size=1, max_size=3),
    st.lists(st.sampled_from(["", "during", "outside"]), min_size=3, max_size=3),
    st.lists(overrides, max_size=3, unique_by=lambda one: one.number),
    st.sampled_from(ZONES),
)
def test_spans_leave_no_gap_and_agree_with_every_moment(
    found: list[Layer], limits: list[str], made: list[Override], zone: ZoneInfo
) -> None:
    limited = [
        Layer(people=one.people, every=one.every, starts=one.starts, **({limit: "night"} if limit else {}))
        for one, limit in zip(found, limits, strict=False)
    ]
    hours = {"night": OpenHours(zone, (NIGHT,) * 7, lambda _: "")}
    rota = Rota(id="r", layers=tuple(limited), otherwise="anna")
    roster = Roster(rota, zone, hours, tuple(made))
    since, until = at("2026-03-27T00:00Z"), at("2026-04-01T00:00Z")
    spans = duties(roster, since, until)
    assert spans[0].since == since and spans[-1].until == until
    assert all(one.until == other.since and one.since < one.until for one, other in pairwise(spans))
    now, index = since, 0
    while now < until:
        while spans[index].until <= now:
            index += 1
        duty = on_call(roster, now)
        assert (duty.person, duty.source) == (spans[index].person, spans[index].source)
        assert duty.person
        now += timedelta(minutes=17)


WEEKLY = Layer(people=PEOPLE, every=timedelta(weeks=1), starts=datetime(2026, 1, 5, 9))


@pytest.mark.parametrize(
    ("now", "person"),
    [
        ("2026-01-05T09:00+01:00", "anna"),
        ("2026-01-05T08:59:59+01:00", "carla"),  # backwards from the start
        ("2026-03-30T08:59:59+02:00", "carla"),  # in summer time the hand-off is an hour earlier, at nine all the same
        ("2026-03-30T09:00+02:00", "anna"),
        ("2026-10-26T09:00+01:00", "anna"),
    ],
)
def test_a_week(now: str, person: str) -> None:
    assert shift(WEEKLY, BERLIN, at(now)).person == person


def test_twelve_hours_over_the_night_of_the_change() -> None:
    layer = Layer(people=("day", "night"), every=timedelta(hours=12), starts=datetime(2026, 1, 5, 8))
    night = shift(layer, BERLIN, at("2026-03-28T23:00+01:00"))
    assert night == Span(at("2026-03-28T20:00+01:00"), at("2026-03-29T08:00+02:00"), "night")
    assert night.until - night.since == timedelta(hours=11)
    longer = shift(layer, BERLIN, at("2026-10-24T23:00+02:00"))
    assert longer.until - longer.since == timedelta(hours=13)


def test_what_counts_before_what() -> None:
    office = OpenHours(BERLIN, ((Slot(480, 1020),),) * 5 + ((), ()), lambda _: "")
    day = Layer(people=("desk",), every=timedelta(days=1), starts=datetime(2026, 1, 5), during="office")
    since, until = at("2026-03-02T10:00+01:00"), at("2026-03-02T12:00+01:00")
    written = Override(rota="r", person="written", since=since, until=until)
    first = Override(rota="r", person="first", since=since, until=until, number=1)
    newest = Override(rota="r", person="newest", since=since, until=until - timedelta(hours=1), number=2)
    rota = Rota(id="r", layers=(WEEKLY, day), overrides=(written,))
    roster = Roster(rota, BERLIN, {"office": office})
    assert on_call(roster, since - timedelta(hours=6)) == Duty("bob", "layer 1")
    assert on_call(roster, since - timedelta(seconds=1)) == Duty("desk", "layer 2")
    assert on_call(roster, since) == Duty("written", "override of rmm.yaml")
    both = roster._replace(overrides=(newest, first))
    assert on_call(both, since) == Duty("newest", "override 2")
    assert on_call(both, until - timedelta(hours=1)) == Duty("first", "override 1")
    assert on_call(roster, until) == Duty("desk", "layer 2")


def test_a_calendar_and_who_is_on_call_without_it() -> None:
    long = Span(at("2026-03-02T00:00Z"), at("2026-03-09T00:00Z"), "anna")
    short = Span(at("2026-03-03T00:00Z"), at("2026-03-04T00:00Z"), "bob")
    roster = Roster(Rota(id="r", calendar="x.ics", otherwise="carla"), BERLIN, calendar=(long, short), note="late")
    assert on_call(roster, at("2026-03-02T12:00Z")) == Duty("anna", "calendar")
    assert on_call(roster, at("2026-03-03T12:00Z")) == Duty("bob", "calendar")  # the one that began last
    assert on_call(roster, at("2026-03-10T12:00Z")) == Duty("carla", "otherwise", "late")
