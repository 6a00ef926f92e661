"""What ends with which code, and what a terminal, a pipe and a closed pipe get."""

from __future__ import annotations

import json
import os
import select
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rmm.catalog.load import load_catalog
from rmm.resources import shipped
from rmm.tiers.migrations import WARNED

Rmm = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def rmm(tmp_path: Path) -> Rmm:
    """The command, with a data folder of this test's own."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("RMM_")}

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "rmm", *arguments],
            capture_output=True, text=True, check=False, timeout=60, encoding="utf-8", stdin=subprocess.DEVNULL,
            cwd=tmp_path, env={**clean, "RMM_DATA": str(tmp_path / "data"), **environment},
        )  # fmt: skip

    return run


@pytest.fixture
def folder(tmp_path: Path, rmm: Rmm) -> Path:
    assert rmm("init", "--no-input", "--config", "conf").returncode == 0
    (tmp_path / "in.csv").write_text("ComputerName\nSRV01\nSRV02\n")
    assert rmm("endpoints", "import", "in.csv", "--config", "conf").returncode == 0
    return tmp_path / "conf"


@pytest.mark.parametrize(
    "words",
    [["nonsense"], ["poll", "--nonsense"], ["show"], ["poll", "--shard", "3/2"], ["poll", "--output", "xml"],
     ["poll", "--site", "nowhere"], ["poll", "--endpoint", "SRV03"], ["poll", "--concurrency", "501"],
     ["poll", "--timeout", "1e9"], ["history", "SRV01", "cpu.util_pct", "--since", "yesterday"],
     ["history", "SRV01", "cpu"], ["history", "cpu.util_pct", "--step", "week"], ["history"],
     ["query", "endpoint.site = 'hq'"], ["query", "nonsense.x > 1"], ["query", ""], ["query"],
     ["report", "nonsense"], ["alerts", "list", "--state", "nonsense"], ["schedule", "print", "--kind", "at"],
     ["endpoints", "export", "x.doc"], ["endpoints", "import", "missing.csv"], ["credentials", "remove", "x"],
     ["credentials", "test", "nobody"], ["lab", "up", "--scheme", "ftp"], ["store", "restore", "nowhere"], ["init"]],
)  # fmt: skip
def test_wrong_usage_is_2_and_says_so(words: list[str], rmm: Rmm, folder: Path) -> None:
    config = [] if words[0] == "nonsense" else ["--config", str(folder)]
    done = rmm(*words, *config)
    assert done.returncode == 2, (done.stdout, done.stderr)
    assert "rror: " in done.stderr
    assert "Traceback" not in done.stderr
    assert not (folder.parent / "data").exists()


@pytest.mark.parametrize(
    "words",
    [["status"], ["alerts"], ["show", "SRV01"], ["history", "srv01"], ["endpoints", "list"],
     ["history", "cpu.util_pct"], ["query", "endpoint.status is null"], ["query", "cpu.util_pct > 1"],
     ["poll", "--dry-run"],
     ["alerts", "log"], ["store", "status"], ["store", "check"], ["credentials", "list"], ["collector", "list"],
     ["report", "inventory", "--format", "csv", "--out", "-"]],
)  # fmt: skip
def test_before_the_first_poll_every_command_has_an_answer(words: list[str], rmm: Rmm, folder: Path) -> None:
    done = rmm(*words, "--config", str(folder))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip()
    assert "\x1b" not in done.stdout


def test_a_poll_without_a_passphrase_or_credential_touches_nothing(rmm: Rmm, folder: Path) -> None:
    asked = rmm("poll", "--config", str(folder))
    assert (asked.returncode, asked.stdout) == (2, "")
    assert "RMM_PASSPHRASE" in asked.stderr
    missing = rmm("poll", "--config", str(folder), RMM_PASSPHRASE="x")
    assert missing.returncode == 2
    assert "rmm credentials set" in missing.stderr
    settings = folder / "rmm.yaml"
    settings.write_text(settings.read_text(encoding="utf-8").replace("credential: polling", "# none"), encoding="utf-8")
    nameless = rmm("poll", "--config", str(folder), RMM_PASSPHRASE="x")
    assert nameless.returncode == 2
    assert "SRV01, SRV02: neither the endpoint nor its site names a credential" in nameless.stderr
    assert not (folder.parent / "data").exists()


@pytest.mark.parametrize("extra", [[], ["--quiet"]])
def test_a_fleet_of_which_nothing_answers_is_4(extra: list[str], rmm: Rmm, folder: Path) -> None:
    from rmm.vault import create

    create(folder / "credentials.vault", "x", {"polling": ("u", "p")})
    with (folder / "endpoints.csv").open("w") as file:
        file.write("ComputerName,IPAddress,SiteId,Port\nSRV01,127.0.0.1,hq,1\nSRV02,127.0.0.2,hq,1\n")
    (folder.parent / "data").mkdir()
    (folder.parent / "data" / WARNED).write_text(sqlite3.sqlite_version)  # of which people have been told already
    done = rmm("poll", "--config", str(folder), *extra, RMM_PASSPHRASE="x")
    assert done.returncode == 4
    if extra:
        assert (done.stdout, done.stderr) == ("", "error: none of 2 endpoints could be polled\n")
    else:
        assert "UNREACHABLE" in done.stdout
    table = rmm("status", "--config", str(folder))
    assert table.stdout.startswith("2 endpoints: ")
    checked = rmm("doctor", "SRV01", "--config", str(folder), "--output", "json", RMM_PASSPHRASE="x")
    assert checked.returncode == 4
    steps = json.loads(checked.stdout)["steps"]
    assert [(step["name"], step["verdict"]) for step in steps[1:5]] == [
        ("name", "ok"), ("route", "ok"), ("tcp", "failed"), ("tls", "skipped"),
    ]  # fmt: skip
    assert (steps[0]["name"], steps[3]["fix"] != "") == ("store", True)
    assert {step["verdict"] for step in steps[4:]} == {"skipped"}
    tested = rmm("credentials", "test", "polling", "--config", str(folder), RMM_PASSPHRASE="x")
    assert tested.returncode == 4
    assert "  fix: " in tested.stderr


def test_rules_that_speak_of_what_is_not_there_are_refused(rmm: Rmm, folder: Path) -> None:
    (folder / "rules" / "own.yaml").write_text(
        "rules:\n  - {id: a, collector: cpv, field: util_pct, warning: 1}\n"
        "  - {id: b, collector: cpu, field: x, warning: 1}\n"
    )
    from rmm.vault import create

    create(folder / "credentials.vault", "x", {"polling": ("u", "p")})
    done = rmm("poll", "--config", str(folder), RMM_PASSPHRASE="x")
    assert done.returncode == 2
    assert "own.yaml:2: rules[0].collector: " in done.stderr and "'cpv'" in done.stderr
    assert "own.yaml:3: rules[1].field: " in done.stderr and "'x'" in done.stderr


def test_doctor_climbs_the_whole_ladder(lab: Any, rmm: Rmm) -> None:
    name = lab.endpoints[0]["name"]
    done = rmm("doctor", name, "--config", str(lab.config), "--output", "ndjson")
    assert done.returncode == 0, done.stderr
    steps = [json.loads(line) for line in done.stdout.splitlines()]
    assert [step["name"] for step in steps[:6]] == ["store", "name", "route", "tcp", "tls", "http"]
    assert {"cpu", "memory", "software"} <= {step["name"] for step in steps}
    # The scheme http has no TLS; a server has the collectors of its roles.
    lacking = {name for name, one in load_catalog([shipped("collectors")]).items() if one.manifest.roles}
    assert {"tls"} <= {step["name"] for step in steps[1:] if step["verdict"] != "ok"} <= {"tls"} | lacking
    assert all(step["ms"] >= 0 for step in steps)
    table = rmm("doctor", name, "--config", str(lab.config))
    assert table.stdout.count("\n") == len(steps) + bool(steps[0]["fix"])


def test_a_logon_is_tested_against_one_endpoint(lab: Any, rmm: Rmm) -> None:
    done = rmm("credentials", "test", "lab", "--config", str(lab.config))
    assert done.returncode == 0, done.stderr
    assert lab.username in done.stdout
    assert lab.password not in done.stdout + done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="SIGPIPE's counterpart there is an OSError of another kind")
def test_a_reader_that_goes_away_is_no_error_message(folder: Path) -> None:
    rows = "".join(f"SRV{number:05},hq\n" for number in range(5000))
    (folder / "endpoints.csv").write_text(f"ComputerName,SiteId\n{rows}")
    process = subprocess.Popen(
        [sys.executable, "-m", "rmm", "endpoints", "list", "--config", str(folder), "--output", "ndjson"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stderr is not None
    with process.stdout, process.stderr:
        process.stdout.readline()
        process.stdout.close()
        said = process.stderr.read()
    assert (process.wait(20), said) == (141, b"")


def test_a_terminal_gets_colours_and_prompts(folder: Path, tmp_path: Path) -> None:
    pty = pytest.importorskip("pty")  # Windows has none

    def on_terminal(words: list[str], *turns: tuple[str, bytes | None]) -> tuple[int, str]:
        """Run it; when the last of what a turn waits for has been printed, type its answer, or press Ctrl-C."""
        master, slave = pty.openpty()
        environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "120", "RMM_PASSPHRASE": "x"}
        environment.pop("NO_COLOR", None)
        process = subprocess.Popen(
            [sys.executable, "-m", "rmm", *words], stdin=slave, stdout=slave, stderr=slave, env=environment,
            start_new_session=True,
        )  # fmt: skip
        os.close(slave)
        seen, waiting = "", list(turns)
        while select.select([master], [], [], 20)[0]:
            try:
                data = os.read(master, 4096)
            except OSError:  # so Linux says that the other side is closed
                break
            if not data:
                break
            seen += data.decode()
            if waiting and waiting[0][0] in seen:
                answer = waiting.pop(0)[1]
                if answer is None:
                    process.send_signal(signal.SIGINT)
                else:
                    os.write(master, answer)
        else:
            process.kill()
        os.close(master)
        return process.wait(20), seen

    code, text = on_terminal(["status", "--config", str(folder)])
    assert code == 0
    assert "\x1b[" in text
    new = tmp_path / "new"
    code, text = on_terminal(["init", "--config", str(new)], ("site [hq]", b"branch\n"), ("[polling]", b"\n"))
    assert code == 0, text
    assert "Id of the first site [hq]" in text
    assert "id: branch" in (new / "rmm.yaml").read_text(encoding="utf-8")
    words = ["credentials", "set", "a", "--username", "u", "--config", str(folder)]
    code, text = on_terminal(words, ("Secret of u", b"S3cret\n"))
    assert code == 0, text
    assert "S3cret" not in text
    code, text = on_terminal(words, ("Secret of u", None))
    assert code == 130, text
    assert text.strip().endswith("stopped")
    assert "Traceback" not in text


def test_what_machines_say_cannot_steer_a_terminal() -> None:
    from rmm.cli.printing import clean, csv_text

    assert clean("a\x1b]0;x\x07b\r\nc\x9bd\u202ee") == "a ]0;x b  c d e"
    assert csv_text([{"a": "=1+1", "b": "\x1b[31m", "c": -1}], ["a", "b", "c"]) == "a,b,c\n'=1+1, [31m,-1\n"


def test_a_data_folder_that_cannot_be_written_is_1(lab: Any, rmm: Rmm, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    done = rmm(
        "poll", "--config", str(lab.config), "--endpoint", lab.endpoints[0]["id"], RMM_DATA=str(tmp_path / "file")
    )
    assert done.returncode == 1
    assert any(line.startswith("error: ") for line in done.stderr.splitlines())
    assert "Traceback" not in done.stderr
    assert " OK" not in done.stdout
