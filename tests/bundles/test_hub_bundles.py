"""The hub's side: numbers that only grow, what survives a crash, and answers to whatever is asked."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from bundling import NOW, Key, edit

from rmm.core.bundles import open_bundle
from rmm.hub.bundle import FOLDER, Bundles, bundle_answers
from rmm.model.bundle import CHANGED, CHUNK, CURRENT, NONE, PART, Answer, Bundle, Question


def bundles(hub: Path, key: Key) -> Bundles:
    return Bundles(hub, key.sign, now=lambda: NOW, every_s=0.0, settled_s=0.0)


def fetched(made: Bundles, key: Key, site: str = "hq", **have: Any) -> Bundle:
    data = b""
    answer = made.answer(site, Question(**have))
    while True:
        assert answer.state == PART, answer
        data += answer.data
        if len(data) == answer.total:
            return open_bundle(data, site, key.verify)
        answer = made.answer(site, Question(**have, wanted=answer.version, offset=len(data)))


def test_a_bundle_is_made_once_for_equal_content(hub: Path, key: Key) -> None:
    made = bundles(hub, key)
    first = fetched(made, key)
    assert (first.version, first.site, first.made_at) == (1, "hq", NOW)
    edit(hub / "rmm.yaml", "# of berlin", "# of somebody")
    edit(hub / "endpoints.csv", "10.9.0.4", "10.9.0.5")
    assert fetched(made, key) == first
    assert fetched(bundles(hub, key), key) == first
    assert fetched(made, key, "berlin").version == 1
    assert made.answer("hq", Question(version=1, digest=first.digest)) == Answer(state=CURRENT, version=1)


def test_a_change_of_its_own_part_makes_the_next_one(hub: Path, key: Key) -> None:
    made = bundles(hub, key)
    digests = {fetched(made, key).digest}
    for number, (file, old, new) in enumerate([
        ("rmm.yaml", "budget: 1", "budget: 2"), ("endpoints.csv", "10.1.0.2", "10.1.0.3"),
        ("rules/ours.yaml", "warning: 70", "warning: 71"), ("baselines/web.yaml", "17763", "17764"),
        ("certs/hq-root.pem", "MIIB", "MIIC"), ("own/own_thing/collect.ps1", "'on'", "'off'"),
    ], start=2):  # fmt: skip
        edit(hub / file, old, new)
        found = fetched(made, key)
        assert found.version == number, file
        digests.add(found.digest)
        assert fetched(bundles(hub, key), key) == found
    assert len(digests) == 7
    assert sorted(path.name for path in (hub / FOLDER / "hq").iterdir()) == ["6.bundle", "7.bundle"]


def test_going_back_has_a_newer_number(hub: Path, key: Key) -> None:
    made = bundles(hub, key)
    first = fetched(made, key)
    edit(hub / "rmm.yaml", "budget: 1", "budget: 2")
    assert fetched(made, key).version == 2
    edit(hub / "rmm.yaml", "budget: 2", "budget: 1")
    third = fetched(made, key)
    assert (third.version, third.files) == (3, first.files)


def test_while_the_configuration_has_mistakes_the_last_good_one_is_handed_out(
    hub: Path, key: Key, caplog: pytest.LogCaptureFixture
) -> None:
    made = bundles(hub, key)
    first = fetched(made, key)
    edit(hub / "rmm.yaml", "budget: 1", "budget: 99")
    for each in (made, made, bundles(hub, key)):
        assert fetched(each, key) == first
    assert "lockout.budget" in made.problems[""]
    assert len([one for one in caplog.records if "lockout.budget" in one.getMessage()]) == 2  # once for each process
    edit(hub / "rmm.yaml", "budget: 99", "budget: 2")
    assert fetched(made, key).version == 2
    assert made.problems == {}


def test_a_mistake_of_one_site_is_no_other_sites_matter(hub: Path, key: Key) -> None:
    made = bundles(hub, key)
    edit(hub / "certs" / "hq-root.pem", "MIIB", "MIIB\n-----BEGIN PRIVATE KEY-----\nx")
    answer = made.answer("hq", Question())
    assert (answer.state, "private key" in answer.why) == (NONE, True)
    assert fetched(made, key, "berlin").version == 1


def test_numbers_grow_after_files_were_lost_damaged_or_the_key_is_another(hub: Path, key: Key) -> None:
    first = fetched(bundles(hub, key), key)
    path = hub / FOLDER / "hq" / "1.bundle"
    path.write_bytes(path.read_bytes()[:-5])
    assert fetched(bundles(hub, key), key).version == 2
    other = Key()
    assert fetched(bundles(hub, other), other).version == 3
    for name in (hub / FOLDER / "hq").iterdir():
        name.unlink()
    # The folder was lost, and the site has seen more than the hub knows of.
    again = fetched(bundles(hub, other), other, version=3, digest=b"\1" * 32)
    assert (again.version, again.files) == (4, first.files)
    # Restored from a backup: the same number, other content.
    assert fetched(bundles(hub, other), other, version=4, digest=b"\2" * 32).version == 5


def test_a_site_cannot_use_up_the_numbers(hub: Path, key: Key) -> None:
    made = bundles(hub, key)
    answer = made.answer("hq", Question(version=(1 << 53) - 3, digest=b"\1" * 32))
    assert answer.state == NONE
    assert fetched(made, key).version == 1


def test_parts_are_bounded_and_the_one_before_stays_while_it_is_fetched(hub: Path, key: Key) -> None:
    filler = os.urandom(CHUNK).hex()
    (hub / "rules" / "big.yaml").write_text(f"rules:\n  - {{id: big, field: status, op: in, critical: [{filler}]}}\n")
    made = bundles(hub, key)
    first = made.answer("hq", Question())
    assert len(first.data) == CHUNK < first.total
    edit(hub / "rmm.yaml", "budget: 1", "budget: 2")
    assert made.answer("hq", Question()).version == 2
    rest = made.answer("hq", Question(wanted=1, offset=CHUNK))
    assert open_bundle(first.data + rest.data, "hq", key.verify).version == 1
    edit(hub / "rmm.yaml", "budget: 2", "budget: 3")
    assert made.answer("hq", Question()).version == 3
    assert made.answer("hq", Question(wanted=1, offset=CHUNK)).state == CHANGED
    for wrong in (Question(wanted=3, offset=1 << 25), Question(wanted=9), Question(version=3, wanted=2)):
        assert made.answer("hq", wrong).state in (CHANGED, CURRENT)


@pytest.mark.parametrize(
    ("subject", "data"),
    [
        ("rmm.ask.hq.bundle", b""), ("rmm.ask.hq.bundle", b"\xc1"), ("rmm.ask.hq.bundle", bytes(2000)),
        ("rmm.ask.hq.bundle", msgspec.msgpack.encode({"version": -1})),
        ("rmm.ask.hq.bundle", msgspec.msgpack.encode({"version": 1 << 63})),
        ("rmm.ask.hq.bundle", msgspec.msgpack.encode({"offset": -5, "wanted": 1})),
        ("rmm.ask.hq.bundle", msgspec.msgpack.encode({"version": "1"})),
        ("rmm.ask.../x.bundle", msgspec.msgpack.encode({})), ("rmm.ask.HQ.bundle", msgspec.msgpack.encode({})),
        ("rmm.ask.paris.bundle", msgspec.msgpack.encode({})),
    ],
)  # fmt: skip
async def test_whatever_is_asked_has_an_answer(hub: Path, key: Key, subject: str, data: bytes) -> None:
    answer = msgspec.msgpack.decode(await bundle_answers(bundles(hub, key))(subject, data), type=Answer)
    assert answer.state == NONE
    assert answer.why
    assert not (hub / FOLDER / "paris").exists()


async def test_a_question_of_a_newer_site_is_answered(hub: Path, key: Key) -> None:
    question = msgspec.msgpack.encode({"schema": 2, "new": {"a": 1}})
    answer = msgspec.msgpack.decode(await bundle_answers(bundles(hub, key))("rmm.ask.hq.bundle", question), type=Answer)
    assert (answer.state, answer.version) == (PART, 1)


MAKER = """
import sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from rmm.durable import replace_file
from rmm.hub.bundle import Bundles
from rmm.model.bundle import Question
import hashlib
hub = Path({hub!r})
made = Bundles(hub, lambda data: hashlib.sha512(data).digest(), every_s=0.0, settled_s=0.0)
number = 0
while True:
    number += 1
    text = (hub / "endpoints.csv").read_text().splitlines()
    text[1] = f"hq-web1,HQ-WEB1,10.1.0.1,hq,web,{{number}},,,"
    replace_file(hub / "endpoints.csv", ("\\n".join(text) + "\\n").encode())
    print(made.answer("hq", Question()).version, flush=True)
