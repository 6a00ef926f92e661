$os = Get-CimInstance -Query 'SELECT CSName, LastBootUpTime FROM Win32_OperatingSystem'
$utc = Get-CimInstance -Query 'SELECT Year, Month, Day, Hour, Minute, Second FROM Win32_UTCTime'
$perf = Get-CimInstance -Query 'SELECT Processes, Threads, ProcessorQueueLength, ContextSwitchesPersec, SystemCallsPersec, Timestamp_Sys100NS, Timestamp_PerfTime, Frequency_PerfTime FROM Win32_PerfRawData_PerfOS_System'
$computer = Get-CimInstance -Query 'SELECT NumberOfLogicalProcessors FROM Win32_ComputerSystem'
$document = @{
    os = @(foreach ($item in $os) {
        @{ CSName = $item.CSName; LastBootUpTime = ConvertTo-Utc $item.LastBootUpTime }
    })
    utc = @($utc | Select-Object -Property Year, Month, Day, Hour, Minute, Second)
    perf = @($perf | Select-Object -Property Processes, Threads, ProcessorQueueLength, ContextSwitchesPersec, SystemCallsPersec, Timestamp_Sys100NS, Timestamp_PerfTime, Frequency_PerfTime)
    computer = @($computer | Select-Object -Property NumberOfLogicalProcessors)
}
ConvertTo-Json -InputObject $document -Compress -Depth 4
