"""Is the machine that answered the endpoint that was asked? Decided before anything is stored."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping

import msgspec

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
_SERIAL = re.compile(r"(?=.*[1-9])[0-9A-Za-z-]{5,}\Z")  # makers who set none write words, or count from zero


def short_name(name: str) -> str:
    """The NetBIOS form in which Windows compares names: first label, 15 characters, lower case."""
    return name.strip().split(".")[0][:15].casefold()


def mismatch(expected: str, known: Mapping[str, str], evidence: Mapping[str, str]) -> str:
    """Why `evidence` is of another machine; empty when it is not, or when nothing can be said.

    Args:
        expected: the endpoint's configured name. An IP address says nothing about the machine, so then the name
            that was learned at the first poll (`known["name"]`) is what is expected.
        known: identity stored with the endpoint's last state.
        evidence: what this session showed; `name` is the ComputerName.
    """
    seen = evidence.get("name", "")
    if not seen:
        return ""
    wanted = known.get("name", "") if _is_address(expected) else expected
    if not wanted or short_name(wanted) == short_name(seen):
        return ""
    return f"{wanted} was asked, {seen} answered"


def own_uuid(text: str) -> str:
    """The SMBIOS UUID in the form in which two are compared; empty for one that tells no machine from another."""
    uuid = text.strip().strip("{}").upper()
    if not _UUID.match(uuid) or len(set(uuid) - {"-"}) == 1 or uuid in PLACEHOLDERS:
        return ""
    return uuid


def installation(text: str | None) -> str:
    """The GUID of a Windows installation in the form in which two are compared; empty for what is none."""
    guid = (text or "").strip().strip("{}").upper()
    return guid if _UUID.match(guid) else ""


def must_show_hardware(known: Mapping[str, str], seen: str) -> bool:
    """Whether another installation answers than at the last poll: set up anew, a clone, or another machine.

    The GUID alone refuses nothing, since a machine that was set up anew has another one. It makes the poll read the
    hardware at once, whenever that is due, and `hardware_mismatch` tells which it is before anything is stored.
    """
    return bool(seen and known.get("machine")) and known["machine"] != seen


class _Readings(msgspec.Struct):
    readings: tuple[dict[str, object], ...] = ()


_decoder = msgspec.json.Decoder(_Readings)


def hardware_mismatch(uuid: str, known: CollectorState | None, result: CollectorResult | None) -> str:
    """Why a machine of the right name is another one all the same: its SMBIOS UUID, or its serial number without one.

    Args:
        uuid: what the endpoint list says that it must be; where empty, what was read before counts.
        known: the last reading of the collector `hardware`.
        result: what this poll read of it; None where it was not due.
    """
    if result is None or not result.readings:
        return ""
    try:
        before = _decoder.decode(bytes(known.result)).readings if known is not None else ()
    except msgspec.DecodeError:
        before = ()
    old, new = before[0] if before else {}, result.readings[0]
    wanted, seen = own_uuid(uuid) or own_uuid(_text(old, "uuid")), own_uuid(_text(new, "uuid"))
    if wanted and seen:
        return f"the machine with the UUID {wanted} was asked, {seen} answered" if wanted != seen else ""
    was, now = _text(old, "serial"), _text(new, "serial")
    if was == now or not (_SERIAL.match(was) and _SERIAL.match(now)):
        return ""
    return f"the machine with the serial number {was} was asked, {now} answered"


def _text(reading: Mapping[str, object], field: str) -> str:
    value = reading.get(field)
    return value.strip() if isinstance(value, str) else ""


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
