"""The endpoint list: `endpoints.csv` of a configuration folder, and import and export in CSV, JSON and XLSX."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from rmm.durable import replace_file
from rmm.errors import ConfigError
from rmm.model.endpoint import Endpoint

ENDPOINTS = "endpoints.csv"
COLUMNS = {
    "Id": "id",
    "ComputerName": "name",
    "IPAddress": "address",
    "SiteId": "site",
    "GroupId": "group",
    "Tags": "tags",
    "Description": "description",
    "Transport": "transport",
    "Scheme": "scheme",
    "Port": "port",
    "Credential": "credential",
    "Enabled": "enabled",
}
_BY_LOWER = {name.lower(): field for name, field in COLUMNS.items()}
_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,63}\Z")
_HOST = re.compile(r"[^\s/\\:*?\"<>|,;'`$(){}\x00-\x1f]{1,255}\Z")
_ADDRESS = re.compile(r"[0-9A-Za-z.:%_-]{1,255}\Z")
_YES, _NO = ("", "true", "yes", "1", "y"), ("false", "no", "0", "n")
_FORMULA = "=+-@\t\r\x00"


class Row(msgspec.Struct):
    """One row of an import: its number in the file, the endpoint, or what is wrong with it."""

    number: int
    endpoint: Endpoint | None
    problem: str = ""


def new_id(name: str, site: str) -> str:
    """A stable id, safe as a file name: the name's letters and a short hash that keeps equal slugs apart."""
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:48] or "endpoint"
    if _ID.match(slug) and slug == name.lower():
        return slug
    return f"{slug}-{hashlib.sha256(f'{site}/{name.lower()}'.encode()).hexdigest()[:6]}"


def endpoint_of(values: Mapping[str, Any], sites: Iterable[str]) -> Endpoint:
    """An endpoint from the columns of one row. Raises ValueError with every problem of the row."""
    given = {
        _BY_LOWER[key.strip().lower()]: _cell(value)
        for key, value in values.items()
        if key and key.strip().lower() in _BY_LOWER
    }
    problems: list[str] = []
    known = sorted(sites)
    name = given.get("name", "")
    if not _HOST.match(name):
        problems.append(f"ComputerName {name!r} is not a computer's name" if name else "ComputerName is missing")
    site = given.get("site", "") or (known[0] if len(known) == 1 else "")
    if site not in known:
        problems.append(f"SiteId {site!r} is not one of {', '.join(known)}" if site else "SiteId is missing")
    if given.get("address") and not _ADDRESS.match(given["address"]):
        problems.append(f"IPAddress {given['address']!r} is neither an address nor a name")
    port = given.get("port", "") or "0"
    if not port.isdigit() or int(port) > 65_535:
        problems.append(f"Port {port!r} is not a port")
    for field, allowed in (
        ("transport", ("", "winrm", "wql", "pypsrp", "pywinrm", "ssh")),
        ("scheme", ("", "http", "https")),
    ):
        if given.get(field, "").lower() not in allowed:
            problems.append(f"{field.title()} {given[field]!r} is not one of {', '.join(allowed[1:])}")
    enabled = given.get("enabled", "").lower()
    if enabled not in (*_YES, *_NO):
        problems.append(f"Enabled {given['enabled']!r} is neither true nor false")
    identity = given.get("id", "") or (new_id(name, site) if name else "x")
    if not _ID.match(identity):
        problems.append(f"Id {identity!r}: use 1 to 64 of a-z 0-9 -")
    if problems:
        raise ValueError("; ".join(problems))
    return Endpoint(
        id=identity,
        name=name,
        site=site,
        address=given.get("address", ""),
        group=given.get("group", ""),
        tags=tuple(tag.strip() for tag in given.get("tags", "").split(";") if tag.strip()),
        description=given.get("description", ""),
        transport=given.get("transport", "").lower(),
        scheme=given.get("scheme", "").lower(),
        port=int(port),
        credential=given.get("credential", ""),
        enabled=enabled not in _NO,
    )


def _cell(value: Any) -> str:
    """A cell as text; the apostrophe that an export puts before a formula is taken away again."""
    if value is None:
        return ""
    if isinstance(value, list):
        return ";".join(str(item) for item in value)
    text = str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()
    return text[1:] if len(text) > 1 and text[0] == "'" and text[1] in _FORMULA else text


def read_endpoints(path: Path, sites: Iterable[str]) -> tuple[list[Endpoint], list[str]]:
    """The endpoints of a configuration folder, and its problems as `file:line: text`."""
    known = frozenset(sites)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return [], [f"{path}:1: there is no such file; `rmm init` makes one"]
    except (OSError, UnicodeDecodeError) as error:
        return [], [f"{path}:1: cannot be read: {error}"]
    rows = list(rows_of_csv(text, known))
    problems = [f"{path}:{row.number}: {row.problem}" for row in rows if row.problem]
    endpoints = [row.endpoint for row in rows if row.endpoint is not None]
    return endpoints, problems + [f"{path}:1: {text}" for text in _doubles(endpoints)]


def _doubles(endpoints: Sequence[Endpoint]) -> list[str]:
    seen: set[str] = set()
    return [f"the id {e.id!r} is used twice" for e in endpoints if e.id in seen or seen.add(e.id)]  # type: ignore[func-returns-value]


def rows_of_csv(text: str, sites: Iterable[str]) -> Iterable[Row]:
    """Rows with their line numbers; the first line names the columns, others than ours are ignored."""
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=_delimiter(text))
    if reader.fieldnames is None or not any(
        (name or "").strip().lower() == "computername" for name in reader.fieldnames
    ):
        yield Row(1, None, "the first line must name the columns, ComputerName among them")
        return
    try:
        for values in reader:
            if any(str(value or "").strip() for value in values.values()):
                yield _row(reader.line_num, values, sites)
    except csv.Error as error:
        yield Row(reader.line_num, None, f"not CSV: {error}")


