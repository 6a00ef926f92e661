"""Volumes and logical disks: how full they are."""

from __future__ import annotations

from math import sin

from rmm.lab.cim.moment import Moment, Provider, Row
from rmm.lab.dice import Dice
from rmm.lab.state import Drive

CLUSTER = 4096
HIDDEN_SIZE = 523_239_424  # the recovery partition without a letter


def free_bytes(moment: Moment, drive: Drive) -> int:
    """What is free now: the drive's own trend, and temporary files that come and go."""
    share = drive.used_share(moment.hours)
    breath = 0.0008 * sin(moment.t / 1700.0 + drive.activity * 6.0)
    return int(drive.size * min(max(1.0 - share + breath, 0.0005), 1.0)) // CLUSTER * CLUSTER


def volumes(moment: Moment) -> list[Row]:
    machine = moment.machine
    rows = [
        _volume(moment, number, drive.size, free_bytes(moment, drive)) | {
            "BootVolume": drive.letter == "C", "Caption": f"{drive.letter}:\\", "DirtyBitSet": drive.dirty,
            "DriveLetter": f"{drive.letter}:", "IndexingEnabled": True, "Label": drive.label or None,
            "Name": f"{drive.letter}:\\", "PageFilePresent": drive.letter == "C" and machine.pagefile > 0,
        }
        for number, drive in enumerate(machine.drives, 1)
    ]  # fmt: skip
    hidden = _volume(moment, 0, HIDDEN_SIZE, 482_344_960 // CLUSTER * CLUSTER)
    hidden |= {"Caption": hidden["DeviceID"], "Name": hidden["DeviceID"], "Label": machine.language.labels["recovery"]}
    return [*rows, hidden]


def _volume(moment: Moment, number: int, size: int, free: int) -> Row:
    machine = moment.machine
    digits = Dice(machine.seed, machine.index, "volume", number).hexadecimal(32).lower()
    guid = f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
    return {
        "Automount": True, "BlockSize": CLUSTER, "BootVolume": False, "Capacity": size, "Compressed": False,
        "CreationClassName": "Win32_Volume", "DeviceID": f"\\\\?\\Volume{{{guid}}}\\", "DirtyBitSet": False,
        "DriveType": 3, "FileSystem": "NTFS", "FreeSpace": free, "IndexingEnabled": False,
        "MaximumFileNameLength": 255, "PageFilePresent": False, "QuotasEnabled": False, "QuotasIncomplete": False,
        "QuotasRebuilding": False, "SerialNumber": int(digits[:8], 16), "SupportsDiskQuotas": True,
        "SupportsFileBasedCompression": True, "SystemName": machine.name, "SystemVolume": False,
        "SystemCreationClassName": "Win32_ComputerSystem",
    }  # fmt: skip


def logical_disks(moment: Moment) -> list[Row]:
    machine = moment.machine
    rows: list[Row] = [
        {
            "Access": 0, "Caption": f"{drive.letter}:", "Compressed": False, "CreationClassName": "Win32_LogicalDisk",
            "Description": machine.language.disk, "DeviceID": f"{drive.letter}:", "DriveType": 3,
            "FileSystem": "NTFS", "FreeSpace": free_bytes(moment, drive), "MaximumComponentLength": 255,
            "MediaType": 12, "Name": f"{drive.letter}:", "QuotasDisabled": True, "QuotasIncomplete": False,
            "QuotasRebuilding": False, "Size": drive.size, "SupportsDiskQuotas": True,
            "SupportsFileBasedCompression": True, "SystemName": machine.name, "VolumeDirty": drive.dirty,
            "SystemCreationClassName": "Win32_ComputerSystem", "VolumeName": drive.label,
            "VolumeSerialNumber": Dice(machine.seed, machine.index, "volume", number).hexadecimal(8),
        }
        for number, drive in enumerate(machine.drives, 1)
    ]  # fmt: skip
    if machine.os.kind == "server" and machine.hardware.model.vm:
        rows.append({
            "Access": 0, "Caption": "Z:", "CreationClassName": "Win32_LogicalDisk", "Description": "CD-ROM Disc",
            "DeviceID": "Z:", "DriveType": 5, "MediaType": 11, "Name": "Z:", "SystemName": machine.name,
            "SystemCreationClassName": "Win32_ComputerSystem",
        })  # fmt: skip
    return rows


PROVIDERS: dict[str, Provider] = {"Win32_Volume": volumes, "Win32_LogicalDisk": logical_disks}
