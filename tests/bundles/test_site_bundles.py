"""The site's side: what it takes, what it refuses, and that it always has one configuration that is whole."""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from bundling import Key, bundle_of, bundles_of, edit, serving, usable

from rmm.bus.memory import MemoryBus
from rmm.core.bundles import seal_bundle
from rmm.errors import CatalogError, ConfigError, TransportError, VaultError
from rmm.model.bundle import CHANGED, CHUNK, CURRENT, MOST_BYTES, NONE, PART, Answer, Question
from rmm.settings.load import load_settings
from rmm.settings.places import active_version
from rmm.site.bundle import TRIAL, Bundles


def plain(place: Path, key: Key, **options: Any) -> Bundles:
    """Of a site that takes whatever is signed."""
    made: Bundles = bundles_of(place, key, **{"check": lambda _: (), **options})
    return made


def number(place: Path) -> str:
    """What the configuration that counts says."""
    version = active_version(place)
    return (place / "bundles" / str(version) / "rmm.yaml").read_text() if version else ""


class Hub:
    """Says what it is told to say."""

    def __init__(self, data: bytes = b"", version: int = 1) -> None:
        self.data, self.version = data, version
        self.questions: list[Question] = []
        self.change: Callable[[Answer], Answer] = lambda answer: answer

    async def answer(self, _: str, data: bytes) -> bytes:
        question = msgspec.msgpack.decode(data, type=Question)
        self.questions.append(question)
        part = self.data[question.offset : question.offset + CHUNK]
        answer = Answer(state=PART, version=self.version, total=len(self.data), data=part)
        return msgspec.msgpack.encode(self.change(answer))


async def pulled(bundles: Bundles, hub: Hub) -> bool:
    bus = MemoryBus()
    async with bus.answer("rmm.ask.hq.bundle", hub.answer):
        return await bundles.pull(bus)


async def given(bundles: Bundles, key: Key, version: int, **other: Any) -> bool:
    return await pulled(bundles, Hub(seal_bundle(bundle_of(version, **other), key.sign), version))


async def test_a_site_gets_its_configuration_and_the_next_one(hub: Path, place: Path, key: Key) -> None:
    bundles = bundles_of(place, key)
    assert (bundles.running, bundles.problems) == ("", ())
    async with serving(hub, key) as bus:
        assert await bundles.pull(bus)
        assert bundles.running == "1"
        assert [one.id for one in load_settings(place).endpoints] == ["hq-web1", "hq-sw"]
        assert not await bundles.pull(bus)
        edit(hub / "endpoints.csv", "10.1.0.1", "10.1.0.9")
        assert await bundles.pull(bus)
        assert load_settings(place).endpoints[0].address == "10.1.0.9"
        assert (bundles.running, bundles.problems, bundles.refusals) == ("2", (), 0)
    assert {path.name for path in (place / "bundles").iterdir()} >= {"1", "2", "active", "state.json"}


async def test_two_are_kept(place: Path, key: Key) -> None:
    bundles = plain(place, key)
    for version in (1, 4, 9):
        assert await given(bundles, key, version)
    assert {path.name for path in (place / "bundles").iterdir() if path.is_dir()} == {"4", "9"}


async def test_what_is_older_is_refused_and_going_back_is_newer(place: Path, key: Key) -> None:
    told: list[str] = []
    bundles = plain(place, key, refused=told.append)
    assert await given(bundles, key, 5)
    for version in (1, 4, 5):
        assert not await given(bundles, key, version)
        assert "is not newer than 5" in bundles.problems[0]
    # A broker that says another number than is signed.
    assert not await pulled(bundles, Hub(seal_bundle(bundle_of(4), key.sign), 6))
    assert "version 4 is older" in bundles.problems[0]
    assert (number(place), bundles.refusals, len(told)) == ("number: 5\n", 4, 4)
    assert await given(bundles, key, 6, files={"rmm.yaml": b"number: 4\n"})
    assert (number(place), bundles.problems) == ("number: 4\n", ())


