"""docs/live.md and docs/metrics.md: their commands are run, and print what the pages say."""

from __future__ import annotations

import doctest
import re
import shlex
from pathlib import Path

import pytest
from boards import build

from rmm.cli.main import main
from rmm.core.board import SORTS
from rmm.core.console import PAGES

DOCS = Path(__file__).parents[2] / "docs"
COMMANDS = [
    (page, *found)
    for page in ("live.md", "metrics.md")
    for found in re.findall(r"^```console\n\$ ([^\n]*)\n(.*?)^```", (DOCS / page).read_text("utf-8"), re.M | re.S)
]
FORM = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@pytest.mark.parametrize(("page", "command", "said"), COMMANDS, ids=[f"{page} {c}" for page, c, _ in COMMANDS])
def test_a_command_prints_what_the_page_says(
    page: str, command: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setenv("RMM_CONFIG", str(build(tmp_path / "conf")))
    monkeypatch.setattr("sys.argv", shlex.split(command))
    with pytest.raises(SystemExit) as ended:
        main()
    out, err = capsys.readouterr()
    assert (ended.value.code, err) == (0, "")
    assert doctest.OutputChecker().check_output(said, out, FORM), out


def test_the_pages_have_examples() -> None:
    assert len(COMMANDS) >= 5


def test_every_page_and_order_of_the_live_view_is_documented() -> None:
    text = (DOCS / "live.md").read_text("utf-8")
    for place, page in enumerate(PAGES, 1):
        (row,) = re.findall(rf"^\| {place} {page} \|.*\| (.*?) ?\|$", text, re.M)
        assert row == ", ".join(SORTS.get(page, ()))
