"""rmm.yaml and rules: every mistake with its place, and what overrides what."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmm.document import read_document
from rmm.errors import ConfigError
from rmm.model.alerting import AlertSettings
from rmm.model.endpoint import Site
from rmm.model.settings import (
    CollectorSettings,
    DiskSettings,
    HubSettings,
    LockoutSettings,
    PollSettings,
    Retention,
    SiteSettings,
)
from rmm.resources import shipped
from rmm.settings.load import ENVIRONMENT, SETTINGS, load_settings
from rmm.settings.rules import shipped_rules

GOOD = "sites:\n  - {id: hq, credential: polling}\n"
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    for name in ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)

    def make(settings: str = GOOD, endpoints: str = "ComputerName,SiteId\n", **rules: str) -> Path:
        (tmp_path / SETTINGS).write_text(settings, encoding="utf-8")
        (tmp_path / "endpoints.csv").write_text(endpoints, encoding="utf-8")
        (tmp_path / "rules").mkdir(exist_ok=True)
        for name, text in rules.items():
            (tmp_path / "rules" / f"{name}.yaml").write_text(text, encoding="utf-8")
        return tmp_path

    return make


def problems(folder: Path, **flags: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_settings(folder, flags)
    return [line.removeprefix(str(folder) + os.sep) for line in caught.value.problems]


def test_the_shipped_file_loads_and_mentions_every_setting(write: Write) -> None:
    text = (shipped("config") / SETTINGS).read_text(encoding="utf-8")
    settings = load_settings(write(text))
    assert settings.poll == PollSettings()
    assert list(settings.sites) == ["hq"]
    for kind in (PollSettings, CollectorSettings, Retention, DiskSettings, Site, HubSettings, SiteSettings):
        missing = [field.name for field in msgspec.structs.fields(kind) if f"{field.name}:" not in text]
        assert missing == [], kind
    assert [key for key in ("data:", "channels:", "retention_days:") if key not in text] == []


def test_what_is_commented_out_is_the_default(write: Write) -> None:
    """Every setting that the shipped file shows in a comment is right when the comment mark is taken away."""
    lines = []
    for line in (shipped("config") / SETTINGS).read_text(encoding="utf-8").splitlines():
        bare = line.lstrip()
        key = bare.removeprefix("# ").split(":")[0]
        is_setting = bare.startswith("# ") and ":" in bare and key.replace("_", "").isalpha() and key.islower()
        in_comment = line.startswith("#") and bare.startswith("#   ")
        lines.append(line.replace("# ", "", 1) if is_setting or in_comment else line)
    settings = load_settings(write("\n".join(lines)))
    assert settings.poll == PollSettings()
    assert settings.sites["hq"] == Site(id="hq", name="Headquarters", credential="polling")
    assert settings.collectors.interval == {"cpu": 60}
    assert set(settings.channels) == {"file", "hook", "mail", "pager"}
    assert [route.digest for route in settings.routes] == ["", "", "07:00"]
    assert settings.routes[1].repeat_interval == 4 * 3600
    assert len(settings.inhibit) == 1
    assert settings.alerts == AlertSettings()
    assert settings.hub == HubSettings()
    assert settings.forward == SiteSettings()
    assert [one.name for one in settings.windows] == ["patching", "second tuesday", "backup", "move"]
    assert len(settings.dependencies) == 3


def test_flag_over_environment_over_file_over_default(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write(GOOD + "data: here\npoll: {concurrency: 30, workers: 2}\n")
    monkeypatch.setenv("RMM_POLL_CONCURRENCY", "40")
    monkeypatch.setenv("RMM_POLL_WORKERS", "3")
    monkeypatch.setenv("RMM_POLL_TIMEOUT", "7.5")
    settings = load_settings(folder, {"poll.concurrency": 50, "poll.workers": None})
    assert (settings.poll.concurrency, settings.poll.workers, settings.poll.timeout) == (50, 3, 7.5)
    assert settings.poll.connect_timeout == PollSettings().connect_timeout
    assert settings.data == str(folder / "here")
    monkeypatch.setenv("RMM_DATA", str(folder / "elsewhere"))
    assert load_settings(folder).data == str(folder / "elsewhere")


def test_a_wrong_variable_is_called_by_its_name(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write()
    monkeypatch.setenv("RMM_POLL_WORKERS", "many")
    monkeypatch.setenv("RMM_POLL_CONCURRENCY", "9999")
    assert problems(folder) == [
        "environment RMM_POLL_CONCURRENCY: 1 to 500 are allowed",
        "environment RMM_POLL_WORKERS: Expected `int`, got `str`",
    ]


MISTAKES = """\
dta: x
data: ""
retention_days: 0
sites:
  - id: hq
    shards: 0
    port: 70000
    scheme: ftp
    auth: basic
    timezone: Mars/Olympus
  - id: hq
  - id: ../up
  - id: con
  - {id: b, shceme: https}
  - {name: nameless}
