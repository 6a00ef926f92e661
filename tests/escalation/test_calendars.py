"""On-call rotas from iCalendar files: what they mean, and that no file makes the program work for long."""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rmm.calendars import events
from rmm.calendars.events import Found, read_calendar
from rmm.calendars.holidays import holiday_of
from rmm.calendars.lookup import Lookup
from rmm.core.alerting.oncall import Span, on_call
from rmm.errors import ConfigError
from rmm.model.escalation import Contact, Escalation, Person, Rota

BERLIN = ZoneInfo("Europe/Berlin")
PEOPLE = {
    "anna": Person(id="anna", name="Anna Berg", contacts=(Contact("mail", "mail/anna", {"to": "anna@example.org"}),)),
    "bob": Person(id="bob", name="Bob"),
}
WEEK = (datetime(2026, 3, 23, tzinfo=UTC), datetime(2026, 4, 13, tzinfo=UTC))
BOUND_S = 10.0  # on a machine that does other work beside


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def event(*lines: str) -> str:
    return "\r\n".join(["BEGIN:VEVENT", *lines, "END:VEVENT"])


def calendar(*parts: str) -> str:
    return "\r\n".join(["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//test//", *parts, "END:VCALENDAR", ""])


def read(folder: Path, text: str | bytes) -> Found:
    path = folder / "oncall.ics"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_calendar(path, PEOPLE, BERLIN, *WEEK)


def test_weeks_that_recur_over_the_change_to_summer_time(tmp_path: Path) -> None:
    def fortnight(first: int) -> list[str]:
        begin, end = (f"TZID=Europe/Berlin:202601{day:02}T090000" for day in (first, first + 7))
        return [f"DTSTART;{begin}", f"DTEND;{end}", "RRULE:FREQ=WEEKLY;INTERVAL=2"]

    text = calendar(
        event("UID:1", "SUMMARY:anna", *fortnight(5)),
        event("UID:2", "SUMMARY:On call", "ATTENDEE:mailto:anna@example.org", "DTSTART;VALUE=DATE:20260401"),
        event("UID:3", "SUMMARY: BOB ", *fortnight(12)),
        event("UID:4", "SUMMARY:bob", "DTSTART:20260402T100000", "DURATION:PT2H"),
        event("UID:5", "SUMMARY:bob", "STATUS:CANCELLED", "DTSTART:20260402T100000Z", "DURATION:PT2H"),
        event("UID:6", "SUMMARY:Team lunch", "DTSTART:20260402T100000Z", "DURATION:PT2H"),
    )
    found = read(tmp_path, text)
    assert [span for span in found.spans if WEEK[0] <= span.since < WEEK[1]] == [
        Span(at("2026-03-23T09:00+01:00"), at("2026-03-30T09:00+02:00"), "bob", "calendar"),
        Span(at("2026-03-30T09:00+02:00"), at("2026-04-06T09:00+02:00"), "anna", "calendar"),
        Span(at("2026-04-01T00:00+02:00"), at("2026-04-02T00:00+02:00"), "anna", "calendar"),
        Span(at("2026-04-02T10:00+02:00"), at("2026-04-02T12:00+02:00"), "bob", "calendar"),
        Span(at("2026-04-06T09:00+02:00"), at("2026-04-13T09:00+02:00"), "bob", "calendar"),
    ]
    assert found.unknown == ("Team lunch",)


def test_a_turn_that_was_moved_and_one_that_was_left_out(tmp_path: Path) -> None:
    text = calendar(
        event("UID:1", "SUMMARY:anna", "DTSTART:20260323T000000Z", "DURATION:P1D", "RRULE:FREQ=DAILY;COUNT=4",
              "EXDATE:20260324T000000Z"),
        event("UID:1", "SUMMARY:bob", "RECURRENCE-ID:20260325T000000Z", "DTSTART:20260325T060000Z", "DURATION:PT1H"),
    )  # fmt: skip
    assert [(span.since.day, span.since.hour, span.person) for span in read(tmp_path, text).spans] == [
        (23, 0, "anna"), (25, 6, "bob"), (26, 0, "anna"),
    ]  # fmt: skip


LONG = "DTSTART:19700101T000000Z\r\nDURATION:PT1H"
OUTLOOK = "\r\n".join([
    "BEGIN:VTIMEZONE", "TZID:Our Time", "BEGIN:STANDARD", "DTSTART:16010101T030000", "TZOFFSETFROM:+0200",
    "TZOFFSETTO:+0100", "RRULE:FREQ=YEARLY;BYDAY=-1SU;BYMONTH=10", "END:STANDARD", "BEGIN:DAYLIGHT",
    "DTSTART:16010101T020000", "TZOFFSETFROM:+0100", "TZOFFSETTO:+0200", "RRULE:FREQ=YEARLY;BYDAY=-1SU;BYMONTH=3",
    "END:DAYLIGHT", "END:VTIMEZONE",
])  # fmt: skip


