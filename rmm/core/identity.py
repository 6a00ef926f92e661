"""Is the machine that answered the endpoint that was asked? Decided before anything is stored."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from datetime import datetime

import msgspec

from rmm.core.coerce import shown
from rmm.model.identity import Acceptance, Refusal
from rmm.model.observation import CollectorResult
from rmm.model.state import CollectorState

_UUID = re.compile(r"[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12}\Z")
# What boards carry whose maker never set a UUID, in both byte orders; those of one repeated digit are in no list.
PLACEHOLDERS = frozenset(
    {
        "03000200-0400-0500-0006-000700080009",
        "00020003-0004-0005-0006-000700080009",
        "12345678-1234-5678-90AB-CDDEEFAABBCC",
        "78563412-3412-7856-90AB-CDDEEFAABBCC",
    }
)
_ADMINISTRATOR = re.compile(r"S-1-5-21(-[0-9]{1,10}){3}-500\Z")
_MACHINE_ID = re.compile(r"[0-9A-F]{32}\Z")
MOST_TEXT = 200  # characters of a name or serial number
_SERIAL = re.compile(r"(?=.*[1-9])[0-9A-Za-z-]{5,}\Z")  # makers who set none write words, or count from zero


def short_name(name: str) -> str:
    """The NetBIOS form in which Windows compares names: first label, 15 characters, lower case."""
    return name.strip().split(".")[0][:15].casefold()


def mismatch(
    expected: str, known: Mapping[str, str], evidence: Mapping[str, str], accepted: Acceptance | None = None
) -> str:
    """Why `evidence` is of another machine; empty when it is not, or when nothing can be said.

    Args:
        expected: the endpoint's configured name. An IP address says nothing about the machine, so then the name
            that was learned at the first poll (`known["name"]`) is what is expected.
        known: identity stored with the endpoint's last state.
        evidence: what this session showed; `name` is the ComputerName.
        accepted: the acceptance in force; the name that it is of is right too.
    """
    seen = evidence.get("name", "")
    if not seen:
        return ""
    wanted = known.get("name", "") if _is_address(expected) else expected
    right = {short_name(name) for name in (wanted, accepted.refusal.seen.get("name", "") if accepted else "") if name}
    if not wanted or short_name(seen) in right:
        return ""
    return f"{wanted} was asked, {seen} answered"


def own_uuid(text: str) -> str:
    """The SMBIOS UUID in the form in which two are compared; empty for one that tells no machine from another."""
    uuid = text.strip().strip("{}").upper()
    if not _UUID.match(uuid) or len(set(uuid) - {"-"}) == 1 or uuid in PLACEHOLDERS:
        return ""
    return uuid


def installation(text: str | None) -> str:
    """The GUID of an installation in the form in which two are compared; empty for what is none.

    Windows has a MachineGuid; Linux a machine-id (machine-id(5)), which is written without hyphens.
    """
    guid = (text or "").strip().strip("{}").upper()
    if _MACHINE_ID.match(guid):
        guid = "-".join((guid[:8], guid[8:12], guid[12:16], guid[16:20], guid[20:]))
    return guid if _UUID.match(guid) else ""


def machine_sid(account_sid: str) -> str:
    """The SID of the machine, out of that of its own administrator (RID 500); empty for any other account's."""
    sid = account_sid.strip().upper()
    return sid.removesuffix("-500") if _ADMINISTRATOR.match(sid) else ""


def must_show_hardware(known: Mapping[str, str], seen: str) -> bool:
    """Whether another installation answers than at the last poll: set up anew, a clone, or another machine.

    The GUID alone refuses nothing, since a machine that was set up anew has another one. It makes the poll read the
    hardware at once, whenever that is due, and `hardware_mismatch` tells which it is before anything is stored.
    """
    return bool(seen and known.get("machine")) and known["machine"] != seen


def another_board(uuid: str, seen: str, known: CollectorState | None) -> bool:
    """Whether a UUID that was asked for by itself is not the expected one: then the hardware is read at once too."""
    wanted = own_uuid(uuid) or own_uuid(_text(_hardware(known), "uuid"))
    return bool(wanted and own_uuid(seen)) and wanted != own_uuid(seen)


class _Readings(msgspec.Struct):
    readings: tuple[dict[str, object], ...] = ()


