"""The vault: opens with its passphrase, and with nothing else; shows nothing."""

from __future__ import annotations

import base64
import json
import os
import pickle
import sys
import traceback
from pathlib import Path
from typing import Any

import msgspec
import pytest

from rmm.errors import VaultError
from rmm.model.endpoint import Secret
from rmm.vault import Vault, create

PASSPHRASE, CANARY = "correct horse", "C4nary-Pä55"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "credentials.vault"
    create(path, PASSPHRASE, {"polling": ("CORP\\poll", CANARY), "other": ("root", "second")})
    return path


def edit(path: Path, change: Any) -> None:
    content = json.loads(path.read_bytes())
    change(content)
    path.write_text(json.dumps(content))


def test_what_was_put_in_comes_out(path: Path) -> None:
    credential = Vault.open(path, PASSPHRASE).credential("polling")
    assert (credential.username, credential.secret.reveal()) == ("CORP\\poll", CANARY)
    assert Vault.names(path) == {"polling": "CORP\\poll", "other": "root"}


def test_set_replaces_and_gives_a_new_version(path: Path) -> None:
    vault = Vault.open(path, PASSPHRASE)
    before = vault.credential("polling").version
    vault.set("polling", "CORP\\poll", Secret("next"))
    after = Vault.open(path, PASSPHRASE).credential("polling")
    assert after.secret.reveal() == "next"
    assert after.version != before


def test_remove(path: Path) -> None:
    Vault.open(path, PASSPHRASE).remove("other")
    assert Vault.names(path) == {"polling": "CORP\\poll"}
    with pytest.raises(VaultError, match="no credential 'other'; it has polling"):
        Vault.open(path, PASSPHRASE).credential("other")
    with pytest.raises(VaultError):
        Vault.open(path, PASSPHRASE).remove("other")


@pytest.mark.parametrize("passphrase", ["", "wrong", PASSPHRASE + " ", "\udcff"])
def test_another_passphrase_does_not_open_it(path: Path, passphrase: str) -> None:
    with pytest.raises(VaultError) as caught:
        Vault.open(path, passphrase)
    assert caught.value.hint


def test_an_empty_passphrase_makes_no_vault(tmp_path: Path) -> None:
    with pytest.raises(VaultError):
        create(tmp_path / "v", "", {})
    assert not (tmp_path / "v").exists()


def swap(content: Any) -> None:
    records = content["records"]
    records["polling"], records["other"] = records["other"], records["polling"]


def put(field: str, value: str) -> Any:
    return lambda content: content["records"]["polling"].__setitem__(field, value)


