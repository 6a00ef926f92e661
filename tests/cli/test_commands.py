"""The command line as a user meets it: start-up, help, wrong usage, wrong files."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

HEAVY = (
    "lxml",
    "spnego",
    "psrpcore",
    "requests",
    "pypsrp",
    "winrm",
    "rich",
    "asyncpg",
    "asyncssh",
    "nats",
    "aiohttp",
    "cryptography",
    "jinja2",
    "xlsxwriter",
    "prometheus_client",
    "h11",
)


def rmm(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "rmm", *arguments]
    done: subprocess.CompletedProcess[str] = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=120, encoding="utf-8", **options
    )
    return done


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    config = tmp_path / "conf"
    assert rmm("init", "--config", str(config), "--no-input").returncode == 0
    return config


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["status", "--config", "CONF"],
        ["alerts", "--config", "CONF"],
        ["poll", "--help"],
        ["query", "endpoint.status is null", "--config", "CONF"],
        ["history", "cpu.util_pct", "--config", "CONF"],
        ["top", "--once", "--config", "CONF"],
        ["metrics", "list"],
        ["sites", "list", "--config", "CONF"],
        ["site", "status", "--config", "CONF"],
    ],
)
def test_start_up_imports_nothing_heavy(arguments: list[str], folder: Path) -> None:
    words = [str(folder) if word == "CONF" else word for word in arguments]
    code = (
        f"import sys\nsys.argv = ['rmm', *{words!r}]\nfrom rmm.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"print('LOADED', [name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert "LOADED []" in done.stderr


def test_every_command_is_in_the_help() -> None:
    text = rmm("--help").stdout
    names = [
        "init",
        "lab",
        "poll",
        "status",
        "show",
        "history",
        "query",
        "alerts",
        "report",
        "endpoints",
        "collector",
        "doctor",
        "schedule",
        "credentials",
        "top",
        "metrics",
    ]
    assert [name for name in names if f"  {name} " not in text] == []
    assert rmm("--version").stdout.startswith("rmm 0.")


def test_an_unknown_command_is_wrong_usage() -> None:
    done = rmm("pol")
    assert done.returncode == 2
    assert "poll" in done.stderr


def test_a_missing_configuration_says_what_to_do(tmp_path: Path) -> None:
    done = rmm("status", "--config", str(tmp_path / "nowhere"))
    assert done.returncode == 2
    assert "rmm.yaml" in done.stderr
    assert "rmm init" in done.stderr


def test_all_mistakes_of_a_configuration_are_named_at_once_with_their_places(folder: Path) -> None:
    (folder / "rmm.yaml").write_text(
        "data: data\nsites:\n  - id: HQ\n    shceme: https\n  - id: b\n    auth: basic\n    timezone: Mars/Olympus\n"
        "poll:\n  concurrency: 501\n  timeout: soon\nchannels:\n  hook: {url: x}\nnonsense: 1\n"
    )
    (folder / "endpoints.csv").write_text("ComputerName,SiteId\nsrv1,b\n,b\nsrv2,c\n")
    done = rmm("poll", "--config", str(folder))
    assert done.returncode == 2
    places = [
        "rmm.yaml:4: sites[0].shceme: unknown key; did you mean scheme?",
        "rmm.yaml:6: sites[1].auth",
        "rmm.yaml:7: sites[1].timezone",
        "rmm.yaml:10: poll.timeout",
        "rmm.yaml:12: channels.hook",
        "rmm.yaml:13: nonsense",
        "endpoints.csv:3: ComputerName is missing",
        "endpoints.csv:4: SiteId",
    ]
    assert [place for place in places if place not in done.stderr] == []
    assert not (folder / "data").exists()


def test_yaml_is_not_surprising(folder: Path) -> None:
    (folder / "rmm.yaml").write_text("sites:\n  - {id: no, name: 12:30, shards: 012}\n")
    done = rmm("status", "--config", str(folder))
    assert "shards" in done.stderr  # 012 is text, not ten
    assert "id" not in done.stderr.split("shards")[0]


def test_import_export_round_trip(folder: Path, tmp_path: Path) -> None:
    table = "ComputerName,IPAddress,SiteId,Tags,Description,Other\n"
    rows = 'SRV01,10.0.0.1,hq,"a;b","=HYPERLINK(""x"")",y\nBüro-PC,,hq,,ä€,\n,,hq,,,\nSRV03,10.0.0.3,nosite,,,\n'
    (tmp_path / "in.csv").write_text(table + rows, encoding="utf-8")
    dry = rmm("endpoints", "import", str(tmp_path / "in.csv"), "--config", str(folder), "--dry-run")
    assert dry.returncode == 3
    assert "would be 2 added" in dry.stdout
    done = rmm("endpoints", "import", str(tmp_path / "in.csv"), "--config", str(folder))
    assert done.returncode == 3
    assert "in.csv:4: ComputerName is missing" in done.stderr
    assert "in.csv:5: SiteId 'nosite' is not one of hq" in done.stderr
    before = (folder / "endpoints.csv").read_text(encoding="utf-8")
    for ending in ("csv", "json", "xlsx"):
        out = tmp_path / f"out.{ending}"
        assert rmm("endpoints", "export", str(out), "--config", str(folder)).returncode == 0
        again = rmm("endpoints", "import", str(out), "--config", str(folder))
        assert "0 added, 0 updated, 2 unchanged, 0 bad" in again.stdout, ending
        assert (folder / "endpoints.csv").read_text(encoding="utf-8") == before
    cells = list(csv.reader(io.StringIO((tmp_path / "out.csv").read_text(encoding="utf-8-sig"))))
    assert '\'=HYPERLINK("x")' in cells[1]
    listed = json.loads(rmm("endpoints", "list", "--config", str(folder), "--output", "json").stdout)
    assert {row["name"] for row in listed} == {"SRV01", "Büro-PC"}


def test_an_update_keeps_the_id(folder: Path, tmp_path: Path) -> None:
    for address in ("10.0.0.1", "10.0.0.2"):
        (tmp_path / "in.csv").write_text(
            f"ComputerName;IPAddress\nSRV01;{address}\n"
        )  # semicolons, as a spreadsheet may write
        assert rmm("endpoints", "import", str(tmp_path / "in.csv"), "--config", str(folder)).returncode == 0
    (row,) = json.loads(rmm("endpoints", "list", "--config", str(folder), "--output", "json").stdout)
    assert (row["id"], row["address"]) == ("srv01", "10.0.0.2")


def test_rubbish_is_refused_in_every_form(folder: Path, tmp_path: Path) -> None:
    for ending in ("csv", "json", "xlsx", "exe"):
        path = tmp_path / f"rubbish.{ending}"
        path.write_bytes(os.urandom(3000))
        done = rmm("endpoints", "import", str(path), "--config", str(folder))
        assert done.returncode in (2, 3), ending
        assert "Traceback" not in done.stderr
        assert "error:" in done.stderr


def test_credentials(folder: Path) -> None:
    environment = {**os.environ, "RMM_PASSPHRASE": "open sesame"}
    set_one = rmm(
        "credentials",
        "set",
        "polling",
        "--username",
        "CORP\\poll",
        "--config",
        str(folder),
        input="S3cret!\n",
        env=environment,
    )
    assert set_one.returncode == 0, set_one.stderr
    assert "S3cret" not in (folder / "credentials.vault").read_text()
    assert "CORP\\poll" in rmm("credentials", "list", "--config", str(folder)).stdout
    wrong = rmm(
        "credentials", "remove", "polling", "--config", str(folder), env={**os.environ, "RMM_PASSPHRASE": "nope"}
    )
    assert wrong.returncode == 2
    assert "passphrase is wrong" in wrong.stderr
    assert rmm("credentials", "remove", "polling", "--config", str(folder), env=environment).returncode == 0
    no_terminal = rmm("credentials", "set", "x", "--username", "y", "--config", str(folder), input="z\n")
    assert no_terminal.returncode == 2
    assert "RMM_PASSPHRASE_FILE" in no_terminal.stderr


def test_schedules(folder: Path) -> None:
    task = rmm("schedule", "print", "--kind", "windows", "--config", str(folder), "--every", "7").stdout
    xml = ElementTree.fromstring(task.split("\n", 1)[1].replace('encoding="UTF-16"', ""))
    space = "{http://schemas.microsoft.com/windows/2004/02/mit/task}"
    assert xml.find(f".//{space}Interval").text == "PT7M"  # type: ignore[union-attr]
    assert "poll --due --quiet --config" in str(xml.find(f".//{space}Arguments").text)  # type: ignore[union-attr]
    assert xml.find(f".//{space}MultipleInstancesPolicy").text == "IgnoreNew"  # type: ignore[union-attr]
    units = rmm("schedule", "print", "--kind", "systemd", "--config", str(folder)).stdout
    assert "OnUnitActiveSec=5min" in units
    assert "SuccessExitStatus=3" in units
    cron = rmm("schedule", "print", "--kind", "cron", "--config", str(folder)).stdout
    assert cron.startswith("*/5 * * * * ")
    dry = rmm("schedule", "install", "--kind", "systemd", "--dry-run", "--config", str(folder))
    assert "would write" in dry.stdout
    assert "would run systemctl" in dry.stdout


def test_a_new_collector_passes_the_check_and_a_broken_one_does_not(tmp_path: Path) -> None:
    assert rmm("collector", "new", "my_thing", "--folder", str(tmp_path)).returncode == 0
    good = rmm("collector", "check", str(tmp_path / "my_thing"))
    assert good.returncode == 0, good.stdout
    script = tmp_path / "my_thing" / "collect.ps1"
    script.write_text(script.read_text() + "\nGet-WmiObject Win32_Service | % { $_.Nmae }\n")
    bad = rmm("collector", "check", str(tmp_path / "my_thing"))
    assert bad.returncode == 2
    assert "collect.ps1:" in bad.stdout
    assert "Get-WmiObject" in bad.stdout


def test_help_of_every_command_is_documented() -> None:
    """docs/commands.md and docs/lab.md are what the program itself says."""
    done = subprocess.run([sys.executable, "docs/generate.py", "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}\nrun: make docs"


def test_kinds_of_credentials(folder: Path, tmp_path: Path) -> None:
    passphrase = tmp_path / "passphrase"
    passphrase.write_text("open sesame\n", encoding="utf-8")
    keytab = tmp_path / "rmm.keytab"
    keytab.write_bytes(b"\5\2")
    common = ("--username", "rmm@CORP", "--config", str(folder), "--passphrase-file", str(passphrase))
    for options in (["--keytab", str(keytab)], ["--ccache", "KCM:0"], ["--ccache", str(tmp_path / "cc")]):
        done = rmm("credentials", "set", "kerberos", *common, *options, input="")
        assert done.returncode == 0, done.stderr
    records = json.loads((folder / "credentials.vault").read_bytes())["records"]
    assert (records["kerberos"]["kind"], records["kerberos"]["key_file"]) == ("ccache", f"FILE:{tmp_path / 'cc'}")
    for options, word in (
        (["--keytab", str(keytab), "--ccache", "x"], "do not go together"),
        (["--keytab", str(tmp_path / "no")], "no such file"),
        (["--keytab", str(keytab), "--key-file", str(keytab)], "do not go together"),
        (["--certificate", str(keytab)], "cannot be used"),
        (["--keytab", str(passphrase)], "is no keytab"),
        (["--ccache", str(passphrase)], "is no ticket cache"),
        ([], "empty secret"),
    ):
        done = rmm("credentials", "set", "other", *common, *options, input="\n")
        assert (done.returncode, word in done.stderr) == (2, True), done.stderr
        assert "Traceback" not in done.stderr
    assert list(json.loads((folder / "credentials.vault").read_bytes())["records"]) == ["kerberos"]
