"""The stages, with a clock that the test moves: weeks in seconds, and what was stored as a dictionary."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmm.core.alerting.group import digest_at, repeats
from rmm.core.alerting.pipeline import Known, Unit, plan
from rmm.core.alerting.retry import next_try
from rmm.core.alerting.route import DEFAULT, Context, labels, matches
from rmm.model.incident import Suppression
from rmm.model.routing import Heard, Inhibition, Route, Routing, Subject, Waiting
from rmm.model.rule import Alert, Notification

START = datetime(2026, 3, 1, 10, 30, tzinfo=UTC)


def alert(key: str = "a", **given: Any) -> Alert:
    values: dict[str, Any] = {
        "rule": "cpu_high", "endpoint": f"e-{key}", "name": key.upper(), "site": "hq", "severity": "critical",
        "state": "firing", "summary": "s", "value": 1, "first_at": START, "last_at": START,
    }  # fmt: skip
    return Alert(key=key, **{**values, **given})


class Fleet:
    """Stores what the stages plan, as the database does."""

    def __init__(
        self, *routes: Route, inhibit: tuple[Inhibition, ...] = (), subjects: Mapping[str, Subject] | None = None
    ) -> None:
        routing = Routing(routes=routes, inhibit=inhibit, subjects=subjects or {}, quarters={"cpu_high": "performance"})
        self.context = Context(routing, ("mail", "pager", "chat"))
        self.now = START
        self.live: dict[str, Alert] = {}
        self.bodies: dict[str, Notification] = {}
        self.waiting: dict[tuple[str, str], Waiting] = {}
        self.heard: dict[tuple[str, str], Heard] = {}
        self.flushed: dict[Unit, datetime] = {}
        self.sent: list[tuple[str, Notification]] = []
        self.outcomes: dict[str, list[str]] = {}
        self._fresh: list[Notification] = []

    def tell(self, one: Alert, kind: str = "") -> None:
        kind = kind or ("firing" if one.state == "firing" else one.state)
        if one.state == "resolved":
            self.live.pop(one.key, None)
        else:
            self.live[one.key] = one
        name = f"{one.key}@{self.now.isoformat()}:{kind}"
        self._fresh.append(Notification(id=name, kind=kind, at=self.now, alerts=(one,)))

    def end(self, key: str) -> None:
        self.tell(msgspec.structs.replace(self.live[key], state="resolved"))

    def step(self, **passed: float) -> list[tuple[str, str, list[str]]]:
        """Time passes, the stages run; (channel, kind, alerts) of what was sent."""
        self.now += timedelta(**passed)
        self.bodies |= {one.id: one for one in self._fresh}
        known = Known(self.bodies, list(self.waiting.values()), list(self.heard.values()), self.flushed, self.live)
        made = plan(self._fresh, known, self.context, self.now)
        self._fresh = []
        for one in made.done:
            self.waiting.pop((one.channel, one.id), None)
        self.waiting |= {(one.channel, one.id): one for one in made.waiting}
        for pair, told in made.heard.items():
            if told is None:
                self.heard.pop(pair, None)
            else:
                self.heard[pair] = told
        self.flushed |= made.flushed
        self.outcomes |= made.outcomes
        routes = {one.name: one for one in (*self.context.routing.routes, DEFAULT)}
        again = repeats(self.heard.values(), {key: [one] for key, one in self.live.items()}, routes, self.now)
        self.heard |= {(told.alert, told.channel): told for one in again for told in one.heard}
        sent = [*made.messages, *((one.channel, one.message) for one in again)]
        self.sent += sent
        return sorted((channel, one.kind, [a.key for a in one.alerts]) for channel, one in sent)


def test_without_routes_everything_goes_everywhere_at_once() -> None:
    fleet = Fleet()
    fleet.tell(alert("a"))
    fleet.end("a")
    assert fleet.step() == [(c, k, ["a"]) for c in ("chat", "mail", "pager") for k in ("firing", "resolved")]
    assert {one.id for _, one in fleet.sent} == set(fleet.bodies)  # the ids stay what they were


def test_routes_by_label() -> None:
    fleet = Fleet(
        Route(name="r1", match={"severity": "critical", "tag": ["prod", "dr*"]}, channels=("pager",), more=True),
        Route(name="r2", match={"site": ["hq", "berlin"]}, channels=("mail", "pager")),
        Route(name="r3", match={"rule": "noise_*"}, channels=()),
        subjects={"e-a": Subject("servers", ("x", "drill"))},
    )
    fleet.tell(alert("a"))
    fleet.tell(alert("b", site="oslo"))
    fleet.tell(alert("c", site="oslo", rule="noise_fan"))
    assert fleet.step() == sorted(
        [("pager", "firing", ["a"]), ("mail", "firing", ["a"]), *((c, "firing", ["b"]) for c in fleet.context.channels)]
    )
    (outcome,) = (said for name, said in fleet.outcomes.items() if name.startswith("c@"))
    assert outcome == ["nobody: no route names a channel"]


def test_the_end_goes_where_the_beginning_went() -> None:
    fleet = Fleet(
        Route(name="r1", match={"severity": "critical"}, channels=("pager",)), Route(name="r2", channels=("mail",))
    )
    fleet.tell(alert("a"))
    assert fleet.step() == [("pager", "firing", ["a"])]
    fleet.tell(alert("a", severity="warning", state="resolved"))
    assert fleet.step() == [("pager", "resolved", ["a"])]
    assert fleet.heard == {}
    fleet.tell(alert("z", state="resolved"))
    assert fleet.step() == []  # nobody had heard of it


def test_groups_wait_and_then_keep_their_interval() -> None:
    fleet = Fleet(Route(name="r", channels=("mail",), group_by=("site", "rule"), group_wait=30, group_interval=300))
    fleet.tell(alert("a"))
    assert fleet.step() == []
    fleet.now += timedelta(seconds=20)
    fleet.tell(alert("b"))
    fleet.tell(alert("c", site="oslo"))
    assert fleet.step(seconds=9) == []
    assert fleet.step(seconds=1) == [("mail", "firing", ["a", "b"])]
    assert fleet.step(seconds=20) == [("mail", "firing", ["c"])]
    fleet.tell(alert("d"))
    assert fleet.step(seconds=60) == []
    assert fleet.step(seconds=240) == [("mail", "firing", ["d"])]
    fleet.end("a")
    fleet.end("b")
    assert fleet.step(seconds=300) == [("mail", "resolved", ["a", "b"])]
    assert len({one.id for _, one in fleet.sent}) == 4


def test_what_comes_and_goes_while_it_waits_is_not_told() -> None:
    fleet = Fleet(Route(name="r", channels=("mail",), group_wait=60))
    fleet.tell(alert("a"))
    assert fleet.step() == []
    fleet.now += timedelta(seconds=10)
    fleet.end("a")
    assert fleet.step() == []
    assert fleet.step(hours=1) == []
    assert fleet.waiting == {}


def test_what_fires_on_is_told_again_until_somebody_acknowledges() -> None:
    fleet = Fleet(Route(name="r", channels=("mail",), repeat_interval=4 * 3600))
    fleet.tell(alert("a"))
    assert fleet.step() == [("mail", "firing", ["a"])]
    told = [fleet.step(minutes=10) for _ in range(24 * 6)]
    assert sum(map(len, told)) == 6  # in a day
    assert len({one.id for _, one in fleet.sent}) == 7
    fleet.tell(alert("a", state="acknowledged"), "acknowledged")
    fleet.step()
    assert not any(fleet.step(hours=1) for _ in range(48))
    fleet.end("a")
    assert fleet.step() == [("mail", "resolved", ["a"])]


def test_a_route_tells_again_in_its_own_time_or_the_fleets() -> None:
    fleet = Fleet(
        Route(name="own", channels=("mail",), repeat_interval=4 * 3600, more=True), Route(name="r", channels=("chat",))
    )
    fleet.tell(alert("a"))
    assert fleet.step() == [("chat", "firing", ["a"]), ("mail", "firing", ["a"])]
    fleet.now += timedelta(hours=1)
    fleet.tell(alert("a"), "reminder")
    assert fleet.step() == [("chat", "reminder", ["a"])]


def test_an_incident_waits_while_all_of_it_is_muted() -> None:
    fleet = Fleet(Route(name="r", channels=("mail",), group_wait=60))
    quiet = {"a", "b"}
    silence = Suppression("silence", "1", "silenced by anna: x")
    fleet.context = fleet.context._replace(mutes=lambda one, at: silence if one.key in quiet else None)
    fleet.tell(alert("a"))
    (whole,) = fleet._fresh
    fleet._fresh = [msgspec.structs.replace(whole, alerts=(alert("a"), alert("b")))]
    fleet.step()
    assert fleet.step(seconds=60) == [] and fleet.outcomes[whole.id] == ["mail: silence: silenced by anna: x"]
    quiet.remove("b")
    assert fleet.step(seconds=60) == [("mail", "firing", ["a", "b"])]


def test_what_was_over_before_anybody_knew_has_no_end_to_come() -> None:
    fleet = Fleet()
    fleet.tell(alert("a", state="resolved", late=True), "firing")
    assert fleet.step() == [(name, "firing", ["a"]) for name in ("chat", "mail", "pager")]
    assert fleet.heard == {}


def test_a_digest_tells_of_a_day() -> None:
    fleet = Fleet(Route(name="r", channels=("mail",), digest="07:00"))
    for hour in range(24 * 7):
        fleet.tell(alert(str(hour)))
        if hour % 2:
            fleet.end(str(hour))
        fleet.step(hours=1)
    fleet.step(hours=24)
    assert [len(one.alerts) for _, one in fleet.sent] == [21, 24, 24, 24, 24, 24, 24, 3]
    assert all(one.digest for _, one in fleet.sent)


@pytest.mark.parametrize(
    ("digest", "at", "expected"),
    [
        ("hourly", "10:30", "11:00"),
        ("hourly", "11:00", "12:00"),
        ("07:00", "06:59", "07:00"),
        ("07:00", "07:00", "07:00"),
    ],
)
def test_moments_of_digests(digest: str, at: str, expected: str) -> None:
    found = digest_at(digest, datetime.fromisoformat(f"2026-03-01T{at}+00:00"))
    assert found.strftime("%H:%M") == expected
    assert found > datetime.fromisoformat(f"2026-03-01T{at}+00:00")


def test_inhibition_waits_for_its_end() -> None:
    rule = Inhibition(source={"rule": "site_down"}, target={"severity": ["warning", "critical"]}, equal=("site",))
    fleet = Fleet(Route(name="r", channels=("mail",)), inhibit=(rule,))
    fleet.tell(alert("down", rule="site_down"))
    fleet.tell(alert("a"))
    fleet.tell(alert("b"))
    fleet.tell(alert("c", site="oslo"))
    assert fleet.step() == [("mail", "firing", ["c"]), ("mail", "firing", ["down"])]
    assert ["mail: inhibited by down"] in fleet.outcomes.values()
    assert fleet.step(minutes=2) == []
    fleet.end("a")
    fleet.end("down")
    assert fleet.step(minutes=2) == [("mail", "firing", ["b"]), ("mail", "resolved", ["down"])]
    assert fleet.waiting == {}


def test_a_broad_inhibition_does_not_silence_its_own_kind() -> None:
    rule = Inhibition(source={"severity": "critical"}, target={"severity": ["warning", "critical"]}, equal=("site",))
    fleet = Fleet(Route(name="r", channels=("mail",)), inhibit=(rule,))
    fleet.tell(alert("a"))
    fleet.tell(alert("b"))
    fleet.tell(alert("w", severity="warning"))
    assert fleet.step() == [("mail", "firing", ["a"]), ("mail", "firing", ["b"])]


def test_hostile_names_are_their_own_groups() -> None:
    fleet = Fleet(Route(name="r", channels=("mail",), group_by=("name", "site")))
    fleet.tell(alert("a", name="x|site=1:y", site="z"))
    fleet.tell(alert("b", name="x", site="y|site=1:z"))
    assert len(fleet.step()) == 2


def test_labels_of_external_alerts() -> None:
    one = alert(rule="external:Down", endpoint="", site="", value={"labels": {"site": "hq"}})
    found = labels(one, Routing())
    assert found["site"] == ("hq",) and found["source"] == ("external",)
    assert matches({"source": "external", "rule": "external:*"}, found)


steps = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from(["fire", "end", "worse", "time"]), st.integers(0, 400)),
    max_size=40,
)


@given(steps, st.sampled_from([0, 5, 60]), st.sampled_from([0, 60]), st.sampled_from([(), ("site",)]))
def test_nobody_is_left_with_a_wrong_idea(
    script: list[tuple[str, str, int]], wait: int, interval: int, by: tuple[str, ...]
) -> None:
    """However alerts come and go: at last each channel has heard of exactly those that fire, each time once."""
    fleet = Fleet(Route(name="r", channels=("mail",), group_by=by, group_wait=wait, group_interval=interval))
    for key, what, seconds in script:
        fleet.now += timedelta(seconds=seconds, milliseconds=1)
        if what == "end" and key in fleet.live:
            fleet.end(key)
        elif what != "end" and what != "time" and (what == "worse") is (key in fleet.live):
            fleet.tell(alert(key))
        if what == "time":
            fleet.step()
    fleet.step(hours=1)
    fleet.step(hours=1)
    believed: dict[str, str] = {}
    for _, message in fleet.sent:
        for one in message.alerts:
            if one.state == "resolved":
                assert believed.pop(one.key) == "firing"  # nobody hears of the end of what was never told
            else:
                believed[one.key] = one.state
    assert set(believed) == set(fleet.live)
    assert fleet.waiting == {}
    assert len({one.id for _, one in fleet.sent}) == len(fleet.sent)


@given(st.integers(1, 10_000), st.floats(0, 1), st.floats(0, 1e9))
def test_retries_are_bounded(failures: int, jitter: float, asked: float) -> None:
    wait = (next_try(failures, START, jitter) - START).total_seconds()
    assert 0.5 <= wait <= 300
    assert (next_try(failures, START, jitter, asked) - START).total_seconds() <= 3600