def flip(content: Any) -> None:
    sealed = bytearray(base64.b64decode(content["records"]["polling"]["sealed"]))
    sealed[len(sealed) // 2] ^= 1
    content["records"]["polling"]["sealed"] = base64.b64encode(sealed).decode()


@pytest.mark.parametrize(
    "change",
    [swap, flip, put("username", "CORP\\mallory"), put("version", "1"), put("kind", "key"), put("key_file", "/x"),
     put("sealed", "!!"), put("sealed", "")],
)  # fmt: skip
def test_a_record_that_was_changed_or_transplanted_does_not_open(path: Path, change: Any) -> None:
    edit(path, change)
    vault = Vault.open(path, PASSPHRASE)
    with pytest.raises(VaultError) as caught:
        vault.credential("polling")
    assert caught.value.hint


def header(field: str, value: Any) -> Any:
    return lambda content: content.__setitem__(field, value)


@pytest.mark.parametrize(
    "change",
    [header("format", 2), header("salt", "!!"), header("salt", ""), header("check", "AAAA"), header("cost", {}),
     header("cost", {"n": 3, "r": 8, "p": 1}), header("cost", {"n": 1 << 40, "r": 8, "p": 1}), header("records", [])],
)  # fmt: skip
def test_a_damaged_header_is_refused(path: Path, change: Any) -> None:
    edit(path, change)
    with pytest.raises(VaultError):
        Vault.open(path, PASSPHRASE)


def test_rubbish_and_torn_files_are_refused(path: Path) -> None:
    whole = path.read_bytes()
    flipped = whole.replace(b'"salt": "', b'"salt": "\xb0')
    assert flipped != whole
    for data in (b"", whole[: len(whole) // 2], os.urandom(500), flipped, b"[]", b"{" * 5000):
        path.write_bytes(data)
        with pytest.raises(VaultError) as caught:
            Vault.open(path, PASSPHRASE)
        assert str(path) in str(caught.value)


def test_no_vault_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(VaultError) as caught:
        Vault.open(tmp_path / "none", PASSPHRASE)
    assert "rmm credentials set" in caught.value.hint


def test_the_secret_shows_nowhere(path: Path) -> None:
    vault = Vault.open(path, PASSPHRASE)
    credential = vault.credential("polling")
    shown = [repr(credential), str(credential), repr(credential.secret), f"{credential.secret}", repr(vault)]
    try:
        msgspec.json.encode(credential)
    except TypeError as error:
        shown += traceback.format_exception(error)
    try:
        pickle.dumps(credential.secret)
    except TypeError as error:
        shown += traceback.format_exception(error)
    assert len(shown) > 6
    try:
        Vault.open(path, CANARY)
    except VaultError as error:
        shown += traceback.format_exception(error)
    stored = path.read_bytes()
    for form in (CANARY, PASSPHRASE):
        assert [text for text in shown if form in text] == []
        assert form.encode() not in stored
        assert base64.b64encode(form.encode()) not in stored


@pytest.mark.skipif(sys.platform == "win32", reason="there the folder's permissions apply")
def test_only_the_owner_may_read_it(path: Path) -> None:
    assert path.stat().st_mode & 0o077 == 0
    Vault.open(path, PASSPHRASE).set("x", "y", Secret("z"))
    assert path.stat().st_mode & 0o077 == 0
    assert [item.name for item in path.parent.iterdir()] == [path.name]


def test_every_vault_has_its_own_salt_and_nonces(tmp_path: Path) -> None:
    for name in ("a", "b"):
        create(tmp_path / name, PASSPHRASE, {"x": ("u", CANARY), "y": ("u", CANARY)})
    first, second = (json.loads((tmp_path / name).read_bytes()) for name in ("a", "b"))
    assert first["salt"] != second["salt"]
    sealed = [record["sealed"] for content in (first, second) for record in content["records"].values()]
    assert len({text[:16] for text in sealed}) == 4


def test_kinds_are_bound_to_their_files(path: Path) -> None:
    vault = Vault.open(path, PASSPHRASE)
    vault.set("cert", "rmm", Secret(""), kind="certificate", key_file="/k.pem", cert_file="/c.pem")
    vault.set("tab", "rmm@CORP", Secret(""), kind="keytab", key_file="/etc/rmm.keytab")
    vault.set("cache", "rmm@CORP", Secret(""), kind="ccache", key_file="FILE:/tmp/cc")
    again = Vault.open(path, PASSPHRASE)
    one = again.credential("cert")
    assert (one.kind, one.key_file, one.cert_file, one.secret.reveal()) == ("certificate", "/k.pem", "/c.pem", "")
    assert again.credential("tab").kind == "keytab"
    for name, key, value in (
        ("cert", "cert_file", "/other.pem"),
        ("cert", "cert_file", ""),
        ("tab", "cert_file", "/x"),
    ):
        before = path.read_bytes()
        edit(path, lambda content, name=name, key=key, value=value: content["records"][name].update({key: value}))
        with pytest.raises(VaultError) as caught:
            Vault.open(path, PASSPHRASE).credential(name)
        assert caught.value.code == "vault.damaged"
        path.write_bytes(before)


def test_a_vault_from_before_there_were_certificates_opens(path: Path) -> None:
    edit(path, lambda content: [record.pop("cert_file") for record in content["records"].values()])
    assert Vault.open(path, PASSPHRASE).credential("polling").secret.reveal() == CANARY
