"""Raw counters of disks and network adapters."""

from __future__ import annotations

from rmm.lab.cim.hardware import adapter_name
from rmm.lab.cim.moment import Moment, Provider, Row
from rmm.lab.cim.storage import HIDDEN_SIZE, free_bytes
from rmm.lab.load import Curve, wrap32
from rmm.lab.state import Drive

SECOND = 10_000_000  # 100 ns
READ_SIZE, WRITE_SIZE = 24_576, 12_288
_SUMMED = (
    "DiskReadsPersec", "DiskWritesPersec", "DiskTransfersPersec", "DiskReadBytesPersec", "DiskWriteBytesPersec",
    "DiskBytesPersec", "SplitIOPerSec", "CurrentDiskQueueLength", "AvgDiskBytesPerRead", "AvgDiskBytesPerWrite",
    "AvgDiskBytesPerTransfer", "AvgDiskBytesPerRead_Base", "AvgDiskBytesPerWrite_Base", "AvgDiskBytesPerTransfer_Base",
    "AvgDisksecPerRead", "AvgDisksecPerWrite", "AvgDisksecPerTransfer", "AvgDisksecPerRead_Base",
    "AvgDisksecPerWrite_Base", "AvgDisksecPerTransfer_Base", "AvgDiskQueueLength", "AvgDiskReadQueueLength",
    "AvgDiskWriteQueueLength", "FreeMegabytes", "PercentFreeSpace", "PercentFreeSpace_Base",
)  # fmt: skip
_AVERAGED = ("PercentDiskReadTime", "PercentDiskWriteTime", "PercentDiskTime", "PercentIdleTime")


def _disk(moment: Moment, number: int, drive: Drive) -> Row:
    """One disk's counters, all from one curve of activity, so that they fit together."""
    machine = moment.machine
    curve = Curve(1.0, 0.35, 0.3, 410.0 + 23.0 * number, machine.phase + number)
    work = curve.total(machine.boot, moment.t)
    reads, writes = int(work * 140 * drive.activity), int(work * 90 * drive.activity)
    read_time, write_time = reads * drive.latency, writes * drive.latency * 1.4
    # More than one transfer may be under way, so the time that the disk is busy is less than the sum of their times.
    share = drive.activity * drive.latency * (140 + 90 * 1.4)
    busy = work * min(share, 0.6)
    frequency = machine.os.perf_frequency
    spent = (int(read_time * SECOND), int(write_time * SECOND))
    now_queue = int(share * curve.rate(moment.t) + 0.3)
    row: Row = {
        "DiskReadsPersec": wrap32(reads), "DiskWritesPersec": wrap32(writes),
        "DiskTransfersPersec": wrap32(reads + writes), "DiskReadBytesPersec": reads * READ_SIZE,
        "DiskWriteBytesPersec": writes * WRITE_SIZE, "DiskBytesPersec": reads * READ_SIZE + writes * WRITE_SIZE,
        "AvgDiskBytesPerRead": reads * READ_SIZE, "AvgDiskBytesPerRead_Base": wrap32(reads),
        "AvgDiskBytesPerWrite": writes * WRITE_SIZE, "AvgDiskBytesPerWrite_Base": wrap32(writes),
        "AvgDiskBytesPerTransfer": reads * READ_SIZE + writes * WRITE_SIZE,
        "AvgDiskBytesPerTransfer_Base": wrap32(reads + writes), "AvgDisksecPerRead": wrap32(read_time * frequency),
        "AvgDisksecPerRead_Base": wrap32(reads), "AvgDisksecPerWrite": wrap32(write_time * frequency),
        "AvgDisksecPerWrite_Base": wrap32(writes),
        "AvgDisksecPerTransfer": wrap32((read_time + write_time) * frequency),
        "AvgDisksecPerTransfer_Base": wrap32(reads + writes), "AvgDiskReadQueueLength": spent[0],
        "AvgDiskWriteQueueLength": spent[1], "AvgDiskQueueLength": sum(spent), "CurrentDiskQueueLength": now_queue,
        "PercentDiskReadTime": spent[0], "PercentDiskWriteTime": spent[1], "PercentDiskTime": sum(spent),
        "PercentIdleTime": int(max(moment.elapsed - busy, 0.0) * SECOND),
        "SplitIOPerSec": wrap32((reads + writes) * 0.004),
    }  # fmt: skip
    return row


