"""Raw counters of processors, system and memory. Each is an integral of a load curve since boot."""

from __future__ import annotations

from rmm.lab.cim.moment import Moment, Provider, Row
from rmm.lab.cim.system import page_file, processes
from rmm.lab.load import Curve, wrap32

SECOND = 10_000_000  # 100 ns
# Shares of a processor's busy time.
PRIVILEGED, INTERRUPT, DPC = 0.31, 0.012, 0.018
BOOST = 1.12  # processors run a little above their nominal frequency
UTILITY_TICKS = 100_000  # per second: the base of the utility and performance counters


def _busy(moment: Moment) -> list[float]:
    """Seconds that each logical processor has been busy since boot."""
    machine, t = moment.machine, moment.t
    return [machine.cpu_curve(core).total(machine.boot, t) for core in range(machine.hardware.logical)]


def _times(elapsed: float, busy: float) -> Row:
    """The time counters of one processor. PercentProcessorTime counts idle time: the poller inverts it."""
    idle = int(max(elapsed - busy, 0.0) * SECOND)
    return {
        "PercentProcessorTime": idle, "PercentIdleTime": idle, "PercentUserTime": int(busy * (1 - PRIVILEGED) * SECOND),
        "PercentPrivilegedTime": int(busy * PRIVILEGED * SECOND), "PercentDPCTime": int(busy * DPC * SECOND),
        "PercentInterruptTime": int(busy * INTERRUPT * SECOND), "PercentC1Time": int(idle * 0.9),
        "PercentC2Time": 0, "PercentC3Time": 0, "C1TransitionsPersec": int(idle / SECOND * 900),
        "C2TransitionsPersec": 0, "C3TransitionsPersec": 0, "DPCRate": 1,
        "InterruptsPersec": wrap32(elapsed * 400 + busy * 2600), "DPCsQueuedPersec": wrap32(elapsed * 30 + busy * 240),
    }  # fmt: skip


def _information(moment: Moment, elapsed: float, busy: float) -> Row:
    mhz = moment.machine.hardware.cpu[3]
    ticks = elapsed * UTILITY_TICKS
    base = wrap32(ticks)
    utility = int(busy * BOOST * 100 * UTILITY_TICKS)
    idle = max(elapsed - busy, 0.0)
    return {
        "ActualFrequency": int(ticks * mhz * BOOST), "ActualFrequency_Base": base,
        "AverageIdleTime": int(idle * SECOND), "AverageIdleTime_Base": int(idle * 900),
        "ClockInterruptsPersec": wrap32(elapsed * 64),
        "IdleBreakEventsPersec": int(elapsed * 150), "ParkingStatus": 0, "PercentPerformanceLimit": 100,
        "PercentPriorityTime": int(busy * 0.8 * SECOND), "PercentPrivilegedUtility": int(utility * PRIVILEGED),
        "PercentPrivilegedUtility_Base": base, "PercentProcessorPerformance": int(ticks * 100 * BOOST),
        "PercentProcessorPerformance_Base": base, "PercentProcessorUtility": utility,
        "PercentProcessorUtility_Base": base, "PercentofMaximumFrequency": 100, "PerformanceLimitFlags": 0,
        "ProcessorFrequency": mhz, "ProcessorStateFlags": 0,
    }  # fmt: skip


def processor_information(moment: Moment) -> list[Row]:
    """Instances `0,0`, `0,1` ... per socket, its `0,_Total`, and `_Total`."""
    elapsed, busy, stamps = moment.elapsed, _busy(moment), moment.stamps()
    sockets = moment.machine.hardware.sockets
    each = len(busy) // sockets
    groups: list[tuple[str, float]] = []
    for socket in range(sockets):
        own = busy[socket * each : (socket + 1) * each]
        groups += [(f"{socket},{core}", one) for core, one in enumerate(own)]
        groups.append((f"{socket},_Total", sum(own) / each))
    groups.append(("_Total", sum(busy) / len(busy)))
    return [
        {"Name": name, **stamps, **_times(elapsed, one), **_information(moment, elapsed, one)} for name, one in groups
    ]


def processors(moment: Moment) -> list[Row]:
    elapsed, busy, stamps = moment.elapsed, _busy(moment), moment.stamps()
    rows: list[Row] = [{"Name": str(core), **stamps, **_times(elapsed, one)} for core, one in enumerate(busy)]
    rows.append({"Name": "_Total", **stamps, **_times(elapsed, sum(busy) / len(busy))})
    return rows


