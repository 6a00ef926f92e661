"""Settings without an effect, and files that are not what they should be, are refused at the start with their place."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from rmm.errors import ConfigError
from rmm.model.endpoint import Credential, Secret
from rmm.settings.keyfiles import check_key_file
from rmm.settings.load import ENVIRONMENT, SETTINGS, load_settings

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    for name in ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)

    def make(site: str, *rows: str) -> Path:
        (tmp_path / SETTINGS).write_text(f"sites:\n  - id: hq\n    {site}\n", encoding="utf-8")
        table = "\n".join(["ComputerName,SiteId,Transport,Shell", *rows, ""])
        (tmp_path / "endpoints.csv").write_text(table, encoding="utf-8")
        return tmp_path

    return make


def problems(folder: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_settings(folder)
    return [line.replace(str(folder) + os.sep, "") for line in caught.value.problems]


@pytest.mark.parametrize("key", ["ca_file", "known_hosts"])
def test_a_file_that_is_not_there(write: Write, key: str) -> None:
    [line] = problems(write(f"{key}: gone.pem"))
    assert line.startswith(f"rmm.yaml:3: sites[0].{key}: gone.pem: No such file or directory: name ")


def test_a_ca_file_without_a_certificate(write: Write) -> None:
    folder = write("ca_file: ca.pem")
    (folder / "ca.pem").write_bytes(b"\x30\x82 DER")
    assert problems(folder)[0].startswith("rmm.yaml:3: sites[0].ca_file: ca.pem: holds no certificate: name the PEM")
    (folder / "ca.pem").write_bytes(b"-----BEGIN CERTIFICATE-----\n")
    assert load_settings(folder).sites["hq"].ca_file == str(folder / "ca.pem")


def test_a_shell_that_winrm_does_not_have(write: Write) -> None:
    wrong = "rmm.yaml:3: sites[0].shell: WinRM speaks PowerShell: sh needs transport: ssh"
    assert problems(write("shell: sh")) == [wrong]
    assert problems(write("shell: sh", "A,hq,,")) == [wrong]
    assert load_settings(write("shell: sh", "A,hq,,", "B,hq,ssh,")).sites["hq"].shell == "sh"
    [line] = problems(write("name: x", "A,hq,,sh"))
    assert line == "endpoints.csv: A: Shell sh needs Transport ssh: WinRM speaks PowerShell"


@pytest.mark.parametrize("auth", ["kerberos", "negotiate"])
def test_a_way_of_logging_on_that_ssh_does_not_have(write: Write, auth: str) -> None:
    wrong = f"rmm.yaml:3: sites[0].auth: ssh logs on by its credential (key, agent, password), not by {auth}"
    assert problems(write(f"auth: {auth}\n    transport: ssh"))[0].startswith(wrong)
    assert problems(write(f"auth: {auth}", "A,hq,ssh,"))[0].startswith(wrong)
    assert load_settings(write(f"auth: {auth}", "A,hq,ssh,", "B,hq,,")).sites["hq"].auth == auth


def credential(kind: str, file: Path) -> Credential:
    name = f"FILE:{file}" if kind == "ccache" else str(file)
    return Credential(name="poll", username="rmm@CORP", secret=Secret(""), kind=kind, key_file=name)


@pytest.mark.parametrize(("kind", "head"), [("keytab", b"\5\2"), ("ccache", b"\5\4")])
def test_a_kerberos_file_that_is_none(tmp_path: Path, kind: str, head: bytes) -> None:
    path = tmp_path / "file"
    for junk in (b"", b"\5", b"junk", b"{}"):
        path.write_bytes(junk)
        with pytest.raises(ConfigError) as caught:
            check_key_file(credential(kind, path))
        assert str(caught.value).startswith(f"credential poll: {kind} {path}: is no ")
        assert "klist" in caught.value.hint
    path.write_bytes(head + b"rest")
    check_key_file(credential(kind, path))


def test_a_keytab_must_be_there_and_a_cache_may_come_later(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no such file"):
        check_key_file(credential("keytab", tmp_path / "gone"))
    check_key_file(credential("ccache", tmp_path / "gone"))