def _total(rows: list[Row]) -> Row:
    """The `_Total` instance: sums, and for percentages the mean."""
    total: Row = {name: sum(row[name] for row in rows) for name in _SUMMED if name in rows[0]}
    for name, value in total.items():
        if name.endswith("_Base") or name.startswith("AvgDisksec") or name in _NARROW:
            total[name] = value & 0xFFFFFFFF
    total |= {name: sum(row[name] for row in rows) // len(rows) for name in _AVERAGED}
    return total


_NARROW = frozenset({"DiskReadsPersec", "DiskWritesPersec", "DiskTransfersPersec", "SplitIOPerSec"})


def _finished(moment: Moment, name: str, row: Row) -> Row:
    bases = dict.fromkeys([f"{prop}_Base" for prop in _AVERAGED], moment.filetime(moment.clock))
    return {"Name": name, **row, **bases, **moment.stamps(moment.machine.os.perf_frequency)}


def physical_disks(moment: Moment) -> list[Row]:
    """Instances `0 C:`, `1 D:` ..., `_Total`."""
    drives = moment.machine.drives
    rows = [_disk(moment, number, drive) for number, drive in enumerate(drives)]
    named = [
        _finished(moment, f"{number} {drive.letter}:", row)
        for number, (drive, row) in enumerate(zip(drives, rows, strict=True))
    ]
    return [*named, _finished(moment, "_Total", _total(rows))]


def logical_disks(moment: Moment) -> list[Row]:
    """Instances `HarddiskVolume1`, `C:`, `D:` ..., `_Total`."""
    drives = moment.machine.drives
    hidden = _disk(moment, 0, drives[0]._replace(activity=0.0)) | _space(HIDDEN_SIZE, 482_344_960)
    rows = [hidden] + [
        _disk(moment, number, drive) | _space(drive.size, free_bytes(moment, drive))
        for number, drive in enumerate(drives)
    ]
    names = ["HarddiskVolume1", *(f"{drive.letter}:" for drive in drives)]
    named = [_finished(moment, name, row) for name, row in zip(names, rows, strict=True)]
    return [*named, _finished(moment, "_Total", _total(rows))]


def _space(size: int, free: int) -> Row:
    return {"FreeMegabytes": free >> 20, "PercentFreeSpace": free >> 20, "PercentFreeSpace_Base": size >> 20}


def _interface(moment: Moment, name: str, rx: float, tx: float, bandwidth: int) -> Row:
    """`rx` and `tx` are bytes since boot."""
    inward, outward = int(rx / 840), int(tx / 610)
    errors = int(inward / 9e6)
    return {
        "Name": name, "BytesReceivedPersec": int(rx), "BytesSentPersec": int(tx),
        "BytesTotalPersec": int(rx) + int(tx), "CurrentBandwidth": bandwidth, "OffloadedConnections": 0,
        "OutputQueueLength": 0, "PacketsOutboundDiscarded": 0, "PacketsOutboundErrors": errors // 3,
        "PacketsPersec": inward + outward, "PacketsReceivedDiscarded": errors * 2, "PacketsReceivedErrors": errors,
        "PacketsReceivedNonUnicastPersec": inward // 50, "PacketsReceivedPersec": inward,
        "PacketsReceivedUnicastPersec": inward - inward // 50, "PacketsReceivedUnknown": 0,
        "PacketsSentNonUnicastPersec": outward // 400, "PacketsSentPersec": outward,
        "PacketsSentUnicastPersec": outward - outward // 400, "TCPActiveRSCConnections": 0,
        "TCPRSCAveragePacketSize": 0, "TCPRSCCoalescedPacketsPersec": 0, "TCPRSCExceptionsPersec": 0,
        **moment.stamps(moment.machine.os.perf_frequency),
    }  # fmt: skip


def interfaces(moment: Moment) -> list[Row]:
    """The adapter, named as performance counters name it: brackets for parentheses, underscores for slashes and #."""
    machine = moment.machine
    name = adapter_name(machine).translate(str.maketrans("()#/\\", "[]___"))
    bandwidth = machine.hardware.model.bps
    # Half the load each way, so that the sum of both stays below the line's bandwidth.
    room = 0.97 / machine.net_load - 1.0
    shape = (min(0.4, room * 0.55), min(0.35, room * 0.4))
    rx = Curve(bandwidth / 8 * machine.net_load * 0.6, *shape, 330.0, machine.phase).total(machine.boot, moment.t)
    tx = Curve(bandwidth / 8 * machine.net_load * 0.4, *shape, 330.0, machine.phase).total(machine.boot, moment.t)
    rows = [_interface(moment, name, rx, tx, bandwidth)]
    if machine.os.build < 17763:
        # Server 2016 still has a tunnel adapter.
        rows.append(_interface(moment, f"isatap.{{{machine.uuid}}}", 0.0, 0.0, 100_000))
    return rows


PROVIDERS: dict[str, Provider] = {
    "Win32_PerfRawData_PerfDisk_PhysicalDisk": physical_disks,
    "Win32_PerfRawData_PerfDisk_LogicalDisk": logical_disks,
    "Win32_PerfRawData_Tcpip_NetworkInterface": interfaces,
}