def test_a_time_zone_of_outlook(tmp_path: Path) -> None:
    lines = "DTSTART;TZID=Our Time:20260330T090000", "DTEND;TZID=Our Time:20260330T170000"
    (span,) = read(tmp_path, calendar(OUTLOOK, event("UID:1", "SUMMARY:anna", *lines))).spans
    assert span[:2] == (at("2026-03-30T09:00+02:00"), at("2026-03-30T17:00+02:00"))


HOSTILE: dict[str, tuple[str | bytes, str]] = {
    "secondly": (calendar(event("UID:1", LONG, "RRULE:FREQ=SECONDLY")), "FREQ must be one of DAILY"),
    "folded": (calendar(event("UID:1", LONG, "RRU\r\n LE:FREQ=MIN\r\n\tUTELY")), "FREQ must be one of DAILY"),
    "lower case": (calendar(event("UID:1", LONG, "rrule;x=y:freq=hourly")), "FREQ must be one of DAILY"),
    "no frequency": (calendar(event("UID:1", LONG, "RRULE:COUNT=3")), "FREQ must be one of DAILY"),
    "never": (calendar(event("UID:1", LONG, "RRULE:FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30")), "BYMONTH is not supported"),
    "never on tuesday": (calendar(event("UID:1", LONG, "RRULE:FREQ=DAILY;INTERVAL=7;BYDAY=MO")), "BYDAY does not go"),
    "every second of a day": (calendar(event("UID:1", LONG, "RRULE:FREQ=DAILY;BYSECOND=1,2")), "BYSECOND is not"),
    "much": (calendar(event("UID:1", LONG, "RRULE:FREQ=DAILY;COUNT=99999999")), "COUNT must be 1 to 10000"),
    "zero": (calendar(event("UID:1", LONG, "RRULE:FREQ=DAILY;INTERVAL=0")), "INTERVAL must be 1 to 400"),
    "odd": (calendar(event("UID:1", LONG, "RRULE:FREQ=DAILY;INTERVAL=²")), "INTERVAL must be 1 to 400"),
    "sixth monday": (calendar(event("UID:1", LONG, "RRULE:FREQ=MONTHLY;BYDAY=6MO")), "BYDAY must name days"),
    "exrule": (calendar(event("UID:1", LONG, "EXRULE:FREQ=DAILY")), "this is not supported"),
    "zone": (calendar(OUTLOOK.replace("FREQ=YEARLY", "FREQ=DAILY")), "this is not supported"),
    "often": (calendar(*[event(f"UID:{n}", LONG, "RRULE:FREQ=DAILY") for n in range(300)]), "more than 100000"),
    "many": (calendar(*[event(f"UID:{n}", "DTSTART:20260101T000000Z") for n in range(1001)]), "more than 1000 comp"),
    "deep": (calendar("BEGIN:VEVENT\r\n" * 900), "nested too deeply"),
    "dates": (calendar(event("UID:1", LONG, *["RDATE:" + "20260101T000000Z," * 400] * 6)), "more than 2000 single"),
    "line": (calendar(event("UID:1", LONG, "SUMMARY:" + "x" * 9000)), "longer than 8192"),
    "folded line": (calendar(event("UID:1", LONG, "SUMMARY:" + "x\r\n " * 9000)), "longer than 8192"),
    "large": (calendar() + "X" * (1 << 20), "more than 1 MB"),
    "an age": (calendar(event("UID:1", "SUMMARY:anna", "DTSTART:20260101T000000Z", "DURATION:P9999D")), "than a year"),
    "antiquity": (calendar(event("UID:1", "SUMMARY:anna", "DTSTART:00010101T000000Z")), "not of 1970 to 2100"),
    "no utf-8": (b"BEGIN:VCALENDAR\r\n\xff", "is not UTF-8"),
    "empty": ("", "does not begin with BEGIN:VCALENDAR"),
    "html": ("<html>sign in</html>", "does not begin with BEGIN:VCALENDAR"),
    "cut off": (calendar(event("UID:1", LONG))[:-30], "not a calendar"),
    "no start": (calendar(event("UID:1", "SUMMARY:anna", "RRULE:FREQ=DAILY")), "not a calendar"),
    "bad time": (calendar(event("UID:1", "DTSTART:20261301T000000Z")), "not a calendar"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused_at_once(name: str, tmp_path: Path) -> None:
    text, said = HOSTILE[name]
    began = time.monotonic()
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text)
    assert said in str(caught.value) and str(tmp_path / "oncall.ics") in str(caught.value)
    assert time.monotonic() - began < BOUND_S


def test_as_much_as_is_allowed_is_read_in_bounded_time(tmp_path: Path) -> None:
    """Events from 1970 on that recur daily, as many as there may be."""
    count = events.MOST_TURNS // ((WEEK[1] + timedelta(days=30) - datetime(1970, 1, 1, tzinfo=UTC)).days)
    assert count >= 4
    text = calendar(*[event(f"UID:{n}", LONG, "SUMMARY:anna", "RRULE:FREQ=DAILY;BYDAY=MO") for n in range(count)])
    began = time.monotonic()
    assert len(read(tmp_path, text).spans) >= 3 * count
    many = calendar(
        *[event(f"UID:{n}", "DTSTART:20260330T000000Z", "DURATION:PT1H", "SUMMARY:anna") for n in range(990)]
    )
    assert len(read(tmp_path, many).spans) == 990
    assert time.monotonic() - began < 3 * BOUND_S


pieces = st.sampled_from([
    "BEGIN:VEVENT", "END:VEVENT", "BEGIN:VTIMEZONE", "END:VTIMEZONE", "UID:1", "SUMMARY:anna",
    "DTSTART:20260401T000000Z",
    "DTSTART;VALUE=DATE:20260401", "DTSTART;TZID=Nowhere:20260401T000000", "DTEND:20260402T000000Z", "DURATION:PT1H",
    "DURATION:-P1D", "RRULE:FREQ=DAILY", "RRULE:FREQ=WEEKLY;BYDAY=MO;COUNT=3", "RRULE:FREQ=YEARLY;UNTIL=20300101",
    "RRULE:FREQ=MONTHLY;INTERVAL=3", "EXDATE:20260401T000000Z", "RDATE;VALUE=PERIOD:20260401T000000Z/PT5H",
    "RECURRENCE-ID:20260401T000000Z", "TZID:Nowhere", "TZOFFSETFROM:+9900", "TZOFFSETTO:-0100", "ATTENDEE:x", " fold",
    ":", "=;", "X-WR-TIMEZONE:Europe/Berlin", "X-WR-TIMEZONE:\x00", "SEQUENCE:x", "STATUS:CANCELLED",
])  # fmt: skip


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=st.lists(pieces | st.text(max_size=20), max_size=25))
def test_any_file_is_read_or_refused(lines: list[str], tmp_path: Path) -> None:
    try:
        found = read(tmp_path, calendar("BEGIN:VEVENT", *lines, "END:VEVENT").encode(errors="replace"))
    except ConfigError as error:
        assert "oncall.ics" in str(error)
    else:
        assert all(span.since < span.until and span.person in PEOPLE for span in found.spans)


