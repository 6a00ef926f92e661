"""Baselines: the shipped ones make sense, an own one joins them, and verdicts are what the conditions say."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from rmm.app import open_app
from rmm.errors import ConfigError
from rmm.report_view import ReportView
from rmm.settings.baselines import read_baselines, shipped_baselines

OWN = """
id: own
title: Own demands
applies: endpoint.site == "hq"
checks:
  - {id: big, title: A big volume, condition: "count(volumes.size_b > 1GB) >= 1", severity: low}
  - {id: pc, title: PCs, applies: 'os.product_type == "workstation"', condition: 'os.edition ~ "*"'}
"""


def view(fleet: Path, tmp_path: Path, own: str) -> ReportView:
    app = open_app(fleet, lambda: "")
    (tmp_path / "baselines").mkdir()
    (tmp_path / "baselines" / "own.yaml").write_text(own)
    import msgspec

    app.settings = msgspec.structs.replace(app.settings, folder=str(tmp_path))
    return ReportView(app)


def test_the_shipped_ones() -> None:
    found = shipped_baselines()
    assert {one.id for one in found} == {"server", "workstation"}
    assert all(len(one.checks) >= 30 for one in found)
    assert all(check.fix and check.reference for one in found for check in one.checks)


def test_verdicts(fleet: Path, tmp_path: Path) -> None:
    one = view(fleet, tmp_path, OWN)
    baselines = {known.id: known for known in one.baselines()}
    assert set(baselines) == {"server", "workstation", "own"}
    told = dict(zip(baselines, one.verdicts(list(baselines.values())), strict=True))
    big, pc = told["own"]
    everybody = {name for name, endpoint in one.names().items() if name == "pc-new" or int(endpoint[-1]) % 2 == 0}
    assert big.passed | big.failed | big.unknown == everybody
    assert "pc-new" in big.unknown and "pc-00000" in big.passed
    assert pc.passed | pc.failed | pc.unknown < everybody
    for verdicts in told.values():
        for verdict in verdicts:
            assert not (verdict.passed & verdict.failed or verdict.failed & verdict.unknown)
    # The degraded server fails what a typical one passes.
    uac = next(verdict for verdict in told["server"] if verdict.check.id == "uac")
    assert "pc-00000" in uac.passed and "pc-00003" in uac.failed


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("id: x\ntitle: x\nchecks: []\n", "a list of checks is expected"),
        ("id: X Y\ntitle: x\nchecks: [{id: a, title: a, condition: hardening.uac}]\n", "use 1 to 64"),
        ("id: x\ntitle: x\nchecks: [{id: a, title: a, condition: hardening.uac, severity: bad}]\n", "one of high"),
        ("id: x\ntitle: x\nchecks: [{id: a, title: a, conditions: hardening.uac}]\n", "condition: missing"),
        ("- x\n", "a mapping with id, title and checks"),
    ],
)
def test_mistakes_of_form(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "x.yaml").write_text(text)
    found, problems, _, _ = read_baselines(tmp_path)
    assert found == [] and told in problems[0] and "x.yaml:" in problems[0]


@pytest.mark.parametrize(
    ("condition", "told"),
    [
        ("volumes.used_pct < 90", "volumes has several rows"),
        ("hardening.uacc", "did you mean"),
        ("hardening.uac ==", ".yaml:3: checks[0].condition: column"),
    ],
)
def test_mistakes_of_sense(fleet: Path, tmp_path: Path, condition: str, told: str) -> None:
    one = view(fleet, tmp_path, f'id: x\ntitle: x\nchecks: [{{id: a, title: a, condition: "{condition}"}}]\n')
    with pytest.raises(ConfigError) as error:
        one.baselines()
    assert told in str(error.value)


def test_uptime_in_one_pass_is_what_single_endpoints_say(fleet: Path) -> None:
    """The pass over all files, against each endpoint's own observations."""
    from rmm.core import availability
    from rmm.tiers.cold_sqlite import ColdReader

    app = open_app(fleet, lambda: "")
    until = datetime.now(UTC).replace(microsecond=0)
    since = until - timedelta(days=9)
    found = ReportView(app).uptime(since, until, 1800)
    first, last = (int(at.timestamp() * 1e6) for at in (since, until))
    assert len(found) == 13
    for endpoint in app.settings.endpoints:
        seen = ColdReader(app.data, endpoint.site).statuses(endpoint.id, since=since, until=until)
        at = [int(row["at"].timestamp() * 1e6) for row in seen]
        whole = availability.stretch(at, [row["status"] for row in seen], 1_800_000_000) if at else None
        assert found[endpoint.id] == availability.uptime(whole, first, last, 1_800_000_000)