def system(moment: Moment) -> list[Row]:
    machine = moment.machine
    work = sum(_busy(moment))
    elapsed = moment.elapsed
    count, threads = processes(moment)
    rate = machine.cpu_curve(0).rate(moment.t)
    logical = machine.hardware.logical
    queue = int(logical * 3 * (rate - 0.8) / 0.2) if rate > 0.8 else int(rate * 2.5)
    return [{
        "AlignmentFixupsPersec": 0, "ContextSwitchesPersec": wrap32(elapsed * 900 + work * 9_000),
        "ExceptionDispatchesPersec": wrap32(work * 40), "FileControlBytesPersec": int(elapsed * 20_000),
        "FileControlOperationsPersec": wrap32(elapsed * 700), "FileDataOperationsPersec": wrap32(elapsed * 320),
        "FileReadBytesPersec": int(elapsed * 450_000), "FileReadOperationsPersec": wrap32(elapsed * 220),
        "FileWriteBytesPersec": int(elapsed * 90_000), "FileWriteOperationsPersec": wrap32(elapsed * 100),
        "FloatingEmulationsPersec": 0, "PercentRegistryQuotaInUse": 96_000_000,
        "PercentRegistryQuotaInUse_Base": 4_294_967_295, "Processes": count, "ProcessorQueueLength": queue,
        "SystemCallsPersec": wrap32(elapsed * 4_000 + work * 60_000), "Threads": threads,
        # An elapsed-time counter: the moment of the start; the poller takes it from Timestamp_Object.
        "SystemUpTime": moment.filetime(machine.boot + machine.skew), **moment.stamps(),
    }]  # fmt: skip


def memory(moment: Moment) -> list[Row]:
    machine = moment.machine
    elapsed = moment.elapsed
    total = machine.hardware.memory - 393_216
    used = machine.memory_used(moment.t)
    available = int(total * (1 - used)) // 4096 * 4096
    limit = total + machine.pagefile
    committed = min(int(total * used * 1.08) + 300_000_000, int(limit * 0.995))
    hot = machine.memory_load > 0.86
    paging = Curve(1400.0 if hot else 18.0, 0.3, 0.4, 420.0, machine.phase).total(machine.boot, moment.t)
    return [{
        "AvailableBytes": available, "AvailableKBytes": available >> 10, "AvailableMBytes": available >> 20,
        "CacheBytes": int(total * 0.02), "CacheBytesPeak": int(total * 0.04),
        "CacheFaultsPersec": wrap32(elapsed * 180), "CommitLimit": limit, "CommittedBytes": committed,
        "DemandZeroFaultsPersec": wrap32(elapsed * 900),
        "FreeAndZeroPageListBytes": available // 3, "FreeSystemPageTableEntries": 12_309_000 - machine.index % 4000,
        "LongTermAverageStandbyCacheLifetimes": 14_400, "ModifiedPageListBytes": int(total * 0.004),
        "PageFaultsPersec": wrap32(elapsed * 1900 + paging), "PageReadsPersec": wrap32(paging * 0.21),
        "PageWritesPersec": wrap32(paging * 0.004), "PagesInputPersec": wrap32(paging * 0.88),
        "PagesOutputPersec": wrap32(paging * 0.12), "PagesPersec": wrap32(paging),
        "PercentCommittedBytesInUse": (committed >> 12) & 0xFFFFFFFF,
        "PercentCommittedBytesInUse_Base": (limit >> 12) & 0xFFFFFFFF, "PoolNonpagedAllocs": 310_000,
        "PoolNonpagedBytes": int(160e6 + total * 0.004), "PoolPagedAllocs": 480_000,
        "PoolPagedBytes": int(220e6 + total * 0.007), "PoolPagedResidentBytes": int(200e6 + total * 0.006),
        "StandbyCacheCoreBytes": int(total * 0.01), "StandbyCacheNormalPriorityBytes": available // 3,
        "StandbyCacheReserveBytes": available // 4, "SystemCacheResidentBytes": int(total * 0.02),
        "SystemCodeResidentBytes": 0, "SystemCodeTotalBytes": 0, "SystemDriverResidentBytes": 18_000_000,
        "SystemDriverTotalBytes": 24_000_000, "TransitionFaultsPersec": wrap32(elapsed * 600),
        "TransitionPagesRePurposedPersec": wrap32(paging * 0.5), "WriteCopiesPersec": wrap32(elapsed * 12),
        **moment.stamps(machine.os.perf_frequency),
    }]  # fmt: skip


def paging_file(moment: Moment) -> list[Row]:
    """Usage as pages over the pages allocated."""
    rows: list[Row] = [
        {
            "Name": name,
            "PercentUsage": file["CurrentUsage"] << 8,
            "PercentUsage_Base": file["AllocatedBaseSize"] << 8,
            "PercentUsagePeak": file["PeakUsage"] << 8,
            "PercentUsagePeak_Base": file["AllocatedBaseSize"] << 8,
            **moment.stamps(moment.machine.os.perf_frequency),
        }
        for file in page_file(moment)
        for name in ("\\??\\C:\\pagefile.sys", "_Total")
    ]
    return rows


PROVIDERS: dict[str, Provider] = {
    "Win32_PerfRawData_Counters_ProcessorInformation": processor_information,
    "Win32_PerfRawData_PerfOS_Processor": processors,
    "Win32_PerfRawData_PerfOS_System": system,
    "Win32_PerfRawData_PerfOS_Memory": memory,
    "Win32_PerfRawData_PerfOS_PagingFile": paging_file,
}
