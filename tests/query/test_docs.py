"""docs/query.md: its commands are run and print what it says, its conditions are conditions, its fields exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from fleet import build
from querying import NOW

from rmm.catalog.load import load_catalog
from rmm.cli.main import main
from rmm.core.query import compile_query, schema_of
from rmm.core.query.schema import ENDPOINT_FIELDS
from rmm.resources import shipped

PAGE = (Path(__file__).parents[2] / "docs" / "query.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^\$ (.*)\n((?:(?!\$ |```).*\n)*)", PAGE, re.MULTILINE)
CONDITIONS = [line for block in re.findall(r"^```query\n(.*?)^```", PAGE, re.M | re.S) for line in block.splitlines()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made: Path = build(tmp_path_factory.mktemp("fleet"))
    return made


@pytest.mark.parametrize(("command", "said"), COMMANDS, ids=[command for command, _ in COMMANDS])
def test_a_command_prints_what_the_page_says(
    command: str, said: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", [*shlex.split(command), "--config", str(folder)])
    with pytest.raises(SystemExit) as ended:
        main()
    out, err = capsys.readouterr()
    assert out + err == said
    assert ended.value.code == (2 if err else 0)


@pytest.mark.parametrize("line", CONDITIONS)
def test_a_condition_is_one(line: str) -> None:
    schema = schema_of(one.manifest for one in load_catalog([shipped("collectors")]).values())
    compile_query(re.split(r"\s{2,}", line)[0], schema, now=NOW)


def test_the_page_has_examples_and_every_field_of_endpoints() -> None:
    assert len(COMMANDS) >= 10
    assert len(CONDITIONS) >= 15
    table = PAGE.partition("### About endpoints")[2].partition("## ")[0]
    assert set(re.findall(r"`(?:endpoint)?\.(\w+)`", table)) == set(ENDPOINT_FIELDS)