def _delimiter(text: str) -> str:
    """Semicolons are what a spreadsheet writes where the comma is the decimal separator."""
    head = text.split("\n", 1)[0]
    return max(",;\t", key=head.count)


def _row(number: int, values: Mapping[str, Any], sites: Iterable[str]) -> Row:
    try:
        return Row(number, endpoint_of(values, sites))
    except ValueError as error:
        return Row(number, None, str(error))


def read_import(path: Path, sites: Iterable[str]) -> list[Row]:
    """The rows of a file to import, by its ending. Raises ConfigError when the file as a whole cannot be used."""
    known = frozenset(sites)
    kind = path.suffix.lower()
    try:
        if kind == ".json":
            given = json.loads(path.read_text(encoding="utf-8-sig"))
            listed = given.get("endpoints") if isinstance(given, dict) else given
            if not isinstance(listed, list):
                raise ConfigError(f"{path}: a list of objects is expected")
            return [
                _row(number, item, known) if isinstance(item, dict) else Row(number, None, "not an object")
                for number, item in enumerate(listed, start=1)
            ]
        if kind == ".xlsx":
            return _rows_of_xlsx(path, known)
        if kind in (".csv", ".txt", ".tsv"):
            return list(rows_of_csv(_text(path), known))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}", hint="Is it the right file?") from error
    raise ConfigError(f"{path}: {kind or 'no ending'} is not known", hint="Import .csv, .json or .xlsx.")


def _text(path: Path) -> str:
    data = path.read_bytes()
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")  # what Excel writes on a western Windows


def _rows_of_xlsx(path: Path, sites: Iterable[str]) -> list[Row]:
    try:
        import openpyxl
    except ImportError as error:
        hint = "Install the extra: pip install 'mytech-rmm[xlsx]', or save the table as CSV."
        raise ConfigError(f"{path}: reading XLSX needs the package openpyxl", hint=hint) from error
    try:
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
    except Exception as error:  # openpyxl raises whatever a damaged file leads it into
        raise ConfigError(f"{path}: not a workbook: {error}") from error
    try:
        table = list(book.worksheets[0].iter_rows(values_only=True))
    finally:
        book.close()
    names = [str(cell or "") for cell in table[0]] if table else []
    if not any(name.strip().lower() == "computername" for name in names):
        return [Row(1, None, "the first row must name the columns, ComputerName among them")]
    return [
        _row(number, dict(zip(names, cells, strict=False)), sites)
        for number, cells in enumerate(table[1:], start=2)
        if any(cell not in (None, "") for cell in cells)
    ]


def merged(known: Sequence[Endpoint], rows: Iterable[Row]) -> tuple[list[Endpoint], dict[str, int]]:
    """The list after an import, and how many were added, updated and left as they were.

    A row is the known endpoint with its id, or with its name at its site; it keeps that endpoint's id.
    """
    result = {endpoint.id: endpoint for endpoint in known}
    by_name = {(endpoint.site, endpoint.name.lower()): endpoint.id for endpoint in known}
    counts = {"added": 0, "updated": 0, "unchanged": 0}
    for row in rows:
        endpoint = row.endpoint
        if endpoint is None:
            continue
        identity = (
            endpoint.id if endpoint.id in result else by_name.get((endpoint.site, endpoint.name.lower()), endpoint.id)
        )
        endpoint = msgspec.structs.replace(endpoint, id=identity)
        before = result.get(identity)
        counts["added" if before is None else "unchanged" if before == endpoint else "updated"] += 1
        result[identity] = endpoint
        by_name[(endpoint.site, endpoint.name.lower())] = identity
    return list(result.values()), counts


def cells_of(endpoint: Endpoint) -> list[str]:
    """The endpoint in the order of COLUMNS."""
    return [
        *(endpoint.id, endpoint.name, endpoint.address, endpoint.site, endpoint.group, ";".join(endpoint.tags)),
        *(endpoint.description, endpoint.transport, endpoint.scheme, str(endpoint.port or ""), endpoint.credential),
        "true" if endpoint.enabled else "false",
    ]


def csv_of(endpoints: Iterable[Endpoint], *, guarded: bool) -> str:
    """CSV text. `guarded` puts an apostrophe before cells that a spreadsheet would take for formulas."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for endpoint in endpoints:
        cells = cells_of(endpoint)
        writer.writerow([f"'{cell}" if guarded and cell[:1] and cell[0] in _FORMULA else cell for cell in cells])
    return text.getvalue()


def xlsx_of(endpoints: Iterable[Endpoint]) -> bytes:
    """An XLSX workbook; every cell is text, so nothing in it is a formula."""
    import xlsxwriter

    data = io.BytesIO()
    options = {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False, "strings_to_numbers": False}
    book = xlsxwriter.Workbook(data, options)
    sheet = book.add_worksheet("endpoints")
    for number, cells in enumerate([list(COLUMNS), *(cells_of(endpoint) for endpoint in endpoints)]):
        for column, cell in enumerate(cells):
            sheet.write_string(number, column, cell)
    sheet.freeze_panes(1, 0)
    book.close()
    return data.getvalue()


def write_endpoints(path: Path, endpoints: Iterable[Endpoint]) -> None:
    """Replace the endpoint list of a configuration folder."""
    replace_file(path, csv_of(endpoints, guarded=False).encode())
