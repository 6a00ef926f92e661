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

from rmm.core.filenames import RESERVED
from rmm.core.identity import own_uuid
from rmm.durable import replace_file
from rmm.errors import ConfigError
from rmm.model.endpoint import Endpoint

ENDPOINTS = "endpoints.csv"
TRANSPORTS = ("winrm", "wql", "pypsrp", "pywinrm", "ssh")
SCHEMES = ("http", "https")
SHELLS = ("auto", "powershell", "sh")
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
    "Configuration": "configuration",
    "Pin": "pin",
    "Shell": "shell",
    "Uuid": "uuid",
    "Enabled": "enabled",
}
_BY_LOWER = {name.lower(): field for name, field in COLUMNS.items()}
_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,63}\Z")
_HOST = re.compile(r"[^\s/\\:*?\"<>|,;'`$(){}\x00-\x1f]{1,255}\Z")
_ADDRESS = re.compile(r"[0-9A-Za-z.:%_-]{1,255}\Z")
_DIGITS = re.compile(r"[0-9.]+\Z")  # what has no letter is no name
_OCTET = r"(25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])"
_IPV4 = re.compile(rf"{_OCTET}(\.{_OCTET}){{3}}\Z")
_PIN = re.compile(r"sha256//[A-Za-z0-9+/]{43}=\Z")
CONFIGURATION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z")
_YES, _NO = ("", "true", "yes", "1", "y"), ("false", "no", "0", "n")
_FORMULA = "=+-@\t\r\x00"
_GUARDED = frozenset(_FORMULA + "'")  # an apostrophe is guarded as well, so that taking one away is always right


class Row(msgspec.Struct):
    """One row of an import: its number in the file, the endpoint, or what is wrong with it.

    `given` names the fields that the file has a column for; an update leaves the others as they are.
    """

    number: int
    endpoint: Endpoint | None
    problem: str = ""
    given: frozenset[str] = frozenset()


def new_id(name: str, site: str, *, apart: bool = False) -> str:
    """A stable id, safe as a file name: the name's letters, and a short hash where they do not tell it apart."""
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:48] or "endpoint"
    if slug == name.lower() and slug not in RESERVED and not apart:
        return slug
    return f"{slug}-{hashlib.sha256(f'{site}/{name.lower()}'.encode()).hexdigest()[:6]}"


def _fields_of(values: Mapping[str, Any]) -> dict[str, str]:
    """Field name -> text, of the columns that are ours."""
    return {
        _BY_LOWER[key.strip().lower()]: _cell(value)
        for key, value in values.items()
        if key and key.strip().lower() in _BY_LOWER
    }


def endpoint_of(values: Mapping[str, Any], sites: Iterable[str]) -> Endpoint:
    """An endpoint from the columns of one row. Raises ValueError with every problem of the row."""
    given = _fields_of(values)
    problems = list(_problems(given, sorted(sites)))
    if problems:
        raise ValueError("; ".join(problems))
    return _endpoint(given, sites)


def _site_of(given: Mapping[str, str], known: Sequence[str]) -> str:
    """The only site needs no mention."""
    return given.get("site", "") or (known[0] if len(known) == 1 else "")


def _problems(given: Mapping[str, str], known: Sequence[str]) -> Iterable[str]:
    name, site, address = given.get("name", ""), _site_of(given, known), given.get("address", "")
    if not _HOST.match(name):
        yield f"ComputerName {name!r} is not a computer's name" if name else "ComputerName is missing"
    if site not in known:
        yield f"SiteId {site!r} is not one of {', '.join(known)}" if site else "SiteId is missing"
    if address and (not _ADDRESS.match(address) or (_DIGITS.match(address) and not _IPV4.match(address))):
        yield f"IPAddress {address!r} is neither an address nor a name"
    port = given.get("port", "") or "0"
    if not (port.isascii() and port.isdigit() and len(port) < 6 and int(port) <= 65_535):
        yield f"Port {port!r} is not a port"
    for field, allowed in (("transport", TRANSPORTS), ("scheme", SCHEMES), ("shell", SHELLS)):
        if given.get(field, "").lower() not in ("", *allowed):
            yield f"{field.title()} {given[field]!r} is not one of {', '.join(allowed)}"
    yield from _pinned(given)
    if given.get("enabled", "").lower() not in (*_YES, *_NO):
        yield f"Enabled {given['enabled']!r} is neither true nor false"
    identity = given.get("id", "")
    if identity and (not _ID.match(identity) or identity in RESERVED):
        yield f"Id {identity!r}: use 1 to 64 of a-z 0-9 -"