"""


def test_a_file_that_is_being_written_is_waited_for(hub: Path, key: Key) -> None:
    made = Bundles(hub, key.sign, now=lambda: NOW, every_s=0.0, settled_s=0.2)
    first = fetched(made, key)
    whole = (hub / "endpoints.csv").read_text()
    (hub / "endpoints.csv").write_text(whole[: whole.index("hq-sw")])
    assert fetched(made, key) == first
    (hub / "endpoints.csv").write_text(whole.replace("10.1.0.2", "10.1.0.3"))
    assert fetched(made, key) == first
    time.sleep(0.25)
    assert b"hq-sw" in fetched(made, key).files["endpoints.csv"]


@pytest.mark.crash
def test_a_hub_that_is_killed_never_uses_a_number_twice(hub: Path) -> None:
    import hashlib

    seen: list[int] = []
    program = MAKER.format(tests=str(Path(__file__).parent), hub=str(hub))
    for turn in range(3):
        process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        for _ in range(2 + turn):
            seen.append(int(process.stdout.readline()))
        os.kill(process.pid, signal.SIGKILL)
        seen += [int(line) for line in process.stdout.read().split()]
        process.wait()
        process.stdout.close()
        made = Bundles(hub, lambda data: hashlib.sha512(data).digest(), every_s=0.0, settled_s=0.0)
        assert made.answer("hq", Question()).version >= seen[-1]
    assert seen == sorted(set(seen))
