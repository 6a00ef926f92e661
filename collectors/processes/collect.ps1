$process = Get-CimInstance -Query 'SELECT Name, IDProcess, ElapsedTime, PercentProcessorTime, WorkingSet, PrivateBytes, IODataBytesPersec, HandleCount, ThreadCount, Timestamp_Sys100NS, Timestamp_PerfTime, Frequency_PerfTime FROM Win32_PerfRawData_PerfProc_Process'
$computer = Get-CimInstance -Query 'SELECT NumberOfLogicalProcessors FROM Win32_ComputerSystem'
$document = @{
    process = @($process | Select-Object -Property Name, IDProcess, ElapsedTime, PercentProcessorTime, WorkingSet, PrivateBytes, IODataBytesPersec, HandleCount, ThreadCount, Timestamp_Sys100NS, Timestamp_PerfTime, Frequency_PerfTime)
    computer = @($computer | Select-Object -Property NumberOfLogicalProcessors)
}
ConvertTo-Json -InputObject $document -Compress -Depth 4
