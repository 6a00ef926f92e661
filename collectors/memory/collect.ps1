$os = Get-CimInstance -Query 'SELECT TotalVisibleMemorySize, FreePhysicalMemory FROM Win32_OperatingSystem'
$perf = Get-CimInstance -Query 'SELECT AvailableBytes, CommittedBytes, CommitLimit, PagesPersec, PoolPagedBytes, PoolNonpagedBytes, FreeSystemPageTableEntries, Timestamp_Sys100NS, Timestamp_PerfTime, Frequency_PerfTime FROM Win32_PerfRawData_PerfOS_Memory'
$pagefile = Get-CimInstance -Query 'SELECT Name, AllocatedBaseSize, CurrentUsage FROM Win32_PageFileUsage'
$document = @{
    os = @($os | Select-Object -Property TotalVisibleMemorySize, FreePhysicalMemory)
    perf = @($perf | Select-Object -Property AvailableBytes, CommittedBytes, CommitLimit, PagesPersec, PoolPagedBytes, PoolNonpagedBytes, FreeSystemPageTableEntries, Timestamp_Sys100NS, Timestamp_PerfTime, Frequency_PerfTime)
    pagefile = @($pagefile | Select-Object -Property Name, AllocatedBaseSize, CurrentUsage)
}
ConvertTo-Json -InputObject $document -Compress -Depth 4