_decoder = msgspec.json.Decoder(_Readings)


def hardware_mismatch(
    uuid: str,
    known: CollectorState | None,
    result: CollectorResult | None,
    accepted: Acceptance | None = None,
) -> str:
    """Why a machine of the right name is another one all the same: its SMBIOS UUID, or its serial number without one.

    Args:
        uuid: what the endpoint list says that it must be; where empty, what was read before counts.
        known: the last reading of the collector `hardware`.
        result: what this poll read of it; None where it was not due.
        accepted: the acceptance in force: its hardware takes the place of the list's, and of readings before it.
    """
    if result is None or not result.readings:
        return ""
    old, new = _hardware(known), result.readings[0]
    if accepted is not None and accepted.refusal.seen.keys() & {"uuid", "serial"}:
        uuid = accepted.refusal.seen.get("uuid", "")
        if known is None or known.at is None or known.at < accepted.at:
            old = accepted.refusal.seen
    wanted, seen = own_uuid(uuid) or own_uuid(_text(old, "uuid")), own_uuid(_text(new, "uuid"))
    if wanted and seen:
        return f"the machine with the UUID {wanted} was asked, {seen} answered" if wanted != seen else ""
    was, now = _text(old, "serial"), _text(new, "serial")
    if was == now or not (_SERIAL.match(was) and _SERIAL.match(now)):
        return ""
    return f"the machine with the serial number {was} was asked, {now} answered"


def unproved(
    accepted: Acceptance | None, stored_at: datetime | None, machine: str, result: CollectorResult | None
) -> str:
    """Why the first machine after an acceptance may not be the accepted one, where no hardware can tell.

    Args:
        accepted: the acceptance in force.
        stored_at: when the identity that is known was observed.
        machine: the GUID of the installation that answered.
        result: what this poll read of the hardware.
    """
    if accepted is None or (stored_at is not None and stored_at >= accepted.at):
        return ""
    wanted = accepted.refusal.seen.get("machine", "")
    if (result is not None and result.readings) or not wanted or not machine or wanted == machine:
        return ""
    return f"the installation {wanted} was accepted, {machine} answered"


def in_force(accepted: Acceptance | None, name: str, uuid: str) -> Acceptance | None:
    """The acceptance, while the endpoint list says what it said when it was given: a newer word there counts more."""
    if accepted is None or accepted.refusal.asked != name or own_uuid(accepted.refusal.listed) != own_uuid(uuid):
        return None
    return accepted


def evidence_of(name: str, machine: str, result: CollectorResult | None) -> dict[str, str]:
    """What a session showed of the machine that answered: name, uuid, serial, machine, as far as there is any."""
    reading = result.readings[0] if result is not None and result.readings else {}
    return _evidence(name, machine, reading)


def refusal(
    asked: str,
    listed: str,
    known: Mapping[str, str],
    hardware: CollectorState | None,
    seen: dict[str, str],
    accepted: Acceptance | None,
) -> Refusal:
    """What was expected of an endpoint, from its list and its last state, beside what was seen."""
    name = (known.get("name", "") if _is_address(asked) else "") or asked
    expected = _evidence(name, known.get("machine", ""), _hardware(hardware))
    if own_uuid(listed):
        expected["uuid"] = own_uuid(listed)
    if accepted is not None and (hardware is None or hardware.at is None or hardware.at < accepted.at):
        expected |= accepted.refusal.seen
    return Refusal(asked=asked, listed=listed, expected=expected, seen=seen)


def _evidence(name: str, machine: str, reading: Mapping[str, object]) -> dict[str, str]:
    serial = _text(reading, "serial")
    found = {
        "name": shown(name, MOST_TEXT),
        "uuid": own_uuid(_text(reading, "uuid")),
        "serial": serial if len(serial) <= MOST_TEXT and _SERIAL.match(serial) else "",
        "machine": machine,
    }
    return {what: text for what, text in found.items() if text}


def _hardware(known: CollectorState | None) -> Mapping[str, object]:
    try:
        before = _decoder.decode(bytes(known.result)).readings if known is not None else ()
    except msgspec.DecodeError:
        return {}
    return before[0] if before else {}


def _text(reading: Mapping[str, object], field: str) -> str:
    value = reading.get(field)
    return value.strip() if isinstance(value, str) else ""


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
