"""Scopes, silences, dependencies: what fits what, and that thousands of them are cheap."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rmm.core.alerting.dependencies import Dependencies, cycle
from rmm.core.alerting.flapping import calm, turned
from rmm.core.alerting.scopes import Place, ScopeIndex, members
from rmm.core.alerting.silences import Silences, fits, labels_of, parse_matcher
from rmm.model.alerting import Dependency, Flapping, Scope
from rmm.model.incident import Silence
from rmm.model.rule import Alert

NOW = datetime(2026, 11, 26, tzinfo=UTC)


def alert(endpoint: str = "a", rule: str = "cpu_high", site: str = "hq", severity: str = "critical") -> Alert:
    return Alert(
        key=f"{rule}|{endpoint}|", rule=rule, endpoint=endpoint, name=endpoint.upper(), site=site, severity=severity,
        state="firing", summary="s", value=1, first_at=NOW, last_at=NOW, row="C:",
    )  # fmt: skip


def silence(*matchers: str, number: int = 1) -> Silence:
    return Silence(
        number=number, matchers=tuple(parse_matcher(one) for one in matchers), author="ann", reason="r", starts_at=NOW,
        ends_at=NOW + timedelta(hours=1),
    )  # fmt: skip


PLACE = Place("a", "A", "hq", "web", ("prod", "de"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rule=cpu_high", True), ('rule="cpu_high"', True), ("alertname = cpu_high", True), ("rule!=cpu_high", False),
        ("endpoint=A", True), ("endpoint=a", True), ("endpoint=~a|b", True), ("endpoint!~b.*", True),
        ("tag=prod", True), ("tag!=prod", False), ("tag=~d.", True), ("group=web", True), ("site=~h", False),
        ("severity=warning", False), ("row=C:", True), ("incident=", True),
    ],
)  # fmt: skip
def test_matchers(text: str, expected: bool) -> None:
    assert fits(parse_matcher(text), labels_of(alert(), PLACE)) is expected
    assert (Silences([silence(text)]).find(alert(), PLACE, NOW) is not None) is expected


@pytest.mark.parametrize(
    "text",
    [
        "rule", "colour=red", "rule=~(", "rule=~(a+)+", "rule=~(a|a)*b", "rule=~(.*)(.*)(.*)(.*)x", r"rule=~(a)\1",
        "rule=~(?=a)a", "rule=~" + "a?" * 40, "rule=" + "x" * 201, "rule=~" + ".{1,99}" * 8, "=x", "",
    ],
)  # fmt: skip
def test_what_is_no_matcher(text: str) -> None:
    with pytest.raises(ValueError):
        parse_matcher(text)


@settings(max_examples=200, deadline=None)
@given(st.text("ab.*+?|()[]{}1,\\", max_size=14), st.text("ab", max_size=300))
def test_a_pattern_that_is_allowed_is_fast(text: str, value: str) -> None:
    try:
        matcher = parse_matcher(f"rule=~{text}")
    except ValueError:
        return
    began = time.process_time()
    fits(matcher, {"rule": (value,)})
    assert time.process_time() - began < 2


def test_the_worst_pattern_that_is_allowed() -> None:
    matcher = parse_matcher("rule=~.*a.*b.*c")
    began = time.process_time()
    assert not fits(matcher, {"rule": ("ab" * 5000,)})
    assert time.process_time() - began < 2


def test_a_silence_holds_from_its_start_to_its_end() -> None:
    held = Silences([silence("rule=cpu_high")])
    assert held.find(alert(), PLACE, NOW - timedelta(seconds=1)) is None
    assert held.find(alert(), PLACE, NOW) is not None
    assert held.find(alert(), PLACE, NOW + timedelta(hours=1)) is None


def test_thousands_of_silences_and_scopes_cost_as_a_few() -> None:
    many = Silences([silence(f"endpoint=e{n}", number=n) for n in range(5000)])
    index = ScopeIndex([(n, Scope(endpoint=(f"e{n}",))) for n in range(5000)])
    began = time.process_time()
    for n in range(1000):
        place = Place(f"e{n}", f"E{n}", "hq", "web", ("prod",))
        found = many.find(alert(f"e{n}"), place, NOW)
        assert found is not None and found.number == n
        assert list(index.find(place, "cpu_high")) == [n]
    assert time.process_time() - began < 1


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_the_index_finds_what_a_search_of_all_finds(data: st.DataObject) -> None:
    words = st.lists(st.sampled_from(["a", "b", "A*", "?"]), max_size=2).map(tuple)
    plain = st.lists(st.sampled_from(["a", "b"]), max_size=2).map(tuple)
    scopes = data.draw(
        st.lists(st.builds(Scope, endpoint=words, group=plain, site=plain, tag=plain, rule=plain), max_size=6)
    )
    one = st.sampled_from(["", "a", "b"])
    place = Place(data.draw(one), data.draw(one).upper(), data.draw(one), data.draw(one), data.draw(plain))
    rule = data.draw(one)
    found = set(ScopeIndex(list(enumerate(scopes))).find(place, rule))
    for number, scope in enumerate(scopes):
        alone = {*ScopeIndex([(0, scope)]).find(place, rule)} == {0}
        assert (number in found) is alone
        wide = Scope(endpoint=scope.endpoint or (), rule=scope.rule)
        if scope == wide and not scope.endpoint:
            assert alone is (not scope.rule or not rule or rule in scope.rule)


def test_members_of_a_scope() -> None:
    places = {name: Place(name, name.upper(), "hq", "web", ("prod",)) for name in ("srv-1", "srv-2", "pc-1")}
    assert members(Scope(endpoint=("SRV-*",)), places) == {"srv-1", "srv-2"}
    assert members(Scope(group=("WEB",), tag=("Prod",)), places) == set(places)
    assert members(Scope(site=("x",)), places) == set()


SWITCH = Dependency(of=Scope(group=("branch",)), endpoints=("sw",))
PLACES = {
    "sw": Place("sw", "SW", "b", "branch"), "pc": Place("pc", "PC", "b", "branch"), "dc": Place("dc", "DC", "hq", "dc")
}  # fmt: skip


def test_what_follows_from_a_cause() -> None:
    def fires(endpoint: str, site: str, rules: object) -> Alert | None:
        return alert("sw", "endpoint_unreachable") if endpoint == "sw" else None

    index = Dependencies([SWITCH])
    found = index.find(alert("pc"), PLACES["pc"], fires)
    assert found is not None and (found.kind, found.ref) == ("dependency", "endpoint_unreachable|sw|")
    assert index.find(alert("sw"), PLACES["sw"], fires) is None  # a cause does not follow from itself
    assert index.find(alert("dc"), PLACES["dc"], fires) is None
    both = Dependency(of=Scope(group=("branch",)), endpoints=("sw", "dc"))
    assert Dependencies([both]).find(alert("pc"), PLACES["pc"], fires) is None  # all of them have to be broken


def test_cycles() -> None:
    assert cycle([SWITCH], PLACES) == ()
    back = Dependency(of=Scope(endpoint=("sw",)), endpoints=("pc",))
    assert set(cycle([SWITCH, back], PLACES)) == {0, 1}
    sites = [
        Dependency(of=Scope(site=("b",)), sites=("hq",)),
        Dependency(of=Scope(site=("hq",)), sites=("b",)),
    ]
    assert set(cycle(sites, PLACES)) == {0, 1}
    assert cycle(sites[:1], PLACES) == ()
    chain = [Dependency(of=Scope(endpoint=(f"e{n}",)), endpoints=(f"e{n + 1}",)) for n in range(3000)]
    wide = {f"e{n}": Place(f"e{n}", f"E{n}", "b") for n in range(3001)}
    assert cycle(chain, wide) == ()
    assert len(cycle([*chain, Dependency(of=Scope(endpoint=("e3000",)), endpoints=("e0",))], wide)) == 3001


def test_flapping() -> None:
    limits = Flapping(transitions=3, window=3600, calm=1800)
    flap = turned(None, "k", NOW, limits)
    flap = turned(flap, "k", NOW + timedelta(minutes=5), limits)
    assert flap.since is None
    assert turned(flap, "k", NOW + timedelta(minutes=70), limits).since is None  # the first are too long ago
    flap = turned(flap, "k", NOW + timedelta(minutes=10), limits)
    assert flap.since == NOW + timedelta(minutes=10)
    assert not calm(flap, NOW + timedelta(minutes=39), limits)
    assert calm(flap, NOW + timedelta(minutes=40), limits)
