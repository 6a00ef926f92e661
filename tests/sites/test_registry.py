"""The registry through kills, several writers, and a reader that is at work meanwhile."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from rmm.errors import ConfigError, LeaseLost
from rmm.hub.authority import Authority
from rmm.hub.invitations import invite
from rmm.hub.registry import Collector, Registry, RegistryFile
from rmm.hub.revocation import revoke

NOW = datetime(2026, 3, 1, tzinfo=UTC)
WRITER = """
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from rmm.hub.authority import Authority
from rmm.hub.invitations import invite
authority = Authority.open(Path(sys.argv[1]))
print("ready", flush=True)
while True:
    hour, now = timedelta(hours=1), datetime.now(UTC)
    made = invite(authority, "berlin", sites=["berlin"], urls=["tls://h"], lasts=hour, now=now)
    print(made.invitation, flush=True)
"""


def collector(
    site: str, id: str, *, user: str = "U", expires: datetime = NOW, revoked: datetime | None = None
) -> Collector:
    return Collector(
        site=site, id=id, key="00" * 32, user=user, enrolled_at=NOW, expires_at=expires, revoked_at=revoked
    )


@pytest.mark.crash
def test_what_was_printed_is_there_after_a_kill(authority: Authority, tmp_path: Path) -> None:
    """Two writers, killed at random: no invitation that was given out is lost, and the file is whole."""
    config = authority.folder.parent
    given: set[str] = set()
    random.seed(8)
    for _ in range(3):
        writers = [
            subprocess.Popen([sys.executable, "-c", WRITER, str(config)], stdout=subprocess.PIPE, text=True)
            for _ in range(2)
        ]
        for one in writers:
            assert one.stdout is not None
            assert one.stdout.readline() == "ready\n"
            given |= {one.stdout.readline().strip() for _ in range(2)}
        time.sleep(random.uniform(0.0, 0.1))
        for one in writers:
            os.kill(one.pid, signal.SIGKILL)
            out, _error = one.communicate()
            given |= {line for line in out.split("\n")[:-1] if len(line) == 16}
    found = authority.registry.read().invitations
    assert len(given) >= 12
    assert given <= set(found)
    invite(authority, "berlin", sites=["berlin"], urls=["tls://h"], lasts=timedelta(hours=1), now=NOW)


def test_another_process_is_seen_at_once(authority: Authority) -> None:
    other = RegistryFile(authority.folder)
    with other.turn() as registry:
        other.write(registry.with_collector(collector("berlin", "one")))
    assert authority.public_key_of("berlin", "one") is not None
    assert authority.public_key_of("berlin", "two") is None
    assert authority.public_key_of("tokyo", "one") is None
    revoke(Authority.open(authority.folder.parent), "berlin", "one", NOW)
    assert authority.public_key_of("berlin", "one") is None


def test_one_writer_at_a_time(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rmm.hub.registry._WAIT", 0.05)
    with authority.registry.turn(), pytest.raises(LeaseLost), RegistryFile(authority.folder).turn():
        pass


def test_who_is_named_to_the_brokers() -> None:
    later = NOW + timedelta(days=1)
    registry = (
        Registry()
        .with_collector(collector("a", "good", user="U1", expires=later))
        .with_collector(collector("a", "bad", user="U2", expires=later, revoked=NOW))
        .with_collector(collector("a", "over", user="U3", expires=NOW, revoked=NOW))
    )
    assert registry.revoked(NOW) == {"U2": int(NOW.timestamp())}
    assert [one.id for one in registry.of_site("a")] == ["bad", "good", "over"]


def test_old_invitations_are_forgotten(authority: Authority) -> None:
    def ask(now: datetime) -> str:
        made = invite(authority, "a", sites=["a"], urls=["tls://h"], lasts=timedelta(hours=1), now=now)
        return made.invitation

    first, second = ask(NOW), ask(NOW + timedelta(days=29))
    assert set(authority.registry.read().invitations) == {first, second}
    third = ask(NOW + timedelta(days=32))
    assert set(authority.registry.read().invitations) == {second, third}


def test_a_newer_registry_is_not_guessed_at(authority: Authority) -> None:
    authority.registry.write(msgspec.structs.replace(Registry(), format=2))
    with pytest.raises(ConfigError, match="another version"):
        authority.registry.read()
