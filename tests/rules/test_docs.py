"""docs/rules.md: its rules are rules, its commands run, and it names every key."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from rmm.app import open_app
from rmm.cli.main import main
from rmm.model.rule import Override, Rule

PAGE = (Path(__file__).parents[2] / "docs" / "rules.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.M | re.S)
COMMANDS = re.findall(r"^(rmm .*)$", PAGE, re.M)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("docs")
    (made / "rmm.yaml").write_text("sites:\n  - {id: hq, credential: x}\n")
    (made / "endpoints.csv").write_text("ComputerName,SiteId,Id\nA,hq,a\n")
    (made / "rules").mkdir()
    for number, block in enumerate(BLOCKS):
        (made / "rules" / f"{number}.yaml").write_text(block)
    return made


def test_the_rules_of_the_page_are_rules(folder: Path) -> None:
    app = open_app(folder, lambda: "")
    assert len(app.settings.rules) >= 8 and len(app.settings.overrides) >= 4
    assert {one.id for one in app.settings.rules} <= {rule.id for rule in app.rules}  # or it is said what is wrong
    app.rulebook.of("a", "A", "hq", "Microsoft Windows Server 2022")


@pytest.mark.parametrize("command", COMMANDS)
def test_the_commands_of_the_page_run(
    command: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", [*shlex.split(command), "--config", str(folder)])
    with pytest.raises(SystemExit) as ended:
        main()
    out, err = capsys.readouterr()
    assert (ended.value.code, err) == (0, "") and out


def test_the_page_names_every_key() -> None:
    said = set(re.findall(r"\w+", PAGE))
    assert set(Rule.__struct_fields__) - said == set()
    assert set(Override.__struct_fields__) - said == set()
