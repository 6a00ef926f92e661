"""What the extras `sites` and `postgres` bring is needed for nothing else."""

import subprocess
import sys
from pathlib import Path

WITHOUT = """
import sys
class Absent:
    def find_spec(self, name, *_):
        if name.split('.')[0] in ('nats', 'asyncpg', 'aiohttp'):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
from rmm.cli.main import main
main()
"""


def without(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", WITHOUT, *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_one_machine_needs_neither(tmp_path: Path) -> None:
    config = str(tmp_path / "config")
    for words in (
        ("init",),
        ("status",),
        ("alerts", "list"),
        ("metrics", "print"),
        ("sites", "list"),
        ("poll", "--dry-run"),
    ):
        done = without(*words, "--config", config)
        assert "No module" not in done.stderr, done.stderr
        assert "Traceback" not in done.stderr
        assert done.returncode in (0, 3), (words, done.stderr)


def test_who_lacks_the_client_of_the_broker_is_told(tmp_path: Path) -> None:
    config = str(tmp_path / "config")
    assert without("init", "--config", config).returncode == 0
    assert without("hub", "init", "--config", config).returncode == 0
    done = without("hub", "run", "--config", config)
    assert done.returncode == 2
    assert "mytech-rmm[sites]" in done.stderr