async def test_refusals_are_counted_over_starts_and_configurations(place: Path, key: Key) -> None:
    bundles = plain(place, key)
    assert await given(bundles, key, 5)
    assert not await pulled(bundles, Hub(seal_bundle(bundle_of(6), Key().sign), 6))
    bundles = plain(place, key)  # the next life
    assert bundles.refusals == 1
    assert not await pulled(bundles, Hub(b"\x00" * 100, 6))
    assert await given(bundles, key, 7)
    assert bundles.roll_back("broken")
    assert await given(bundles, key, 8)
    assert plain(place, key).refusals == 3


async def test_equal_numbers_with_other_content_are_refused(place: Path, key: Key) -> None:
    bundles = plain(place, key)
    assert await given(bundles, key, 7)
    assert bundles.roll_back("for no reason") is False  # there is none before it
    assert await given(bundles, key, 8)
    assert bundles.roll_back("broken")
    (place / "site.yaml").write_text("data: elsewhere\n")  # something has changed: it may be tried again
    assert not await given(bundles, key, 8, files={"rmm.yaml": b"number: evil\n"})
    assert number(place) == "number: 7\n"
    assert await given(bundles, key, 8)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (lambda key: seal_bundle(bundle_of(2), Key().sign), "the hub has not signed it"),
        (lambda key: seal_bundle(bundle_of(2, "berlin"), key.sign), "for the site 'berlin'"),
        (lambda key: seal_bundle(bundle_of(2, schema=3), key.sign), "has schema 3"),
        (lambda key: seal_bundle(bundle_of(2), key.sign)[:-1], "not what a bundle should be"),
        (lambda key: b"\x00" * 1000, "not what a bundle should be"),
    ],
)
async def test_what_is_not_the_hubs_is_refused_and_told_once(
    place: Path, key: Key, wrong: Callable[[Key], bytes], told: str
) -> None:
    audit: list[str] = []
    bundles = plain(place, key, refused=audit.append)
    assert await given(bundles, key, 1)
    for _ in range(3):
        assert not await pulled(bundles, Hub(wrong(key), 2))
    assert told in bundles.problems[0]
    assert (number(place), bundles.running, bundles.refusals, len(audit)) == ("number: 1\n", "1", 3, 1)
    assert {path.name for path in (place / "bundles").iterdir() if path.is_dir()} == {"1"}
    assert await given(bundles, key, 3)
    assert bundles.problems == ()


@pytest.mark.parametrize(
    "change",
    [
        lambda answer: msgspec.structs.replace(answer, total=MOST_BYTES + 1),
        lambda answer: msgspec.structs.replace(answer, total=1),
        lambda answer: msgspec.structs.replace(answer, total=answer.total + 1, data=answer.data + b"xy"),
        lambda answer: msgspec.structs.replace(answer, data=b""),
        lambda answer: msgspec.structs.replace(answer, data=bytes(600 << 10), total=1 << 20),
        lambda answer: msgspec.structs.replace(answer, version=-1),
    ],
)
async def test_parts_that_do_not_go_together_are_refused(
    place: Path, key: Key, change: Callable[[Answer], Answer]
) -> None:
    bundles = plain(place, key)
    hub = Hub(seal_bundle(bundle_of(1), key.sign))
    hub.change = change
    assert not await pulled(bundles, hub)
    assert (bundles.running, bundles.refusals) == ("", 1)
    assert len(hub.questions) <= 2
    hub.change = lambda answer: answer
    assert await pulled(bundles, hub)


async def test_a_hub_that_feeds_crumbs_does_not_keep_it_for_ever(place: Path, key: Key) -> None:
    hub = Hub(bytes(1 << 20))
    hub.change = lambda answer: msgspec.structs.replace(answer, data=answer.data[:1])
    bundles = plain(place, key)
    assert not await pulled(bundles, hub)
    assert len(hub.questions) < 2000
    hub.change = lambda answer: Answer(state=CHANGED, version=2)
    hub.questions.clear()
    assert not await pulled(bundles, hub)
    assert len(hub.questions) < 10


