"""Record a lab's machine, replay it in another lab: the same readings; nothing secret in the file."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from climbing import climbed

from rmm.app import App
from rmm.errors import ConfigError
from rmm.lab.playback import Playback
from rmm.model.recording import decode_recording
from rmm.poller.doctor import Step
from rmm.poller.visit import Visitor

CANARY = "Canary-5ecret-9f8e7d"


async def recorded(app: App, file: Path, *, names: bool = False) -> dict[str, Step]:
    with app.recorded(app.settings.endpoints[0], file, names=names):
        steps: dict[str, Step] = await climbed(app)
        return steps


async def polled(app: App) -> Any:
    """One poll of all collectors in one pipeline."""
    async with app.kit("feedfeedfeedfeed") as kit:
        visitor = Visitor(kit)
        endpoint = app.settings.endpoints[0]
        due = [name for name in visitor.intervals(endpoint, "winrm") if not kit.collectors[name].session_free]
        return await visitor.visit(endpoint, 0, 1, due, None)


def account_named(user: str) -> dict[str, Any]:
    """Of a fault plan: a second account of the lab, which the vault is given."""
    return {"accounts": [{"name": f"LAB\\{user}"}], "credential": {"username": f"LAB\\{user}"}}


def replaced(value: Any, by: Any) -> Iterator[tuple[str, str]]:
    """The texts that differ between two readings of the same shape, and what stands in their place."""
    if isinstance(value, Mapping) and isinstance(by, Mapping):
        for key in value:
            yield from replaced(value[key], by.get(key))
    elif isinstance(value, list | tuple) and isinstance(by, list | tuple):
        for one, other in zip(value, by, strict=True):
            yield from replaced(one, other)
    elif isinstance(value, str) and isinstance(by, str) and value != by:
        yield value, by


def readings(observation: Any) -> dict[str, Any]:
    return {name: (one.outcome, one.readings, one.notes) for name, one in observation.collectors.items()}


async def test_a_replayed_machine_gives_the_same_readings(lab_in: Callable[..., Any], tmp_path: Path) -> None:
    file = tmp_path / "machine.jsonl"
    async with lab_in(folder="first") as app:
        steps = await recorded(app, file)
        name = app.settings.endpoints[0].name
    async with lab_in(folder="second", recording=file) as app:
        assert app.settings.endpoints[0].name == name
        again = await climbed(app)
        one = await polled(app)
    assert {name: step.verdict for name, step in again.items()} == {name: step.verdict for name, step in steps.items()}
    for rung in ("shell", "language", "quota", "rights", "services", "software"):
        facts = dict(steps[rung].facts)
        seen = dict(again[rung].facts)
        assert seen == facts, rung
    assert one.status == "OK", one
    # What doctor recorded one collector at a time answers a poll of all at once.
    told = {name.removeprefix("collector "): step for name, step in steps.items() if step.collector}
    assert {name: outcome for name, (outcome, _, _) in readings(one).items()} == {
        name: step.facts["outcome"] for name, step in told.items()
    }
    assert {name: len(rows) for name, (_, rows, _) in readings(one).items()} == {
        name: step.facts["rows"] for name, step in told.items()
    }
    assert len(one.collectors["services"].readings) == steps["services"].facts["rows"]


async def test_a_recorded_poll_and_its_replay_are_equal(lab_in: Callable[..., Any], tmp_path: Path) -> None:
    file = tmp_path / "machine.jsonl"
    # An account's name is replaced wherever it stands; rmm, the lab's own, is a folder of scheduled tasks as well.
    async with lab_in(folder="first", document=account_named("svc-monitor")) as app:
        with app.recorded(app.settings.endpoints[0], file, names=False):
            first = await polled(app)
    async with lab_in(folder="second", recording=file) as app:
        second = await polled(app)
    seen, expected = readings(second), readings(first)
    for one in (seen, expected):  # ages are counted from the clock of whoever polls
        for _, rows, _ in one.values():
            for row in rows:
                for field in [field for field in row if field.endswith(("skew_s", "age_s"))]:
                    row.pop(field)
    assert seen == expected


async def test_what_was_asked_twice_is_answered_in_order_and_then_the_last_for_good(
    lab_in: Callable[..., Any], tmp_path: Path
) -> None:
    file = tmp_path / "machine.jsonl"
    async with lab_in(folder="first") as app:
        with app.recorded(app.settings.endpoints[0], file, names=False):
            first = [await polled(app) for _ in range(2)]
    async with lab_in(folder="second", recording=file) as app:
        second = [await polled(app) for _ in range(3)]
    samples = [one.collectors["cpu"].counters for one in (*first, *second)]
    assert samples[0] != samples[1]  # time went on
    assert samples[2:] == [samples[0], samples[1], samples[1]]


async def test_a_climb_that_breaks_off_is_written_all_the_same(lab_in: Callable[..., Any], tmp_path: Path) -> None:
    file = tmp_path / "machine.jsonl"
    async with lab_in() as app:
        with pytest.raises(KeyboardInterrupt), app.recorded(app.settings.endpoints[0], file, names=False):
            await polled(app)
            raise KeyboardInterrupt
        recording = decode_recording(file.read_bytes(), "x")
        assert {one.kind for one in recording.exchanges} == {"wsman"}
        with pytest.raises(ConfigError, match="no such folder"):
            app.recorded(app.settings.endpoints[0], tmp_path / "none" / "x", names=False).__enter__()
        before = len(recording.exchanges)
        await polled(app)  # nobody listens any more
        assert len(decode_recording(file.read_bytes(), "x").exchanges) == before


async def test_names_are_replaced_everywhere_and_consistently(lab_in: Callable[..., Any], tmp_path: Path) -> None:
    file = tmp_path / "machine.jsonl"
    async with lab_in(folder="first") as app:
        steps = await recorded(app, file, names=True)
        name = app.settings.endpoints[0].name
        facts = await polled(app)
    text = file.read_text(encoding="utf-8")
    hardware = facts.collectors["hardware"].readings[0]
    for secret in (name, "lab.example", hardware["serial"], hardware["uuid"]):
        assert secret
        assert secret.lower() not in text.lower(), secret
    assert "HOST1" in text
    assert "domain1.example" in text
    header = json.loads(text.splitlines()[0])
    assert (header["name"], header["replaced"]) == ("HOST1", ["account", "names"])
    async with lab_in(folder="second", recording=file) as app:
        assert app.settings.endpoints[0].name == "HOST1"
        again = await climbed(app)
        one = await polled(app)
    assert {name: step.verdict for name, step in again.items()} == {name: step.verdict for name, step in steps.items()}
    assert one.status == "OK"
    pairs = {
        (was, by)
        for name, result in facts.collectors.items()
        for was, by in replaced(result.readings, one.collectors[name].readings)
        if by.startswith("SERIAL")
    }
    assert hardware["serial"] in {was for was, _ in pairs}
    assert len(pairs) == len({was.lower() for was, _ in pairs}) == len({by for _, by in pairs}), pairs
    assert one.identity["name"] == "HOST1"
    assert len(one.collectors["software"].readings) == len(facts.collectors["software"].readings)


@pytest.mark.parametrize("names", [False, True])
async def test_nothing_secret_is_in_the_file(names: bool, lab_in: Callable[..., Any], tmp_path: Path) -> None:
    from spnego._ntlm_raw.crypto import ntowfv1

    file = tmp_path / "machine.jsonl"
    # A script that shows the password all the same, as a careless profile script would.
    fault = {"kind": "record", "collector": "cpu", "error_id": "X", "message": f"net use /user:x {CANARY}"}
    async with lab_in([fault], password=CANARY, scheme="https") as app:
        await recorded(app, file, names=names)
        account = app.targets.target(app.settings.endpoints[0]).credential.username
    data = file.read_bytes()
    text = data.decode().lower()
    assert CANARY.lower() not in text
    assert base64.b64encode(CANARY.encode()).decode().lower() not in text
    assert base64.b64encode(CANARY.encode("utf-16-le")).decode().lower()[:20] not in text
    assert ntowfv1(CANARY).hex() not in text
    for word in ("authorization", "ntlmssp", "tlrmtvntu", account.lower(), account.lower().replace("\\", "\\\\")):
        assert word not in text, word
    assert "USER1" in data.decode()
    assert file.stat().st_mode & 0o077 == 0


async def test_faults_are_replayed_too(lab_in: Callable[..., Any], tmp_path: Path) -> None:
    file = tmp_path / "machine.jsonl"
    plan = [
        {"kind": "config", "denied": True},
        {"kind": "rights", "classes": ["Win32_Service"]},
        {"kind": "record", "collector": "cpu", "error_id": "Odd,Command"},
    ]
    async with lab_in(plan, folder="first") as app:
        steps = await recorded(app, file)
    async with lab_in(folder="second", recording=file) as app:
        again = await climbed(app)
    told = {name: (step.verdict, step.code) for name, step in steps.items()}
    assert {name: (step.verdict, step.code) for name, step in again.items()} == told
    assert told["quota"] == ("warning", "quota.unknown")
    assert told["rights"] == ("warning", "access.denied")
    assert told["services"][0] == told["cpu"][0] == "failed"


async def test_a_shell_that_is_refused_is_replayed(lab_in: Callable[..., Any], tmp_path: Path) -> None:
    file = tmp_path / "machine.jsonl"
    async with lab_in([{"kind": "fault", "step": "create", "code": 2150859173}], folder="first") as app:
        await recorded(app, file)
    async with lab_in(folder="second", recording=file) as app:
        again = await climbed(app)
    assert (again["shell"].verdict, again["shell"].code) == ("failed", "quota.shells")


async def test_a_shell_that_dies_under_a_pipeline_is_replayed(lab_in: Callable[..., Any], tmp_path: Path) -> None:
    file = tmp_path / "machine.jsonl"
    plan = [{"kind": "fault", "step": "receive", "skip": 2, "code": 2150858843, "subcode": "w:InvalidSelectors"}]
    async with lab_in(plan, folder="first") as app:
        steps = await recorded(app, file)
    async with lab_in(folder="second", recording=file) as app:
        again = await climbed(app)
    assert (steps["language"].verdict, steps["language"].code) == ("failed", "shell.gone")
    assert (again["language"].verdict, again["language"].code) == ("failed", "shell.gone")


async def test_queries_are_replayed(lab_in: Callable[..., Any], tmp_path: Path) -> None:
    file = tmp_path / "machine.jsonl"
    site = {"transport": "wql"}
    async with lab_in(folder="first", site=site) as app:
        with app.recorded(app.settings.endpoints[0], file, names=False):
            first = await polled(app)
    async with lab_in(folder="second", recording=file, site=site) as app:
        second = await polled(app)
    assert first.status == second.status == "OK"
    assert second.collectors["services"].readings == first.collectors["services"].readings


async def test_a_file_that_is_none_says_where(lab_in: Callable[..., Any], tmp_path: Path) -> None:
    file = tmp_path / "machine.jsonl"
    async with lab_in(folder="first") as app:
        await recorded(app, file)
    data = file.read_bytes()
    lines = data.splitlines(keepends=True)
    for broken, place in (
        (data[: len(data) * 2 // 3], ":"),
        (b"".join(lines[:5]) + lines[5][:100] + b"\n" + b"".join(lines[6:]), ":6: not an exchange"),
        (b"messages:\n- request: x\n", ":1: not the header"),
        (data.replace(b'"version":1', b'"version":99', 1), ":1: format rmm-recording 99"),
        (lines[0], "holds no exchange"),
        (b"", ":1: not the header"),
        (b"\xff\xfe\x00", ":1: not the header"),
        (b'{"format":"\xb0"}\n', ":1: not the header"),
    ):
        with pytest.raises(ConfigError) as caught:
            Playback(decode_recording(broken, "machine.jsonl"), "machine.jsonl")
        assert str(caught.value).startswith("machine.jsonl:"), caught.value
        assert place in str(caught.value)
        assert caught.value.hint


async def test_other_transports_are_not_recorded(lab_in: Callable[..., Any], tmp_path: Path) -> None:
    async with lab_in(site={"transport": "pypsrp"}) as app:
        with pytest.raises(ConfigError, match="which is not recorded"):
            await recorded(app, tmp_path / "x")