def _pinned(given: Mapping[str, str]) -> Iterable[str]:
    pin = given.get("pin", "")
    if pin and not _PIN.match(pin):
        yield f"Pin {pin!r} is not sha256//BASE64; `rmm doctor` shows the endpoint's own"
    uuid = given.get("uuid", "")
    if uuid and not own_uuid(uuid):
        yield f"Uuid {uuid!r} is not the SMBIOS UUID of one machine; `rmm show` has the endpoint's own"
    configuration = given.get("configuration", "")
    if configuration and not CONFIGURATION.match(configuration):
        yield f"Configuration {configuration!r} is not the name of a session configuration"


def _endpoint(given: Mapping[str, str], sites: Iterable[str]) -> Endpoint:
    name, site = given["name"], _site_of(given, sorted(sites))
    return Endpoint(
        id=given.get("id", "") or new_id(name, site),
        name=name,
        site=site,
        address=given.get("address", ""),
        group=given.get("group", ""),
        tags=tuple(tag.strip() for tag in given.get("tags", "").split(";") if tag.strip()),
        description=given.get("description", ""),
        transport=given.get("transport", "").lower(),
        scheme=given.get("scheme", "").lower(),
        port=int(given.get("port", "") or 0),
        credential=given.get("credential", ""),
        configuration=given.get("configuration", ""),
        pin=given.get("pin", ""),
        shell=given.get("shell", "").lower(),
        uuid=given.get("uuid", "").upper(),
        enabled=given.get("enabled", "").lower() not in _NO,
    )


def _cell(value: Any) -> str:
    """A cell as text."""
    if value is None:
        return ""
    if isinstance(value, list):
        return ";".join(str(item) for item in value)
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()


def _unguarded(cell: Any) -> Any:
    """The apostrophe that an export puts before a formula is taken away again."""
    return cell[1:] if isinstance(cell, str) and cell[:1] == "'" and cell[1:2] in _GUARDED and cell[1:] else cell


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
    mark_doubles(rows)
    problems = [f"{path}:{row.number}: {row.problem}" for row in rows if row.problem]
    return [row.endpoint for row in rows if row.endpoint is not None], problems


def mark_doubles(rows: Iterable[Row]) -> None:
    """Rows that are an earlier row's endpoint once more become bad rows: same id, name at a site, address and port."""
    seen: dict[tuple[Any, ...], int] = {}
    for row in rows:
        for text, key in _identities(row.endpoint) if row.endpoint else ():
            first = seen.setdefault(key, row.number)
            if first != row.number:
                row.problem, row.endpoint = f"{text} is that of row {first} already", None
                break


def _identities(endpoint: Endpoint) -> Iterable[tuple[str, tuple[Any, ...]]]:
    """What no two endpoints may share, each with how to call it."""
    yield f"Id {endpoint.id!r}", ("id", endpoint.id)
    yield f"ComputerName {endpoint.name!r}", ("name", endpoint.site, endpoint.name.lower())
    if endpoint.address:  # two sites may both have a 10.0.0.1; two services on one machine differ by port or transport
        way = (endpoint.port, endpoint.transport, endpoint.scheme)
        yield f"IPAddress {endpoint.address!r}", ("address", endpoint.site, endpoint.address.lower(), *way)


