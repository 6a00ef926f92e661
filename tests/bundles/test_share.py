"""What a site gets: its own part of everything, nothing of others, and no secret."""

from __future__ import annotations

import base64
import hashlib
import hmac
from pathlib import Path
from typing import Any

import pytest
from bundling import FOREIGN, SECRETS, edit, usable
from hypothesis import given
from hypothesis import strategies as st

from rmm.configured import Configured
from rmm.document import read_document
from rmm.errors import ConfigError
from rmm.hub.bundle import preview
from rmm.hub.known_hosts import hosts_of
from rmm.hub.writing import yaml_of
from rmm.model.alerting import Dependency, Scope
from rmm.model.settings import Settings
from rmm.settings.baselines import read_baselines
from rmm.settings.load import load_settings
from rmm.settings.unpacking import unpack
from rmm.vault import Vault


def loaded(hub: Path, tmp_path: Path, site: str = "hq") -> Settings:
    folder = tmp_path / f"at-{site}"
    unpack(folder / "bundles" / "1", preview(hub, site).files)
    usable(folder, folder / "bundles" / "1")
    return load_settings(folder, bundle=folder / "bundles" / "1")


def test_nothing_of_other_sites_and_no_secret_is_in_it(hub: Path) -> None:
    (hub / "credentials.vault").unlink()
    vault = Vault.open_or_create(hub / "credentials.vault", "passphrase-of-the-vault")
    from rmm.model.endpoint import Secret

    key = hub / "id_ed25519"
    key.write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nhunter2\n")
    vault.set("polling-a", "DOMAIN\\poller", Secret("correct horse"))
    vault.set("ssh", "root", Secret("battery staple"), kind="key", key_file=str(key))
    files = preview(hub, "hq").files
    assert set(files) == {
        "rmm.yaml", "endpoints.csv", "rules/ours.yaml", "baselines/web.yaml", "files/ca.pem", "files/known_hosts",
        "collectors/0/own_thing/collector.yaml", "collectors/0/own_thing/collect.ps1",
    }  # fmt: skip
    whole = b"\n".join((*(name.encode() for name in files), *files.values()))
    sealed = (hub / "credentials.vault").read_bytes()
    for secret in (
        "correct horse",
        "battery staple",
        "poller",
        "root",
        "PRIVATE KEY",
        "passphrase",
        *SECRETS,
        *FOREIGN,
    ):
        assert secret.encode() not in whole, secret
    assert not any(sealed[at : at + 24] in whole for at in range(0, len(sealed) - 24, 24))


def test_the_other_site_gets_its_own(hub: Path, tmp_path: Path) -> None:
    settings = loaded(hub, tmp_path, "berlin")
    assert list(settings.sites) == ["berlin"]
    assert {one.id for one in settings.endpoints} == {"ber-sql1", "ber-old", "sw-b", "kiosk-1"}
    whole = b"\n".join(preview(hub, "berlin").files.values())
    assert b"hq" not in whole.lower().replace(b"hq-*", b"")
    assert b"HQ" not in whole


def test_its_own_part_is_what_it_was(hub: Path, tmp_path: Path) -> None:
    all_of_it, own = load_settings(hub), loaded(hub, tmp_path)
    place = tmp_path / "at-hq" / "bundles" / "1"
    site = all_of_it.sites["hq"]
    assert own.sites == {"hq": type(site)(**{
        **{name: getattr(site, name) for name in site.__struct_fields__},
        "ca_file": str(place / "files" / "ca.pem"), "known_hosts": str(place / "files" / "known_hosts"),
    })}  # fmt: skip
    assert own.endpoints == tuple(one for one in all_of_it.endpoints if one.site == "hq")
    for name in ("poll", "lockout", "alerts", "retention"):
        assert getattr(own, name) == getattr(all_of_it, name), name
    assert own.collectors.disable == ("software",)
    assert own.collectors.interval == {"cpu": 30}
    assert own.collectors.folders == (str(place / "collectors" / "0"),)
    assert list(own.groups) == ["web"]
    assert [one.endpoints for one in own.exceptions] == [("HQ-WEB1",)]
    assert own.reports.target_pct == 99.9
    assert (own.forward.spool_gb, own.forward.proxy) == (2, "")
    assert (own.channels, own.routes, own.inhibit, own.escalation.policies) == ({}, (), (), {})
    assert own.hub == type(own.hub)()
    assert own.disk == type(own.disk)()  # that of the hub's machine is no matter of the site's
    assert own.data == str(tmp_path / "at-hq" / "data")


def test_maintenance_and_dependencies_are_those_of_its_endpoints(hub: Path, tmp_path: Path) -> None:
    own = loaded(hub, tmp_path)
    assert {one.name: one.scope for one in own.windows} == {
        "all": Scope(), "both": Scope(site=("hq",)), "some": Scope(endpoint=("HQ-*",)), "move": Scope(group=("web",)),
    }  # fmt: skip
    there = {one.name: one for one in load_settings(hub).windows}
    assert [one.cron for one in own.windows if one.name == "some"] == [there["some"].cron]
    assert [(one.begins, one.ends) for one in own.windows if one.name == "move"] == [
        (there["move"].begins, there["move"].ends)
    ]
    assert own.dependencies == (
        Dependency(of=Scope(group=("web",)), endpoints=("hq-sw",)),
        Dependency(of=Scope(tag=("prod",)), sites=("hq",)),
    )
    left = preview(hub, "hq").left_out
    assert any("dependency 2" in text for text in left)
    assert any("maintenance: theirs" in text for text in left)