def test_a_rota_goes_on_without_its_calendar(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A file that a synchronisation has broken at three in the morning must not keep an alert from anybody."""
    rota = Rota(id="servers", timezone="Europe/Berlin", calendar=str(tmp_path / "oncall.ics"), otherwise="bob")
    lookup = Lookup(Escalation(people=PEOPLE, rotas={"servers": rota}), {})
    now = WEEK[0]
    (tmp_path / "oncall.ics").write_text("<html>")
    roster = lookup.rosters([], now, now)["servers"]
    assert on_call(roster, now)[:2] == ("bob", "otherwise")
    assert roster.note == "oncall.ics cannot be used" and "does not begin with" in caplog.text
    with pytest.raises(ConfigError):
        lookup.rosters([], now, now, strict=True)
    text = calendar(event("UID:1", "SUMMARY:anna", "DTSTART:20260323T000000Z", "DURATION:P1D"))
    (tmp_path / "oncall.ics").write_text(text)
    assert on_call(lookup.rosters([], now, now)["servers"], now)[:2] == ("anna", "calendar")


def test_without_the_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("icalendar", "recurring_ical_events", "holidays"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, calendar())
    assert "which is not installed" in str(caught.value) and "mytech-rmm[calendars]" in caught.value.hint
    with pytest.raises(ConfigError) as caught:
        holiday_of(["FR"])
    assert "which is not installed" in str(caught.value) and "mytech-rmm[calendars]" in caught.value.hint
    assert not holiday_of([])(WEEK[0].date())  # who has no holidays needs no package