def rows_of_csv(text: str, sites: Iterable[str]) -> Iterable[Row]:
    """Rows with their line numbers; the first line names the columns, others than ours are ignored."""
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=_delimiter(text))
    if reader.fieldnames is None or not any(
        (name or "").strip().lower() == "computername" for name in reader.fieldnames
    ):
        yield Row(1, None, "the first line must name the columns, ComputerName among them")
        return
    while True:
        try:
            values = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield Row(reader.line_num, None, f"not CSV: {error}")
            continue
        if any(str(value or "").strip() for value in values.values()):
            yield _row(reader.line_num, {key: _unguarded(value) for key, value in values.items()}, sites)


def _delimiter(text: str) -> str:
    """Semicolons are what a spreadsheet writes where the comma is the decimal separator."""
    head = text.split("\n", 1)[0]
    return max(",;\t", key=head.count)


def _row(number: int, values: Mapping[str, Any], sites: Iterable[str]) -> Row:
    try:
        given = frozenset(field for field, cell in _fields_of(values).items() if cell or field != "id")
        return Row(number, endpoint_of(values, sites), given=given)
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
    except (OSError, ValueError, RecursionError) as error:
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

    A row is the known endpoint with its id, or with its name at its site; it keeps that endpoint's id, and what the
    file has no column for. A row that would make two endpoints one becomes a bad row.
    """
    result = {endpoint.id: endpoint for endpoint in known}
    by_name = {(endpoint.site, endpoint.name.lower()): endpoint.id for endpoint in known}
    taken = {key: endpoint.id for endpoint in known for _, key in _identities(endpoint)}
    counts = {"added": 0, "updated": 0, "unchanged": 0}
    listed = list(rows)
    for row in listed:
        if row.endpoint is not None:
            row.endpoint = _matched(row, result, by_name)
    mark_doubles(listed)
    for row in listed:
        endpoint = row.endpoint
        if endpoint is None:
            continue
        others = [text for text, key in _identities(endpoint) if taken.get(key, endpoint.id) != endpoint.id]
        if others:
            row.problem, row.endpoint = f"{others[0]} is that of another endpoint already", None
            continue
        before = result.get(endpoint.id)
        counts["added" if before is None else "unchanged" if before == endpoint else "updated"] += 1
        result[endpoint.id] = endpoint
        taken |= {key: endpoint.id for _, key in _identities(endpoint)}
    return list(result.values()), counts


def _matched(row: Row, known: Mapping[str, Endpoint], by_name: Mapping[tuple[str, str], str]) -> Endpoint:
    """The row's endpoint with the id it shall have, and with what is known of it where the file says nothing."""
    endpoint = row.endpoint
    assert endpoint is not None
    identity = endpoint.id
    if "id" not in row.given or identity not in known:
        identity = by_name.get((endpoint.site, endpoint.name.lower()), identity)
    before = known.get(identity)
    if before is not None and "id" not in row.given and before.site != endpoint.site:
        # Another site has a machine of this name.
        identity, before = new_id(endpoint.name, endpoint.site, apart=True), None
        before = known.get(identity)
    if before is None:
        return msgspec.structs.replace(endpoint, id=identity)
    kept = {name: getattr(before, name) for name in COLUMNS.values() if name not in row.given}
    return msgspec.structs.replace(endpoint, **(kept | {"id": identity, "site": endpoint.site}))


def cells_of(endpoint: Endpoint) -> list[str]:
    """The endpoint in the order of COLUMNS."""
    return [
        *(endpoint.id, endpoint.name, endpoint.address, endpoint.site, endpoint.group, ";".join(endpoint.tags)),
        *(endpoint.description, endpoint.transport, endpoint.scheme, str(endpoint.port or ""), endpoint.credential),
        *(endpoint.configuration, endpoint.pin, endpoint.shell, endpoint.uuid),
        "true" if endpoint.enabled else "false",
    ]


def csv_of(endpoints: Iterable[Endpoint]) -> str:
    """CSV text; an apostrophe stands before what a spreadsheet would take for a formula, and reading removes it."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for endpoint in endpoints:
        writer.writerow([f"'{cell}" if cell[:1] in _GUARDED and cell else cell for cell in cells_of(endpoint)])
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
    replace_file(path, csv_of(endpoints).encode())
