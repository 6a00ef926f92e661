"""A configuration folder whose settings come from a bundle: commands work with it, and mistakes name their file."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from bundling import edit, usable
from typer.testing import CliRunner

from rmm import worker
from rmm.cli.main import build
from rmm.configured import Configured
from rmm.errors import ConfigError
from rmm.hub.bundle import preview
from rmm.model.endpoint import Secret
from rmm.model.observation import decode_observation
from rmm.model.round import PollRequest
from rmm.model.settings import SiteSettings
from rmm.poller.frames import Order
from rmm.report_view import ReportView
from rmm.settings.load import load_own, load_settings
from rmm.settings.places import find_folder, has_settings, is_configured
from rmm.settings.targets import changed_at
from rmm.settings.unpacking import unpack
from rmm.vault import Vault

Run = Callable[..., str]
UNREACHABLE = {
    "rmm.yaml": b"sites: [{id: hq, credential: polling, shards: 2}]\npoll: {workers: 2, connect_timeout: 1}\n",
    "endpoints.csv": b"Id,ComputerName,IPAddress,Port,SiteId\n"
    + b"".join(f"e{n},E{n},127.0.0.1,{n},hq\n".encode() for n in range(1, 7)),
}


@pytest.fixture
def site(hub: Path, place: Path) -> Path:
    """A site with its first bundle."""
    use(place, 1, preview(hub, "hq").files)
    return place


def use(place: Path, version: int, files: dict[str, bytes]) -> Path:
    unpack(place / "bundles" / str(version), files)
    (place / "bundles" / "active").write_text(f"{version}\n")
    return place / "bundles" / str(version)


@pytest.fixture
def run() -> Run:
    def call(group: str, *args: str, code: int = 0) -> str:
        found = CliRunner().invoke(build([group]), [group, *args])
        if code and found.exception is not None and not isinstance(found.exception, SystemExit):
            return str(found.exception)
        assert found.exit_code == code, (found.output, found.exception)
        return found.stdout

    return call


def test_folders_are_where_they_belong(site: Path) -> None:
    settings = load_settings(site)
    assert (settings.folder, settings.bundle, settings.source) == (
        str(site), str(site / "bundles" / "1"), str(site / "bundles" / "1"),
    )  # fmt: skip
    assert settings.data == str(site / "data")
    assert Configured(settings, lambda: "").vault_path == site / "credentials.vault"
    assert Path(settings.sites["hq"].ca_file).parent == site / "bundles" / "1" / "files"
    assert load_settings(site, {"data": "/elsewhere"}).data == str(Path("/elsewhere").resolve())


def test_what_the_site_says_itself_is_laid_over_it(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (site / "site.yaml").write_text(
        "data: state\npoll: {workers: 7}\nforward: {spool_gb: 9, proxy: 'http://proxy:3128', proxy_login: {vault: p}}\n"
        "channels: {file: {type: log}}\nroutes: [{channels: [file], match: {site: hq}}]\ndisk: {keep_free_gb: 3}\n"
        "archive: {after_days: 5}\ninhibit: [{source: {rule: a}, target: {rule: b}, equal: [site]}]\n"
    )
    settings = load_settings(site)
    assert settings.data == str(site / "state")
    assert (settings.poll.workers, settings.poll.concurrency, settings.poll.timeout) == (7, 50, 45)
    assert (settings.forward.spool_gb, settings.forward.proxy) == (9, "http://proxy:3128")
    assert settings.forward.proxy_login == {"vault": "p"}
    assert (list(settings.channels), settings.routes[0].channels) == (["file"], ("file",))
    assert (settings.disk.keep_free_gb, settings.archive.after_days, len(settings.inhibit)) == (3, 5, 1)
    monkeypatch.setenv("RMM_POLL_WORKERS", "5")
    assert load_settings(site, {"poll.concurrency": 11}).poll.workers == 5
    assert load_settings(site, {"poll.concurrency": 11}).poll.concurrency == 11
    own = load_own(site)
    assert (own.data, own.forward.spool_gb) == (site / "state", 9)


def test_mistakes_name_the_file_that_they_are_in(site: Path) -> None:
    (site / "site.yaml").write_text(
        "poll: {workers: 99}\nsites: []\nforward: {proxy: 'ftp://u:hunter2@x', rate: 0}\nlockout: {budget: 9}\n"
        "routes: [{channels: [nowhere]}]\ndata: ' '\ndisk: {warn_days: -1}\n"
    )
    edit(site / "bundles" / "1" / "rmm.yaml", "concurrency: 50", "concurrency: 5000")
    with pytest.raises(ConfigError) as caught:
        load_settings(site)
    lines = [line.replace(str(site), "") for line in caught.value.problems]
    known = "known are archive, channels, data, disk, forward, inhibit, poll, routes"
    proxy = (
        "http://HOST:PORT is expected, without an account: put that into the vault "
        "(`rmm credentials set proxy --username USER`), and name it: proxy_login: {vault: proxy}"
    )
    assert lines[0].startswith("/bundles/1/rmm.yaml:")
    assert lines[0].endswith("poll.concurrency: 1 to 500 are allowed")
    assert lines[1:] == [
        "/site.yaml:1: poll.workers: 1 to 64 are allowed",
        f"/site.yaml:2: sites: unknown key; {known}",
        f"/site.yaml:3: forward.proxy: {proxy}",
        "/site.yaml:3: forward.rate: 1 to 1000000 are allowed",
        f"/site.yaml:4: lockout: unknown key; {known}",
        "/site.yaml:5: routes[0].channels: there is no channel 'nowhere'; there are log",
        "/site.yaml:6: data: name a folder",
        "/site.yaml:7: disk.warn_days: 0 to 3650 are allowed",
    ]
    assert "hunter2" not in str(caught.value)
    with pytest.raises(ConfigError, match=r"site\.yaml:3: forward\.rate"):
        load_own(site)
    (site / "site.yaml").write_text("forward:\n  proxy: https://proxy:3128\n  proxy_login: {user: u}\n")
    with pytest.raises(ConfigError) as caught:
        load_own(site)
    assert [line.replace(str(site), "") for line in caught.value.problems] == [
        "/site.yaml:2: forward.proxy: http://HOST:PORT is expected",
        "/site.yaml:3: forward.proxy_login: {vault: NAME} is expected, with the name of a credential",
    ]


def test_before_the_first_bundle_the_site_says_what_it_lacks(place: Path) -> None:
    with pytest.raises(ConfigError, match=r"rmm\.yaml: there is no such file") as caught:
        load_settings(place)
    assert "`rmm site run` fetches it" in caught.value.hint
    assert (load_own(place).data, load_own(place).forward) == (place / "data", SiteSettings())
    assert (is_configured(place), has_settings(place)) == (True, False)


@pytest.mark.parametrize("text", ["", "x", "../1", "1/..", "-1", "0", "1 2", "9" * 40, "1\n\n2", "\x001"])
def test_a_damaged_pointer_is_told_and_not_guessed(site: Path, text: str) -> None:
    (site / "bundles" / "active").write_text(text)
    with pytest.raises(ConfigError, match="is not the number of a bundle") as caught:
        load_settings(site)
    assert "remove it" in caught.value.hint


def test_a_lost_bundle_is_told(site: Path) -> None:
    shutil.rmtree(site / "bundles" / "1")
    with pytest.raises(ConfigError, match=r"bundles.1.rmm\.yaml: there is no such file") as caught:
        load_settings(site)
    assert "fetches it from the hub again" in caught.value.hint


def test_own_settings_beside_a_bundle_are_not_used_and_that_is_said(
    site: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (site / "rmm.yaml").write_text("sites: [{id: other}]\n")
    assert list(load_settings(site).sites) == ["hq"]
    assert "rmm.yaml: is not used" in caplog.text


def test_what_a_newer_hub_says_is_ignored_and_told(site: Path, caplog: pytest.LogCaptureFixture) -> None:
    place = site / "bundles" / "1"
    for name, old, new in (
        ("rmm.yaml", "poll:", "brand_new: {a: 1}\npoll:"),
        ("rmm.yaml", "- id: hq", "- quantum: true\n  id: hq"),
        ("rmm.yaml", "  many: 7", "  fewer: 2\n  many: 7"),
        ("rules/ours.yaml", "rules:", "newer: []\nrules:"),
        ("rules/ours.yaml", "- id: hot_web", "- colour: red\n  id: hot_web"),
        ("baselines/web.yaml", "id: web", "id: web\ncolour: red"),
        ("collectors/0/own_thing/collector.yaml", "owner: us", "owner: us\ncolour: red"),
    ):
        edit(place / name, old, new)
    # Rules and collectors that only the newer version has.
    edit(place / "rmm.yaml", "  - software", "  - software\n  - warp")
    edit(place / "rmm.yaml", "    cpu: 30", "    cpu: 30\n    warp: 5")
    edit(place / "rules" / "ours.yaml", "overrides:", "- {id: warp_lost, collector: warp, field: x, warning: 1}\noverrides:\n- {rule: warp_hot, disable: true}")  # fmt: skip  # noqa: E501
    ignored = [text.replace(str(place), "") for text in usable(site, place)]
    assert {(text.partition(":")[0], text.split(": ")[1]) for text in ignored} == {
        ("/rmm.yaml", "brand_new"), ("/rmm.yaml", "sites[0].quantum"), ("/rmm.yaml", "alerts.fewer"),
        ("/rules/ours.yaml", "newer"), ("/rules/ours.yaml", "rules[0].colour"),
    }  # fmt: skip
    one = Configured(load_settings(site), lambda: "")
    assert "own_thing" in one.catalog
    assert "cpu" in one.intervals()
    assert "warp" not in one.intervals()
    assert {rule.id for rule in one.rules} >= {"hot_web", "cpu_high", "service_stopped_here"}
    assert "warp_lost" not in {rule.id for rule in one.rules}
    assert one.rulebook.of("hq-web1", "HQ-WEB1", "hq", "").rules["hot_web"].warning == 70
    assert one.settings.alerts.many == 7
    assert "the hub is newer than this site" in caplog.text
    assert "collector.yaml" in caplog.text


def test_people_are_not_forgiven_what_a_bundle_is(hub: Path) -> None:
    edit(hub / "rmm.yaml", "poll:", "brand_new: {a: 1}\npoll:")
    edit(hub / "rules/ours.yaml", "id: hot_web", "id: hot_web, colour: red")
    with pytest.raises(ConfigError) as caught:
        load_settings(hub)
    assert ["unknown key" in line for line in caught.value.problems] == [True, True]


def test_a_value_that_a_newer_hub_has_is_a_mistake(site: Path) -> None:
    edit(site / "bundles" / "1" / "rmm.yaml", "- id: hq", "- transport: quic\n  id: hq")
    with pytest.raises(ConfigError, match=r"bundles.1.rmm\.yaml:\d+: sites\[0\]\.transport: 'quic' is not one of"):
        load_settings(site)


def test_commands_work_at_the_site(site: Path, run: Run, tmp_path: Path) -> None:
    config = ("--config", str(site))
    assert "rules of the hub" not in run("rules", "list", *config)
    assert [row["id"] for row in json.loads(run("endpoints", "list", *config, "-o", "json"))] == ["hq-web1", "hq-sw"]
    assert "hot_web" in run("rules", "list", *config)
    assert "own_thing" in run("collector", "list", *config)
    assert run("rules", "check", *config)
    run("status", *config)
    run("alerts", "list", *config)
    run("maintenance", "list", *config)
    assert "web" in run("compliance", *config)
    rows = tmp_path / "more.csv"
    rows.write_text("ComputerName\nNEW\n")
    assert "the endpoint list is the hub's" in run("endpoints", "import", str(rows), *config, code=1)
    assert "would be 1 added" in run("endpoints", "import", str(rows), "--dry-run", *config)
    assert "configuration comes from the hub" in run("init", *config, "--no-input", code=1)
    assert not (site / "endpoints.csv").exists()


def test_a_backup_has_what_is_the_sites_own(site: Path, run: Run, tmp_path: Path) -> None:
    (site / "site.yaml").write_text("data: data\n")
    (site / "data").mkdir()
    run("store", "backup", str(tmp_path / "copy"), "--config", str(site))
    assert (tmp_path / "copy" / "config" / "site.yaml").read_text() == "data: data\n"


def test_baselines_of_the_bundle_are_used(site: Path) -> None:
    from rmm.app import App

    view = ReportView(App(load_settings(site), lambda: ""))
    assert [check.id for one in view.baselines() if one.id == "web" for check in one.checks] == ["build"]


def test_a_new_bundle_is_a_change_of_the_configuration(site: Path) -> None:
    before = changed_at(load_settings(site))
    assert before is not None
    use(site, 2, {path.relative_to(site / "bundles" / "1").as_posix(): path.read_bytes()
                  for path in (site / "bundles" / "1").rglob("*") if path.is_file()})  # fmt: skip
    after = changed_at(load_settings(site))
    assert after is not None
    assert after > before
    (site / "credentials.vault").write_text("x")
    assert (changed_at(load_settings(site)) or before) > after


def test_the_folder_is_found_where_it_has_a_bundle(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RMM_CONFIG", raising=False)
    home = site.parent / "here"
    home.mkdir()
    shutil.move(site, home / "config")
    monkeypatch.chdir(home)
    assert find_folder(None) == Path("config")
    (home / "config" / "bundles" / "active").unlink()
    assert find_folder(None) != Path("config")


class Taken:
    """An outlet that counts."""

    def __init__(self) -> None:
        self.endpoints: list[str] = []

    async def publish(self, site: str, shard: int, data: bytes) -> None:
        self.endpoints.append(decode_observation(data).endpoint)

    async def committed(self, site: str, shard: int) -> bool:
        return True


async def test_a_worker_goes_on_with_the_bundle_of_the_main_process(tmp_path: Path) -> None:
    use(tmp_path, 1, UNREACHABLE)
    Vault.open_or_create(tmp_path / "credentials.vault", "secret").set("polling", "u", Secret("p"))
    settings = load_settings(tmp_path)
    use(tmp_path, 2, {"rmm.yaml": b"sites: [{id: hq}]", "endpoints.csv": b"ComputerName,SiteId\n"})
    order = Order(
        config=str(tmp_path), passphrase="secret", request=msgspec.json.encode(PollRequest()), epoch="0" * 16,
        shards=[("hq", 0), ("hq", 1)], poll=msgspec.json.encode(settings.poll), bundle=settings.bundle,
    )  # fmt: skip
    taken = Taken()
    await worker._poll(order, taken)  # type: ignore[arg-type]
    assert len(taken.endpoints) == 6


def test_a_round_runs_with_a_bundle_in_worker_processes(tmp_path: Path) -> None:
    use(tmp_path, 1, UNREACHABLE)
    (tmp_path / "site.yaml").write_text("poll: {timeout: 5}\n")
    Vault.open_or_create(tmp_path / "credentials.vault", "secret").set("polling", "u", Secret("p"))
    done = subprocess.run(
        [sys.executable, "-m", "rmm", "poll", "--config", str(tmp_path), "--output", "ndjson"],
        env={**os.environ, "RMM_PASSPHRASE": "secret"}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert {row["endpoint"]: row["status"] for row in rows if "endpoint" in row} == {
        f"e{n}": "UNREACHABLE" for n in range(1, 7)
    }, done.stderr
    assert (tmp_path / "data" / "hot" / "hq").is_dir()
    assert not (tmp_path / "bundles" / "1" / "data").exists()
    one = CliRunner().invoke(build(["status"]), ["status", "--config", str(tmp_path), "-o", "json"])
    assert len(json.loads(one.stdout)) == 6


def test_show_says_what_a_site_would_get(hub: Path, run: Run, tmp_path: Path) -> None:
    config = ("--config", str(hub))
    rows = json.loads(run("bundle", "show", "hq", *config, "-o", "json"))
    assert {row["file"] for row in rows} == set(preview(hub, "hq").files)
    assert "HQ-WEB1" in run("bundle", "show", "hq", "--file", "endpoints.csv", *config)
    assert "there is no file 'x'" in run("bundle", "show", "hq", "--file", "x", *config, code=1)
    assert "there is no site 'x'" in run("bundle", "show", "x", *config, code=1)
    run("bundle", "show", "hq", "--out", str(tmp_path / "out"), *config)
    assert (tmp_path / "out" / "rules" / "ours.yaml").is_file()
    assert "exists already" in run("bundle", "show", "hq", "--out", str(tmp_path / "out"), *config, code=1)
    result = CliRunner().invoke(build(["bundle"]), ["bundle", "show", "hq", *config])
    assert "left out: dependency 2: what it depends on is at other sites as well" in result.stderr
    assert not (hub / "hub").exists()
