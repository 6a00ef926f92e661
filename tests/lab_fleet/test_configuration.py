"""The folder that `rmm poll --config DIR` takes: complete, consistent with the fleet, and never over somebody's own."""

from __future__ import annotations

import csv
import json
import sys
from datetime import datetime
from pathlib import Path

import pytest
import yaml

from rmm.errors import ConfigError
from rmm.lab.configuration import LabAccess, concurrency, new_password, write_configuration
from rmm.lab.fleet import LabFleet
from rmm.vault import Vault


@pytest.fixture
def small(started: datetime) -> LabFleet:
    return LabFleet(30, seed=2, started=started)


def access(folder: Path, scheme: str = "http") -> LabAccess:
    return LabAccess(15985, 15986, folder / "ca ä.pem", "p\"ass: 'wörd", scheme=scheme)


def test_the_folder_is_complete(tmp_path: Path, small: LabFleet) -> None:
    folder = tmp_path / "new" / "demo"
    write_configuration(folder, small, access(tmp_path))
    settings = yaml.safe_load((folder / "rmm.yaml").read_text(encoding="utf-8"))
    (site,) = settings["sites"]
    assert settings["data"] == "data"
    assert site == {
        "id": "lab", "name": "Lab fleet", "credential": "lab", "transport": "winrm", "scheme": "http", "port": 15985,
        "shards": 1,
    }  # fmt: skip
    assert settings["poll"] == {"concurrency": 25}
    with (folder / "endpoints.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["ComputerName"], row["IPAddress"]) for row in rows] == [(m.name, m.address) for m in small]
    assert len({row["Id"] for row in rows}) == 30
    assert {row["SiteId"] for row in rows} == {"lab"}
    assert {row["GroupId"] for row in rows} == {machine.profile for machine in small}
    lab = json.loads((folder / "lab.json").read_text(encoding="utf-8"))
    assert (lab["host"], lab["http_port"], lab["https_port"]) == ("127.1.0.1", 15985, 15986)
    assert (lab["username"], lab["password"]) == ("lab\\rmm", "p\"ass: 'wörd")
    assert [entry["address"] for entry in lab["endpoints"]] == [machine.address for machine in small]
    passphrase = (folder / "passphrase").read_text(encoding="utf-8").strip()
    credential = Vault.open(folder / "credentials.vault", passphrase).credential(site["credential"])
    assert (credential.username, credential.secret.reveal()) == ("lab\\rmm", "p\"ass: 'wörd")
    if sys.platform != "win32":
        assert [(folder / name).stat().st_mode & 0o077 for name in ("passphrase", "lab.json")] == [0, 0]
    for name in ("rmm.yaml", "endpoints.csv"):
        assert passphrase not in (folder / name).read_text(encoding="utf-8")
        assert "wörd" not in (folder / name).read_text(encoding="utf-8")


def test_https_names_the_lab_s_own_ca(tmp_path: Path, small: LabFleet) -> None:
    write_configuration(tmp_path, small, access(tmp_path, "https"))
    (site,) = yaml.safe_load((tmp_path / "rmm.yaml").read_text(encoding="utf-8"))["sites"]
    assert (site["scheme"], site["port"]) == ("https", 15986)
    assert Path(site["ca_file"]) == (tmp_path / "ca ä.pem").resolve()


def test_a_lab_s_folder_is_written_again(tmp_path: Path, small: LabFleet) -> None:
    for _ in range(2):
        write_configuration(tmp_path, small, access(tmp_path))
    passphrase = (tmp_path / "passphrase").read_text(encoding="utf-8").strip()
    assert Vault.open(tmp_path / "credentials.vault", passphrase).credential("lab").username == "lab\\rmm"


def test_somebody_s_own_configuration_is_left_alone(tmp_path: Path, small: LabFleet) -> None:
    (tmp_path / "rmm.yaml").write_text("data: data\nsites: []\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"rmm\.yaml"):
        write_configuration(tmp_path, small, access(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["rmm.yaml"]


def test_large_fleets_get_more_shards_and_more_at_once(tmp_path: Path, started: datetime) -> None:
    write_configuration(tmp_path, LabFleet(1001, started=started), access(tmp_path))
    (site,) = yaml.safe_load((tmp_path / "rmm.yaml").read_text(encoding="utf-8"))["sites"]
    assert site["shards"] == 5
    assert [concurrency(count) for count in (1, 500, 501, 10_000)] == [25, 25, 100, 150]


def test_passwords_differ() -> None:
    assert len({new_password() for _ in range(50)}) == 50
