"""A wrong collector names file, line and key, every problem at once; a right one loads."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmm.catalog.load import load_catalog, read_collector
from rmm.catalog.scaffold import new_collector
from rmm.document import read_document
from rmm.errors import CatalogError
from rmm.resources import shipped

GOOD = """\
name: mine
title: Mine
schema: 1
interval: 60
timeout: 5
cost: C1
owner: us
sources:
  os:
    wql: SELECT CSName, FreePhysicalMemory FROM Win32_OperatingSystem
rows: os
fields:
  free_b: {type: int, prop: FreePhysicalMemory, formula: scale, args: {by: 1024}}
"""


def folder(root: Path, manifest: str, name: str = "mine") -> Path:
    place = root / name
    place.mkdir(parents=True)
    (place / "collector.yaml").write_text(manifest, encoding="utf-8")
    (place / "collect.ps1").write_text("'{}'\n", encoding="utf-8")
    return place


def problems(root: Path, manifest: str) -> list[str]:
    place = folder(root, manifest)
    collector, found = read_collector(place)
    assert (collector is None) == bool(found)
    return [line.removeprefix(f"{place / 'collector.yaml'}:") for line in found]


def test_a_good_one(tmp_path: Path) -> None:
    assert problems(tmp_path, GOOD) == []
    assert load_catalog([tmp_path])["mine"].manifest.fields["free_b"].args == {"by": 1024}


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("interval: 60", "interval: often", "4: interval: Expected `int`, got `str`"),
        ("interval: 60", "interval: 5", "4: interval: must be 10 to 604800 seconds"),
        ("interval: 60", "interval: 1:30", "4: interval: Expected `int`, got `str`"),
        ("schema: 1", "schema: 0x1", "3: schema: Expected `int`, got `str`"),
        ("owner: us", "owner: us\ncolor: red", "8: color: unknown key; known are"),
        ("owner: us", "", "1: owner: missing"),
        ("owner: us", "owner: no", None),
        ("name: mine", "name: Mine", "1: name: must be lower-case letters"),
        ("name: mine", "name: other", "1: name: must be the folder's name, mine"),
        ("cost: C1", "cost: C9", "6: cost: must be one of C0"),
        ("rows: os", "rows: oz", "11: rows: no source oz"),
        ("rows: os", "rows: os\nkey: [id]", "12: key[0]: no field id"),
        ("rows: os", "rows: os\nwhere: {Nope: 1}", "12: where.Nope: source os has no property Nope"),
        ("rows: os", "rows: os\nos: [windows, linux]", "12: os: linux and the script for it go together"),
        ("SELECT CSName", "SELECT *", "10: sources.os.wql: name every property"),
        ("wql: SELECT", "wql: DELETE", "10: sources.os.wql: not of the form SELECT"),
        ("type: int", "type: integer", "13: fields.free_b.type: must be one of text"),
        ("type: int", "type: text", "13: fields.free_b.kind: does not go with type text"),
        ("type: int", "type: int, type: int", "13: fields.free_b.type: twice; first in line 13"),
        ("prop: FreePhysicalMemory", "prop: Free", "13: fields.free_b.prop: the source has no property Free"),
        ("prop: FreePhysicalMemory, ", "", "13: fields.free_b.prop: missing"),
        ("formula: scale", "formula: scales", "13: fields.free_b.formula: unknown; known are scale"),
        ("formula: scale", "formula: per_second", "13: fields.free_b.formula: a rate needs Timestamp_Sys100NS"),
        ("{by: 1024}", "{by: many}", "13: fields.free_b.args.by: a number is expected"),
        ("{by: 1024}", "{buy: 1024}", "13: fields.free_b.args.buy: unknown argument"),
        (", args: {by: 1024}", "", "13: fields.free_b.args: argument by is missing"),
        ("rows: os", "rows: os\nrules: [{id: a, field: gone, warning: 1}]", "12: rules[0].field: mine has no 'gone'"),
        ("rows: os", "rows: os\nrules: [{id: a, field: free_b}]", "12: rules[0].id: a: name a threshold"),
        ("rows: os", "rows: os\nrules: [{id: a, field: free_b, op: =, warning: 1}]", "12: rules[0].op: '=' is not"),
        ("rows: os", "rows: [", "13: not YAML"),
        ("rows: os", "rows: !!python/object:os.system os", "11: rows: tag tag:yaml.org,2002:python/"),
        (GOOD, "- 1\n", "1: a mapping of keys is expected"),
        (GOOD, "", "1: a mapping of keys is expected"),
    ],
)  # fmt: skip
def test_a_problem_has_file_line_and_key(tmp_path: Path, old: str, new: str, expected: str | None) -> None:
    found = problems(tmp_path, GOOD.replace(old, new))
    if expected is None:
        assert found == []
    else:
        assert any(line.startswith(expected) for line in found), found


def test_all_problems_of_all_collectors_at_once(tmp_path: Path) -> None:
    folder(tmp_path, GOOD.replace("interval: 60", "interval: x").replace("by: 1024", "by: y").replace("cost", "cots"))
    folder(tmp_path, GOOD.replace("name: mine", "name: second").replace("timeout: 5", "timeout: 0"), "second")
    with pytest.raises(CatalogError) as caught:
        load_catalog([tmp_path, tmp_path / "absent"])
    text = "\n".join(caught.value.problems)
    for expected in (
        ":4: interval:",
        ":6: cots: unknown key",
        ": cost: missing",
        ":5: timeout: must be",
        "no such folder",
    ):
        assert expected in text


def test_a_name_or_a_rule_twice(tmp_path: Path) -> None:
    rule = GOOD + "rules: [{id: same, field: free_b, warning: 1}]\n"
    folder(tmp_path / "a", rule)
    folder(tmp_path / "b", rule)
    folder(tmp_path / "c", rule.replace("name: mine", "name: yours"), "yours")
    with pytest.raises(CatalogError, match="the name mine is taken"):
        load_catalog([tmp_path / "a", tmp_path / "b"])
    with pytest.raises(CatalogError, match="rule same is also in"):
        load_catalog([tmp_path / "a", tmp_path / "c"])


def test_users_collectors_join_the_shipped(tmp_path: Path) -> None:
    folder(tmp_path, GOOD)
    alone = load_catalog([shipped("collectors")])
    assert set(load_catalog([shipped("collectors"), tmp_path])) == {*alone, "mine"}


def test_a_script_that_is_not_text(tmp_path: Path) -> None:
    place = folder(tmp_path, GOOD)
    (place / "collect.ps1").write_bytes(b"\xff\xfe\x00")
    assert "cannot be read" in read_collector(place)[1][0]


def test_yaml_says_what_it_shows() -> None:
    text = (
        "a: no\nb: 12:30\nc: 012\nd: 1_000\ne: true\nf: ~\ng: 1e3\nh: .5\ni: '5'\nj: 2026-01-01\nk: 0x10\nl: yes\nm:\n"
    )
    assert read_document(text).data == {
        "a": "no", "b": "12:30", "c": "012", "d": "1_000", "e": True, "f": None, "g": 1000.0, "h": 0.5, "i": "5",
        "j": "2026-01-01", "k": "0x10", "l": "yes", "m": None,
    }  # fmt: skip


def test_aliases_do_not_grow_without_bound() -> None:
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    lines += [f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join([f'*{chr(97 + i)}'] * 9)}]" for i in range(10)]
    assert read_document("\n".join(lines)).problems[0].message == "more than 100000 values"


def test_depth_is_bounded() -> None:
    for text in ("[" * 100_000, "a: " * 50 + "1", "[" * 50 + "]" * 50, "{a: " * 3000 + "1" + "}" * 3000):
        assert read_document(text).problems


@given(st.text(max_size=200))
def test_no_text_breaks_the_reader(text: str) -> None:
    read_document(text)


def test_a_new_collector_is_valid_and_changes_no_other(tmp_path: Path) -> None:
    broken = folder(tmp_path, "broken", "broken")
    files = new_collector(tmp_path, "printers", title='Our: "printers"')
    assert {path.name for path in files} == {
        "collector.yaml", "collect.ps1", "README.md", "server2022-typical.raw.json", "server2022-typical.readings.json",
    }  # fmt: skip
    shutil.rmtree(broken)
    assert load_catalog([tmp_path])["printers"].manifest.title == 'Our: "printers"'
    with pytest.raises(CatalogError, match="exists already"):
        new_collector(tmp_path, "printers")
    for name in ("Bad", "../up", "", "a b", "x" * 60):
        with pytest.raises(CatalogError, match="lower-case letters"):
            new_collector(tmp_path, name)