async def test_a_lost_link_goes_on_where_it_was(place: Path, key: Key) -> None:
    data = seal_bundle(bundle_of(1, files={"rmm.yaml": b"", "noise": os.urandom(4 * CHUNK)}), key.sign)
    hub, bundles, bus = Hub(data), plain(place, key), MemoryBus()
    assert not await bundles.pull(bus)  # nobody is there
    assert "cannot be fetched" in bundles.problems[0]

    async def lossy(subject: str, question: bytes) -> bytes:
        if len(hub.questions) == 2:
            hub.questions.append(Question())
            raise ConnectionError
        return await hub.answer(subject, question)

    async with bus.answer("rmm.ask.hq.bundle", lossy):
        assert not await bundles.pull(bus)
        assert await bundles.pull(bus)
    assert [one.offset // CHUNK for one in hub.questions] == [0, 1, 0, 2, 3, 4]
    assert (bundles.running, bundles.problems, bundles.refusals) == ("1", (), 0)


async def test_a_hub_that_has_none_says_why(hub: Path, place: Path, key: Key) -> None:
    edit(hub / "rmm.yaml", "id: hq", "id: hq2")
    edit(hub / "endpoints.csv", ",hq,", ",hq2,")
    bundles = bundles_of(place, key)
    async with serving(hub, key) as bus:
        assert not await bundles.pull(bus)
    assert "the hub has none for hq" in bundles.problems[0]
    assert bundles.refusals == 0


async def test_what_cannot_be_loaded_is_refused_once_and_the_old_one_goes_on(hub: Path, place: Path, key: Key) -> None:
    audit: list[str] = []
    bundles = bundles_of(place, key, refused=audit.append)
    async with serving(hub, key) as bus:
        assert await bundles.pull(bus)
        edit(hub / "rules/ours.yaml", "collector: cpu, field: util_pct, where: {core: _Total}, warning", "collector: cpu, field: nothing, warning")  # fmt: skip  # noqa: E501
        for _ in range(3):
            assert not await bundles.pull(bus)
        assert bundles.running == "1"
        assert "configuration 2 is refused" in bundles.problems[0]
        assert re.search(r"bundles.2.rules.ours\.yaml:\d+: rules\[0\]\.field", bundles.problems[0])
        assert (bundles.refusals, len(audit)) == (1, 1)
        assert {path.name for path in (place / "bundles").iterdir() if path.is_dir()} == {"1"}
        edit(hub / "rules/ours.yaml", "field: nothing", "field: util_pct, where: {core: _Total}")
        assert await bundles.pull(bus)
        assert (bundles.running, bundles.problems) == ("3", ())


async def test_what_makes_the_reading_of_it_fall_over_is_refused_too(place: Path, key: Key) -> None:
    def check(_: Path) -> tuple[str, ...]:
        raise KeyError("x")

    bundles = bundles_of(place, key, check=check)
    assert not await given(bundles, key, 1)
    assert "KeyError while it was read" in bundles.problems[0]


async def test_what_did_not_fit_is_tried_again_when_the_sites_own_part_is_another(place: Path, key: Key) -> None:
    def check(_: Path) -> tuple[str, ...]:
        if not (place / "credentials.vault").exists():
            raise VaultError("there is no credential 'new'")
        return ()

    bundles = bundles_of(place, key, check=check)
    hub = Hub(seal_bundle(bundle_of(3), key.sign), 3)
    hub.change = lambda answer: Answer(state=CURRENT, version=3) if hub.questions[-1].version == 3 else answer
    assert not await pulled(bundles, hub)
    assert not await pulled(bundles, hub)
    assert hub.questions[-1].version == 3
    (place / "credentials.vault").write_text("new")
    assert await pulled(bundles, hub)
    assert (bundles.running, bundles.problems) == ("3", ())


@pytest.mark.parametrize("error", [ConfigError("no"), CatalogError("no"), VaultError("no credential 'new'")])
async def test_a_new_one_that_fails_in_its_first_rounds_is_given_back(place: Path, key: Key, error: Exception) -> None:
    bundles = plain(place, key)
    assert await given(bundles, key, 1)
    for _ in range(TRIAL):
        assert not bundles.tried(None)
    assert await given(bundles, key, 2)
    assert not bundles.tried(TransportError("endpoints are down"))
    assert not bundles.tried(None)
    again = plain(place, key)  # also after a restart
    again.recover()
    assert again.tried(error)  # type: ignore[arg-type]
    assert (number(place), again.running) == ("number: 1\n", "1")
    assert f"configuration 2 is refused: {error}" in again.problems[0]
    assert not again.tried(error)  # type: ignore[arg-type]
    hub = Hub(seal_bundle(bundle_of(2), key.sign), 2)
    assert not await pulled(again, hub)
    assert hub.questions[0].version == 2  # it does not want that one
    assert await given(again, key, 3)


async def test_a_round_that_began_before_says_nothing_of_the_new_one(place: Path, key: Key) -> None:
    bundles = plain(place, key)
    assert await given(bundles, key, 1)
    old = str(place / "bundles" / "1")
    assert await given(bundles, key, 2)
    for _ in range(TRIAL):
        assert not bundles.tried(None, old)
        assert not bundles.tried(ConfigError("of the old one"), old)
        assert not bundles.tried(ConfigError("before there was any"), "")
    assert bundles.running == "2"
    assert bundles.tried(ConfigError("of the new one"), str(place / "bundles" / "2"))


async def test_the_end_of_a_round_does_not_wait_for_a_fetch(place: Path, key: Key) -> None:
    working, done = threading.Event(), threading.Event()

    def check(path: Path) -> tuple[str, ...]:
        if path.name == "3":
            working.set()
            done.wait(20)
        return ()

    bundles = bundles_of(place, key, check=check)
    for version in (1, 2):
        assert await given(bundles, key, version)
    fetching = asyncio.create_task(given(bundles, key, 3))
    await asyncio.to_thread(working.wait, 20)
    began = time.monotonic()
    assert not bundles.tried(None)
    assert not bundles.tried(ConfigError("x"))
    assert time.monotonic() - began < 2
    assert bundles.running == "2"
    done.set()
    assert await fetching
    assert (bundles.running, bundles.problems) == ("3", ())


async def test_one_that_has_been_good_is_not_given_back_for_a_later_failure(place: Path, key: Key) -> None:
    bundles = plain(place, key)
    for version in (1, 2):
        assert await given(bundles, key, version)
        for _ in range(TRIAL):
            assert not bundles.tried(None)
    assert not bundles.tried(VaultError("somebody has taken the credential away"))
    assert bundles.running == "2"


async def test_the_check_sees_the_site_with_the_new_one(hub: Path, place: Path, key: Key) -> None:
    (place / "site.yaml").write_text("data: here\npoll: {workers: 3}\n")
    seen = []

    def check(path: Path) -> tuple[str, ...]:
        settings = load_settings(place, bundle=path)
        seen.append((settings.poll.workers, settings.poll.timeout, Path(settings.data).name, settings.bundle))
        return tuple(usable(place, path))

    async with serving(hub, key) as bus:
        assert await bundles_of(place, key, check=check).pull(bus)
    assert seen == [(3, 45, "here", str(place / "bundles" / "1"))]


async def test_a_disk_that_is_full_changes_nothing(place: Path, key: Key, monkeypatch: pytest.MonkeyPatch) -> None:
    bundles = plain(place, key)
    assert await given(bundles, key, 1)

    def full(_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        assert not await given(bundles, key, 2)
        assert "No space left" in bundles.problems[0]
        assert not bundles.tried(None)
        assert not bundles.tried(ConfigError("x"))
    assert (number(place), bundles.refusals) == ("number: 1\n", 0)
    assert await given(bundles, key, 2)


class Crash(BaseException):
    """The process is gone."""


STEPS = ("open", "fsync", "mkdir", "replace", "rmdir", "unlink", "close")


@pytest.fixture
def crashing(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Iterator[int]]:
    """Dies before the nth thing that is done to a file; after that nothing is done, as when a process is gone."""
    state = {"left": -1, "dead": False}

    def guarded(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if name == "close":  # of descriptors that a dead process has no more
                return real(*args, **kwargs)
            if state["dead"]:
                raise Crash
            if state["left"] == 0:
                state["dead"] = True
                raise Crash
            if state["left"] > 0:
                state["left"] -= 1
            return real(*args, **kwargs)

        return call

    for name in STEPS:
        monkeypatch.setattr(os, name, guarded(name, getattr(os, name)))

    def arm(step: int) -> bool:
        """Whether it died since it was armed last."""
        died = bool(state["dead"])
        state.update(left=step, dead=False)
        return died

    return arm  # type: ignore[return-value]


async def test_a_crash_at_any_step_of_taking_one_leaves_the_old_or_the_new(
    place: Path, key: Key, crashing: Callable[[int], bool]
) -> None:
    bundles = plain(place, key)
    files = {"rmm.yaml": b"number: old\n", "rules/a.yaml": b"old"}
    assert await given(bundles, key, 1, files=files)
    version, seen = 1, set()
    for step in itertools.count():
        before, version = version, version + 1
        text = f"number: {version}\n".encode()
        data = seal_bundle(bundle_of(version, files={"rmm.yaml": text, "rules/a.yaml": b""}), key.sign)
        crashing(step)
        died = False
        try:
            bundles._take(data)
        except Crash:
            died = True
        assert crashing(-1) == died
        bundles = plain(place, key)
        bundles.recover()
        running = active_version(place)
        assert running in (before, version)
        seen.add(running == version)
        if running == version:  # it is on trial, also when the process that switched is gone
            assert (bundles._state().trial, bundles._state().highest) == (TRIAL, version)
        folder = place / "bundles" / str(running)
        assert sorted(path.name for path in folder.rglob("*")) == ["a.yaml", "rmm.yaml", "rules"]
        assert not list((place / "bundles").glob(".new*"))
        if running == before:  # the next pull takes it
            assert await pulled(bundles, Hub(data, version))
        assert number(place) == text.decode()
        if not died:
            break
    assert step > 15
    assert seen == {True, False}


async def test_a_crash_at_any_step_of_going_back_is_finished_at_the_next_start(
    place: Path, key: Key, crashing: Callable[[int], bool]
) -> None:
    version = 1
    bundles = plain(place, key)
    assert await given(bundles, key, version)
    seen = set()
    for step in itertools.count():
        good, version = active_version(place), version + 1
        assert await given(bundles, key, version)
        crashing(step)
        died = False
        try:
            bundles.roll_back("broken")
        except Crash:
            died = True
        crashing(-1)
        bundles = plain(place, key)
        bundles.recover()
        refused = any("broken" in text for text in bundles.problems)
        assert active_version(place) == (good if refused else version)
        seen.add(refused)
        if not refused:
            assert bundles.roll_back("broken")
        assert active_version(place) == good
        if not died:
            break
    assert step > 5
    assert seen == {True, False}


async def test_a_folder_that_was_taken_away_is_fetched_again(place: Path, key: Key) -> None:
    import shutil

    bundles = plain(place, key)
    for version in (1, 2):
        assert await given(bundles, key, version)
    shutil.rmtree(place / "bundles" / "2")
    bundles.recover()
    assert bundles.running == "1"
    assert await given(bundles, key, 2)
    for version in (1, 2):
        shutil.rmtree(place / "bundles" / str(version))
    bundles.recover()
    assert bundles.running == ""
    assert await given(bundles, key, 2)


@pytest.mark.parametrize("state", ["", "{", '{"highest": "x"}', '{"digests": {"2": "zz"}}', "[]", '{"highest": -1}'])
async def test_a_damaged_state_is_made_anew_and_an_old_one_still_refused(place: Path, key: Key, state: str) -> None:
    bundles = plain(place, key)
    assert await given(bundles, key, 2)
    (place / "bundles" / "state.json").write_text(state)
    assert bundles.running == "2"
    assert not await given(bundles, key, 1)
    assert await given(bundles, key, 3)


async def test_the_answer_none_is_no_reason_to_give_anything_up(place: Path, key: Key) -> None:
    bundles, hub = plain(place, key), Hub()
    assert await given(bundles, key, 1)
    hub.change = lambda _: Answer(state=NONE, why="x" * 5000)
    assert not await pulled(bundles, hub)
    assert len(bundles.problems[0]) < 1000
    assert bundles.running == "1"