def test_a_rule_that_is_not_for_the_site_does_not_bring_the_shipped_one_back(hub: Path, tmp_path: Path) -> None:
    own = loaded(hub, tmp_path)
    assert {rule.id for rule in own.rules} == {"hot_web", "cpu_high", "service_stopped_here"}
    assert [(one.rule, one.site, one.tag) for one in own.overrides] == [
        ("cpu_high", ("hq",), ()), ("cpu_*", (), ("prod",)),
    ]  # fmt: skip
    for settings in (load_settings(hub), own):
        book = Configured(settings, lambda: "").rulebook
        assert "cpu_high" not in book.of("hq-sw", "HQ-SW", "hq", "").rules
    there = Configured(loaded(hub, tmp_path, "berlin"), lambda: "").rulebook
    assert there.of("ber-old", "BER-OLD", "berlin", "").rules["cpu_high"].critical == 42


def test_the_rules_of_every_endpoint_are_those_of_the_hub(hub: Path, tmp_path: Path) -> None:
    at_hub = Configured(load_settings(hub), lambda: "").rulebook
    for site in ("hq", "berlin"):
        settings = loaded(hub, tmp_path, site)
        at_site = Configured(settings, lambda: "").rulebook
        for one in settings.endpoints:
            there = dict(at_hub.of(one.id, one.name, one.site, "Windows Server 2022").rules)
            here = dict(at_site.of(one.id, one.name, one.site, "Windows Server 2022").rules)
            # What names a machine of another site can only be judged at the hub.
            assert there.pop("named") if site == "hq" else True
            assert {name: rule.critical for name, rule in here.items()} == {
                name: rule.critical for name, rule in there.items()
            }


def test_baselines_are_without_checks_that_name_other_sites(hub: Path, tmp_path: Path) -> None:
    loaded(hub, tmp_path)
    found = read_baselines(tmp_path / "at-hq" / "bundles" / "1" / "baselines")
    assert [(one.id, [check.id for check in one.checks]) for one in found.baselines] == [("web", ["build"])]
    assert found.problems == []


def test_a_private_key_does_not_leave(hub: Path) -> None:
    with (hub / "certs" / "hq-root.pem").open("a") as file:
        file.write("-----BEGIN RSA PRIVATE KEY-----\n")
    with pytest.raises(ConfigError, match=r"files/ca\.pem of the site hq holds a private key"):
        preview(hub, "hq")
    assert preview(hub, "berlin").files


def test_an_unknown_site_and_a_wrong_configuration_are_told(hub: Path) -> None:
    with pytest.raises(ConfigError, match="there is no site 'paris'; there are hq, berlin"):
        preview(hub, "paris")
    edit(hub / "rmm.yaml", "budget: 1", "budget: 99")
    with pytest.raises(ConfigError, match=r"rmm\.yaml:\d+: lockout\.budget"):
        preview(hub, "hq")


def test_equal_configurations_give_equal_bytes(hub: Path) -> None:
    before = preview(hub, "hq").files
    edit(hub / "rmm.yaml", "# of berlin", "# a comment")
    edit(hub / "endpoints.csv", "10.9.0.4", "10.9.0.5")
    edit(hub / "rmm.yaml", "hunter2", "changed")
    assert preview(hub, "hq").files == before


def test_host_keys_are_those_of_the_hosts() -> None:
    salt = b"0123456789abcdef0123"
    coded = base64.b64encode(salt).decode()

    def hashed(name: str) -> str:
        return f"|1|{coded}|{base64.b64encode(hmac.digest(salt, name.encode(), hashlib.sha1)).decode()}"

    text = "\n".join([
        "# all", "", "host-a,10.0.0.1 ssh-rsa KEY1 me@host-b", "HOST-A ssh-rsa KEY2", "host-b ssh-rsa KEY3",
        "@cert-authority *.corp,!bad.corp ssh-rsa KEY4", "@revoked host-b ssh-rsa KEY5",
        f"{hashed('host-a')} ssh-rsa KEY6",
        f"{hashed('host-b')} ssh-rsa KEY7", f"{hashed('[host-c]:2222')} ssh-rsa KEY8", "[host-c]:2222 ssh-rsa KEY9",
        "!host-a ssh-rsa KEY10", "host-a ssh-rsa", "|1|x|y ssh-rsa KEY11",
    ])  # fmt: skip
    found = hosts_of(text.encode(), {("host-a", 0), ("srv.corp", 22), ("host-c", 2222)}).decode().splitlines()
    assert found == [
        "host-a ssh-rsa KEY1", "HOST-A ssh-rsa KEY2", "@cert-authority *.corp ssh-rsa KEY4",
        f"{hashed('host-a')} ssh-rsa KEY6", f"{hashed('[host-c]:2222')} ssh-rsa KEY8", "[host-c]:2222 ssh-rsa KEY9",
    ]  # fmt: skip


PLAIN = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-(10**20), 10**20), st.floats(allow_nan=False, allow_infinity=False),
        st.text(max_size=20), st.sampled_from(["no", "1e5", "012", "12:30", "null", "~", "0x1F",
        "=x", "- a", "2027-01-31"]),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=4),
        st.dictionaries(st.text(min_size=1, max_size=8), inner, max_size=4)),
    max_leaves=12,
)  # fmt: skip


@given(st.dictionaries(st.text(min_size=1, max_size=8), PLAIN, max_size=4))
def test_what_is_written_is_read_as_the_same(data: dict[str, Any]) -> None:
    found = read_document(yaml_of(data, "made").decode())
    assert found.problems == []
    assert (found.data or {}) == data
