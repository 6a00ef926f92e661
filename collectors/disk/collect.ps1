$perf = Get-CimInstance -Query 'SELECT Name, DiskReadsPersec, DiskWritesPersec, DiskReadBytesPersec, DiskWriteBytesPersec, AvgDiskReadQueueLength, AvgDiskWriteQueueLength, AvgDiskQueueLength, PercentIdleTime, PercentIdleTime_Base, SplitIOPerSec, Timestamp_Sys100NS, Timestamp_PerfTime, Frequency_PerfTime FROM Win32_PerfRawData_PerfDisk_LogicalDisk'
$document = @{
    perf = @($perf | Select-Object -Property Name, DiskReadsPersec, DiskWritesPersec, DiskReadBytesPersec, DiskWriteBytesPersec, AvgDiskReadQueueLength, AvgDiskWriteQueueLength, AvgDiskQueueLength, PercentIdleTime, PercentIdleTime_Base, SplitIOPerSec, Timestamp_Sys100NS, Timestamp_PerfTime, Frequency_PerfTime)
}
ConvertTo-Json -InputObject $document -Compress -Depth 4
