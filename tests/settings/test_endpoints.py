"""The endpoint list: rows, imports, duplicates, round trips."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmm.core.filenames import RESERVED
from rmm.errors import ConfigError
from rmm.model.endpoint import Endpoint
from rmm.settings.endpoints import (
    Row,
    cells_of,
    csv_of,
    merged,
    new_id,
    read_endpoints,
    read_import,
    rows_of_csv,
    write_endpoints,
)

SITES = ("berlin", "hq")


def rows(text: str) -> list[Row]:
    return list(rows_of_csv(text, SITES))


def imported(text: str, known: tuple[Endpoint, ...] = ()) -> tuple[list[Endpoint], dict[str, int], list[str]]:
    found = rows(text)
    result, counts = merged(known, found)
    return result, counts, [row.problem for row in found if row.problem]


def test_bad_rows_are_named_by_their_line_and_with_every_mistake() -> None:
    text = (
        "ComputerName,IPAddress,SiteId,Port,Transport,Enabled,Id\n"
        "SRV01,10.0.0.1,hq,,,,\n"
        ',"10.0.0.2; rm",nowhere,99999,telnet,perhaps,A B\n'
        "SRV03,10.0.0.3,hq,²,,,con\n"
        "SRV04,10.0.0.4,hq,5986,WinRM,no,\n"
    )
    first, second, third, fourth = rows(text)
    assert (first.problem, fourth.problem) == ("", "")
    assert fourth.endpoint == Endpoint(
        id="srv04", name="SRV04", site="hq", address="10.0.0.4", port=5986, transport="winrm", enabled=False
    )
    assert second.number == 3
    for column in ("ComputerName", "IPAddress", "SiteId", "Port", "Transport", "Enabled", "Id"):
        assert column in second.problem
    assert third.problem == "Port '²' is not a port; Id 'con': use 1 to 64 of a-z 0-9 -"


@pytest.mark.parametrize("text", ["", "Host\nSRV01\n", "\x00\x01\n", "{}", '"'])
def test_a_file_that_is_no_table_is_one_bad_row(text: str) -> None:
    (row,) = rows(text)
    assert "must name the columns" in row.problem


def test_a_line_that_is_not_csv_does_not_hide_the_ones_behind_it() -> None:
    huge = "x" * 200_000
    found = rows(f"ComputerName,SiteId,Description\nSRV01,hq,\nSRV02,hq,{huge}\nSRV03,hq,\n")
    assert [row.endpoint.name for row in found if row.endpoint] == ["SRV01", "SRV03"]
    assert [row.problem.startswith("not CSV") for row in found if row.problem] == [True]


def test_what_is_one_machine_twice_is_refused_with_both_rows() -> None:
    head = "Id,ComputerName,IPAddress,SiteId,Port\n"
    found, counts, problems = imported(
        head + "a,SRV01,10.0.0.1,hq,\na,SRV02,,hq,\nb,srv01,,hq,\nc,SRV03,10.0.0.1,hq,\n"
        "d,SRV01,10.0.0.1,berlin,\ne,SRV04,10.0.0.1,hq,5986\n"
    )
    assert [endpoint.id for endpoint in found] == ["a", "d", "e"]
    assert counts == {"added": 3, "updated": 0, "unchanged": 0}
    assert len(problems) == 3
    assert problems[0] == "Id 'a' is that of row 2 already"
    assert "10.0.0.1" in problems[2]


def test_an_import_cannot_make_a_list_that_no_longer_loads(tmp_path: Path) -> None:
    known = (
        Endpoint(id="a", name="A", site="hq", address="10.0.0.1"),
        Endpoint(id="b", name="B", site="hq", address="10.0.0.2"),
    )
    found, counts, problems = imported("ComputerName,IPAddress,SiteId\nC,10.0.0.2,hq\nA,10.0.0.2,hq\n", known)
    assert found == list(known)
    assert sum(counts.values()) == 0
    assert len(problems) == 2
    write_endpoints(tmp_path / "endpoints.csv", found)
    assert read_endpoints(tmp_path / "endpoints.csv", SITES) == (list(known), [])


def test_an_update_leaves_alone_what_the_file_has_no_column_for() -> None:
    known = Endpoint(
        id="own-id", name="SRV01", site="hq", address="10.0.0.1", tags=("a", "b"), credential="special", enabled=False
    )
    (found,), counts, _ = imported("ComputerName,SiteId,IPAddress\nsrv01,hq,10.0.0.9\n", (known,))
    assert counts["updated"] == 1
    assert (found.id, found.address) == ("own-id", "10.0.0.9")
    assert (found.tags, found.credential, found.enabled) == (("a", "b"), "special", False)
    (found,), _, _ = imported("ComputerName,SiteId,Tags\nsrv01,hq,\n", (known,))
    assert found.tags == ()  # an empty cell is a value


def test_machines_of_one_name_at_two_sites_are_two_endpoints() -> None:
    text = "ComputerName,SiteId\nSRV01,hq\nSRV01,berlin\n"
    found, counts, problems = imported(text)
    assert problems == ["Id 'srv01' is that of row 2 already"] or len({endpoint.id for endpoint in found}) == 2
    first, _, _ = imported("ComputerName,SiteId\nSRV01,hq\n")
    both, counts, problems = imported("ComputerName,SiteId\nSRV01,berlin\n", tuple(first))
    assert (problems, counts["added"]) == ([], 1)
    assert {(endpoint.site, endpoint.name) for endpoint in both} == {("hq", "SRV01"), ("berlin", "SRV01")}
    again, counts, _ = imported("ComputerName,SiteId\nSRV01,berlin\nSRV01,hq\n", tuple(both))
    assert (again, counts["unchanged"]) == (both, 2)


@given(st.text(min_size=1, max_size=300), st.sampled_from(SITES))
def test_ids_are_safe_names_of_files_and_stable(name: str, site: str) -> None:
    made = new_id(name, site)
    assert made == new_id(name, site)
    assert 1 <= len(made) <= 64
    assert set(made) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert made not in RESERVED


CELL = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=30).map(str.strip)


@given(CELL, st.lists(CELL.filter(lambda tag: tag and ";" not in tag), max_size=3))
def test_every_text_comes_back_from_csv_and_no_cell_is_a_formula(description: str, tags: list[str]) -> None:
    endpoint = Endpoint(id="a", name="SRV01", site="hq", description=description, tags=tuple(tags))
    text = csv_of([endpoint])
    (row,) = rows(text)
    assert row.endpoint == endpoint
    import csv
    import io

    cells = [cell for line in csv.reader(io.StringIO(text)) for cell in line]
    assert [cell for cell in cells if cell[:1] in tuple("=+-@")] == []


def test_json_and_xlsx_take_texts_as_they_are(tmp_path: Path) -> None:
    import openpyxl

    from rmm.settings.endpoints import COLUMNS, xlsx_of

    endpoint = Endpoint(id="a", name="SRV01", site="hq", description="'=1+1", tags=("-x", "y"), port=5986)
    (tmp_path / "a.json").write_text(json.dumps([dict(zip(COLUMNS, cells_of(endpoint), strict=True)), 7]))
    (tmp_path / "a.xlsx").write_bytes(xlsx_of([endpoint]))
    good, bad = read_import(tmp_path / "a.json", SITES)
    assert good.endpoint == endpoint
    assert (bad.number, bad.problem) == (2, "not an object")
    assert [row.endpoint for row in read_import(tmp_path / "a.xlsx", SITES)] == [endpoint]
    book = openpyxl.Workbook()
    book.worksheets[0].append(["ComputerName", "SiteId", "Port", "Enabled"])
    book.worksheets[0].append(["SRV02", "hq", 5986.0, False])
    book.worksheets[0].append([None, "hq", None, None])
    book.save(tmp_path / "b.xlsx")
    number, nameless = read_import(tmp_path / "b.xlsx", SITES)
    assert number.endpoint is not None
    assert (number.endpoint.port, number.endpoint.enabled) == (5986, False)
    assert (nameless.number, nameless.problem) == (3, "ComputerName is missing")


@pytest.mark.parametrize("text", ["[" * 100_000, '{"endpoints": 3}', "[1", "\ud800"])
def test_json_that_is_no_list_of_endpoints_is_refused_as_a_whole(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(ConfigError, match=r"a\.json"):
        read_import(tmp_path / "a.json", SITES)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_what_a_spreadsheet_writes_is_read(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.csv").write_text("ComputerName;SiteId\r\nBüro;hq\r\n", encoding=encoding)
    (row,) = read_import(tmp_path / "a.csv", SITES)
    assert row.endpoint is not None
    assert row.endpoint.name == "Büro"


@pytest.mark.skipif(os.name == "nt", reason="CPU time of this process is enough on one platform")
def test_ten_thousand_rows_cost_little(tmp_path: Path) -> None:
    endpoints = [
        Endpoint(id=f"e{n}", name=f"E{n}", site="hq", address=f"10.{n // 250}.0.{n % 250}") for n in range(10_000)
    ]
    write_endpoints(tmp_path / "endpoints.csv", endpoints)
    began = time.process_time()
    assert read_endpoints(tmp_path / "endpoints.csv", SITES) == (endpoints, [])
    assert time.process_time() - began < 1.0  # 0.2 s on the machine that it was written on


@pytest.mark.parametrize(
    ("address", "right"),
    [
        ("10.20.0.11", True), ("255.255.255.255", True), ("fe80::1%eth0", True), ("srv01.corp.example", True),
        ("10.20.0.999", False), ("1.2.3", False), ("1.2.3.4.5", False), ("1.2.3.4.", False), ("12", False),
    ],
)  # fmt: skip
def test_what_looks_like_an_address_is_one(address: str, right: bool) -> None:
    [row] = rows_of_csv(f"ComputerName,IPAddress\nSRV01,{address}\n", ["hq"])
    assert row.problem == ("" if right else f"IPAddress {address!r} is neither an address nor a name")
