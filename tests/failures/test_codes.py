"""Every fault code of the source is on the administrators' page; another test says whether the page is fresh."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from runner import scenarios

from rmm.core.alerting.site import RULES
from rmm.hub_run import HUB_DISK
from rmm.hub_service import HUB_BROKER

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "failures.md").read_text(encoding="utf-8")
LISTED = set(re.findall(r"^\| `([^`]+)` \| ", PAGE, re.MULTILINE))
# As text, without the parser that makes the page, so that what it overlooks is missed here. Codes without a dot are
# those of classes, or of commands such as `rmm schedule`.
RAISED = re.compile(r"""\bcode\s?=\s?\(?\s*"([a-z]+\.[a-z_]+)\"""")


def raised() -> dict[str, str]:
    found: dict[str, str] = {}
    for path in sorted((ROOT / "rmm").rglob("*.py")):
        if "lab" not in path.relative_to(ROOT / "rmm").parts:
            for match in RAISED.finditer(path.read_text(encoding="utf-8")):
                found[match[1]] = path.name
    return found


def test_the_search_finds_codes() -> None:
    assert {"tcp.refused", "timeout.trickle", "auth.rejected", "psrp.stopped"} <= raised().keys()


@pytest.mark.parametrize(("code", "file"), sorted(raised().items()))
def test_listed(code: str, file: str) -> None:
    assert code in LISTED, f"{file} raises {code}: run `make docs`"


def test_every_code_has_a_status_and_a_retry_word() -> None:
    import rmm.model.observation as words

    known = {name for name, value in vars(words).items() if name.isupper() and name == value} | {"-"}
    rows = re.findall(r"^\| `([^`]+)` \| ([^|]+) \| ([^|]+) \| (.+) \|$", PAGE, re.MULTILINE)
    codes = [row for row in rows if row[2] in ("R0", "R1", "RB", "RH", "-")]
    assert {row[0] for row in codes if row[1] not in known} == set()
    assert {row[0] for row in codes if row[3].endswith((" ", ";", ","))} == set()
    assert {"kdc.skew", "kdc.unreachable", "auth.keytab"} <= {row[0] for row in codes}  # of a table by number


def test_status_and_retry_words_are_explained() -> None:
    import rmm.model.observation as words

    for name, value in vars(words).items():
        if name.isupper() and name == value:
            assert f"| `{value}` |" in PAGE, value
    assert all(f"| `{word}` |" in PAGE for word in ("R0", "R1", "RB", "RH"))


def test_what_scenarios_expect_is_listed() -> None:
    expected = {one["code"] for scenario in scenarios() for one in scenario.expect if one.get("code")}
    known = {code.replace("NAME", "") for code in LISTED if "NAME" in code}
    assert {code for code in expected if code not in LISTED and not any(code.startswith(one) for one in known)} == set()


def test_a_refusal_says_what_to_do() -> None:
    rows = re.findall(r"^\| `((?:enrol|token|envelope)\.[^`]+)` \| .* \| (.+) \|$", PAGE, re.MULTILINE)
    assert {"enrol.used", "enrol.clock", "enrol.key", "token.format", "envelope.signature"} <= {row[0] for row in rows}
    assert [row for row in rows if "defect in rmm" in row[1]] == []
    assert [row for row in rows if row[0] == "token.format" and "audit log of the hub" in row[1]] == []  # a wrong paste


def test_what_befalls_sites_and_collectors_is_explained() -> None:
    assert [one for one in sorted({*RULES, HUB_DISK, HUB_BROKER}) if f"`{one}`" not in PAGE] == []
