"""Targets: what an exception gives, and to whom."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from rmm.model.endpoint import Credential, Secret
from rmm.settings.load import load_settings
from rmm.settings.targets import Targets


class Today:
    def now(self) -> datetime:
        return datetime(2026, 7, 1, tzinfo=UTC)

    def monotonic(self) -> float:
        return 0.0


def targets(folder: Path, *exceptions: str) -> Targets:
    sites = "sites:\n  - {id: hq, credential: polling, scheme: https}\n"
    listed = "".join(f"  - {one}\n" for one in exceptions)
    (folder / "rmm.yaml").write_text(f"{sites}exceptions:\n{listed}", encoding="utf-8")
    (folder / "endpoints.csv").write_text("ComputerName,SiteId\nSRV01,hq\nSRV02,hq\n", encoding="utf-8")
    return Targets(
        load_settings(folder), lambda name: Credential(name=name, username="rmm", secret=Secret("x")), Today()
    )


def test_an_exception_is_for_its_endpoints_until_its_end(tmp_path: Path) -> None:
    made = targets(
        tmp_path,
        "{endpoints: [SRV01], allow: [expired], owner: x, until: 2026-07-01}",
        "{endpoints: [SRV01, SRV02], allow: [name], owner: x, until: 2026-06-30}",
    )
    assert made.target(made.endpoint("SRV01")).tls_allow == ("expired",)
    assert made.target(made.endpoint("SRV02")).tls_allow == ()


def test_an_exception_for_an_endpoint_that_is_gone_harms_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = targets(
        tmp_path,
        "{endpoints: [GONE, SRV01], allow: [expired], owner: j.doe, until: 2027-01-31}",
        "{endpoints: [LONGGONE], allow: [expired], owner: j.doe, until: 2020-01-31}",
    )
    assert made.target(made.endpoint("SRV01")).tls_allow == ("expired",)
    assert made.target(made.endpoint("SRV02")).tls_allow == ()
    assert [record.getMessage() for record in caplog.records] == [
        "exceptions of rmm.yaml, owner j.doe: there is no endpoint 'GONE'"
    ]