poll:
  concurrency: 501
  timeout: soon
  tiemout: 5
collectors: {disable: software}
channels:
  a: {url: x}
  b: {type: pigeon}
retention_days: 5
archive: {after_days: -1}
"""
EXPECTED = [
    "rmm.yaml:1: dta: unknown key; did you mean data?",
    "rmm.yaml:2: data: name a folder",
    "rmm.yaml:3: retention_days: 1 to 36500 are allowed",
    "rmm.yaml:6: sites[0].shards: 1 to 4096",
    "rmm.yaml:7: sites[0].port: ",
    "rmm.yaml:8: sites[0].scheme: 'ftp' is not one of http, https",
    "rmm.yaml:9: sites[0].auth: basic sends the password",
    "rmm.yaml:10: sites[0].timezone: 'Mars/Olympus'",
    "rmm.yaml:11: sites[1].id: this id is used twice",
    "rmm.yaml:12: sites[2].id: ",
    "rmm.yaml:13: sites[3].id: ",
    "rmm.yaml:14: sites[4].shceme: unknown key; did you mean scheme?",
    "rmm.yaml:15: sites[5].id: missing",
    "rmm.yaml:17: poll.concurrency: 1 to 500 are allowed",
    "rmm.yaml:18: poll.timeout: Expected `float`",
    "rmm.yaml:19: poll.tiemout: unknown key; did you mean timeout?",
    "rmm.yaml:20: collectors.disable: Expected `array`",
    "rmm.yaml:22: channels.a: name its `type`",
    "rmm.yaml:23: channels.b.type: 'pigeon' is not one of apprise, ",
    "rmm.yaml:24: retention_days: twice; first in line 3",
    "rmm.yaml:25: archive.after_days: 0 to 36500 are allowed",
    "endpoints.csv:3: SiteId 'nowhere'",
    "endpoints.csv:4: Id 'a' is that of row 2 already",
    "rules" + os.sep + "bad.yaml:2: rules[0].op: '=>' is not one of",
    "rules" + os.sep + "bad.yaml:3: rules[1].critical: `op: >` compares with a number",
    "rules" + os.sep + "bad.yaml:4: rules[2].id: c: name a threshold",
    "rules" + os.sep + "bad.yaml:5: rules[3].critical: `op: in` compares with a list",
    "rules" + os.sep + "worse.yaml:2: not YAML",
]


def test_all_mistakes_of_all_files_at_once_each_with_its_place(write: Write) -> None:
    rules = (
        "rules:\n  - {id: a, op: =>, warning: 1}\n  - {id: b, critical: many}\n  - {id: c}\n"
        "  - {id: d, op: in, critical: x}\n"
    )
    endpoints = "Id,ComputerName,SiteId\na,A,hq\nb,B,nowhere\na,C,hq\n"
    found = problems(write(MISTAKES, endpoints, bad=rules, worse="rules: [\n"))
    missing = [line for line in EXPECTED if not any(text.startswith(line) for text in found)]
    assert missing == [], "\n".join(found)
    assert len(found) == len(EXPECTED), "\n".join(found)  # nothing is reported for what another mistake caused


@pytest.mark.parametrize(
    ("text", "value"),
    [("no", "no"), ("on", "on"), ("012", "012"), ("12:30", "12:30"), ("1_000", "1_000"), ("0x10", "0x10"),
     ("2026-11-24", "2026-11-24"), ("12", 12), ("-1.5", -1.5), ("1e3", 1000.0), ("true", True), ("~", None),
     ("'12'", "12"), (".inf", ".inf"), ("=", "=")],
)  # fmt: skip
def test_plain_values_are_what_they_look_like(text: str, value: object) -> None:
    document = read_document(f"key: {text}\n")
    assert (document.data, document.problems) == ({"key": value}, [])


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused_with_a_line(text: str) -> None:
    for problem in read_document(text).problems:
        assert problem.line >= 1


def test_a_bomb_of_aliases_is_refused(write: Write) -> None:
    layers = ["a0: &a0 [x,x,x,x,x,x,x,x,x,x]"]
    layers += [f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    assert any("more than" in line for line in problems(write("\n".join(layers) + "\n" + GOOD)))


@pytest.mark.parametrize("data", [b"\xff\xfe\x00", b"a: !!python/object:os.system x", b"[" * 5000, b"", b"- 1\n"])
def test_what_is_no_settings_file_is_refused(write: Write, data: bytes) -> None:
    folder = write()
    (folder / SETTINGS).write_bytes(data)
    with pytest.raises(ConfigError) as caught:
        load_settings(folder)
    assert SETTINGS in str(caught.value)


def test_an_unreadable_rule_file_is_a_problem_like_others(write: Write) -> None:
    folder = write(GOOD.replace("hq", "HQ"))
    (folder / "rules" / "x.yaml").write_bytes(b"\xff\xfe\x00")
    found = problems(folder)
    assert any(line.startswith("rmm.yaml:2: sites[0].id") for line in found)
    assert any("x.yaml:1: cannot be read" in line for line in found)


def test_the_shipped_rules_are_right() -> None:
    assert len({rule.id for rule in shipped_rules()}) == len(shipped_rules()) > 3


@pytest.mark.parametrize(
    ("site", "wanted"),
    [
        ("configuration: RmmJea, fallback: [Microsoft.PowerShell]", "fallback"),
        ("configuration: RmmJea, source: jea, fallback: [Other, winrs]", "fallback"),
        ("source: jea", "source"),
        ("configuration: PowerShell.7, source: jea", "source"),
        ("configuration: 'no name'", "configuration"),
        ("fallback: ['../x']", "fallback"),
    ],
)
def test_session_configurations_that_would_widen_are_refused(write: Write, site: str, wanted: str) -> None:
    (only,) = problems(write(f"sites:\n  - {{id: hq, {site}}}\n"))
    assert f"rmm.yaml:2: sites[0].{wanted}: " in only


@pytest.mark.parametrize(
    "site",
    [
        "configuration: PowerShell.7, fallback: [Microsoft.PowerShell, winrs]",
        "configuration: RmmJea, source: jea, fallback: [RmmJea2]",
        "fallback: [RmmJea]",
        "configuration: winrs",
    ],
)
def test_lists_that_do_not_are_taken(write: Write, site: str) -> None:
    assert list(load_settings(write(f"sites:\n  - {{id: hq, {site}}}\n")).sites) == ["hq"]


def test_an_endpoint_of_its_own_configuration_does_not_widen_either(write: Write) -> None:
    folder = write("sites:\n  - {id: hq, fallback: [winrs]}\n")
    (folder / "endpoints.csv").write_text("Id,ComputerName,SiteId,Configuration\na,A,hq,RmmJea\nb,B,hq,PowerShell.7\n")
    (only,) = problems(folder)
    assert "endpoints.csv: A: configuration RmmJea: fallback of its site: winrs gives more" in only
    write("sites:\n  - {id: hq, configuration: RmmJea, source: jea}\n")
    (folder / "endpoints.csv").write_text("Id,ComputerName,SiteId,Configuration\na,A,hq,RmmJea2\nb,B,hq,PowerShell.7\n")
    (only,) = problems(folder)
    assert "endpoints.csv: B: configuration PowerShell.7 is no JEA endpoint" in only


def test_ways_of_logging_on_that_do_not_go_together(write: Write) -> None:
    sites = """sites:
  - {id: a, auth: credssp}
  - {id: b, auth: certificate}
  - {id: c, auth: kerberos, transport: pywinrm}
  - {id: d, auth: negotiate, negotiate: [kerberos, basic]}
"""
    found = problems(write(sites))
    for line, text in enumerate(
        ("credssp needs transport: pypsrp", "certificate needs scheme: https", "kerberos needs transport: winrm"),
        start=2,
    ):
        assert any(one.startswith(f"rmm.yaml:{line}: sites[{line - 2}].auth:") and text in one for one in found), found
    assert any("sites[3].negotiate: an order of kerberos and ntlm" in one for one in found)


def test_an_endpoint_whose_transport_does_not_go_with_its_sites_auth(write: Write) -> None:
    endpoints = "ComputerName,SiteId,Transport,Scheme\nA,a,,\nB,a,pywinrm,\nC,b,,http\nD,a,ssh,\n"
    sites = "sites:\n  - {id: a, auth: kerberos}\n  - {id: b, auth: certificate, scheme: https}\n"
    found = problems(write(sites, endpoints))
    assert len(found) == 2
    assert "B: its site's auth does not go with it: kerberos needs transport" in found[0]
    assert "C: its site's auth does not go with it: a client certificate needs scheme: https" in found[1]


def test_what_lock_out_protection_may_spend_is_bounded(write: Write) -> None:
    folder = write(GOOD + "lockout: {budget: 4, window: 600, duration: 900, parallel: 8}\n")
    assert load_settings(folder).lockout == LockoutSettings(budget=4, window=600, duration=900, parallel=8)
    found = problems(write(GOOD + "lockout: {budget: 0, parallel: 1000, threshold: 3}\n"))
    assert [line.split(": ")[1] for line in found] == ["lockout.budget", "lockout.parallel", "lockout.threshold"]


@pytest.mark.parametrize(
    ("entry", "wanted"),
    [
        ("{endpoints: [OLD-01], allow: [tls1.1], until: 2027-01-31}", "exceptions[0].owner: missing"),
        ("{endpoints: [OLD-01], allow: [tls1.1], owner: x}", "exceptions[0].until: missing"),
        ('{endpoints: [OLD-01], allow: [tls1.1], owner: " ", until: 2027-01-31}', "exceptions[0].owner: name who"),
        ("{endpoints: [OLD-01], allow: [tls9], owner: x, until: 2027-01-31}", "exceptions[0].allow: one or more of"),
        ("{endpoints: [], allow: [name], owner: x, until: 2027-01-31}", "exceptions[0].endpoints: name the"),
        ("{endpoints: [OLD-01], allow: [name], owner: x, until: never}", "exceptions[0].until: 'never' is not a day"),
        ("{endpoints: [OLD-01], allow: [name], owner: x, until: '20270131'}", "exceptions[0].until: '20270131' is"),
    ],
)
def test_an_exception_without_owner_or_end_is_none(write: Write, entry: str, wanted: str) -> None:
    [line] = problems(write(f"{GOOD}exceptions:\n  - {entry}\n"))
    assert line.startswith(f"rmm.yaml:4: {wanted}")


@pytest.mark.parametrize("text", ["sites: [\n", "\tsites:\n", "just text\n", ""])
def test_endpoints_are_not_reported_where_the_file_names_no_site(write: Write, text: str) -> None:
    found = problems(write(text, "ComputerName,SiteId\nSRV01,hq\nSRV02,hq\n"))
    assert len(found) == 1
    assert found[0].startswith("rmm.yaml:")


def test_history_is_kept_per_class(write: Write) -> None:
    assert load_settings(write(GOOD)).retention == Retention()
    short = load_settings(write(GOOD + "retention_days: 30\n"))
    assert short.retention == Retention(samples=30, changes=30)
    mixed = load_settings(write(GOOD + "retention_days: 30\nretention: {hourly: 0, daily: 400}\n"))
    assert mixed.retention == Retention(samples=30, changes=30, hourly=0, daily=400)
    assert load_settings(write(GOOD + "disk: {budget_gb: 40}\n")).disk == DiskSettings(budget_gb=40)


def test_two_answers_for_one_class_and_what_is_out_of_its_limits(write: Write) -> None:
    text = GOOD + (
        "retention_days: 30\nretention:\n  samples: 7\n  hourly: -1\n  monthly: 5\n"
        "disk:\n  budget_gb: -1\n  keep_free: 5\n"
    )
    first = GOOD.count("\n") + 1
    assert problems(write(text)) == [
        f"rmm.yaml:{first + 2}: retention.samples: line {first} says it already: "
        "retention_days stands for samples and changes",
        f"rmm.yaml:{first + 3}: retention.hourly: 1 to 36500 days are allowed, or 0 for ever",
        f"rmm.yaml:{first + 4}: retention.monthly: unknown key; known are changes, daily, hourly, samples",
        f"rmm.yaml:{first + 6}: disk.budget_gb: 0 to 1000000 are allowed",
        f"rmm.yaml:{first + 7}: disk.keep_free: unknown key; did you mean keep_free_gb?",
    ]
