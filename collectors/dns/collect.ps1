$perf = Get-CimInstance -Query 'SELECT TotalQueryReceived, TotalResponseSent, UDPQueryReceived, TCPQueryReceived, RecursiveQueries, RecursiveQueryFailure, RecursiveSendTimeOuts, DynamicUpdateReceived, DynamicUpdateRejected, DynamicUpdateQueued, SecureUpdateFailure, ZoneTransferFailure, CachingMemory, DatabaseNodeMemory, Timestamp_Sys100NS, Timestamp_PerfTime, Frequency_PerfTime FROM Win32_PerfRawData_DNS_DNS'
$document = @{
    perf = @($perf | Select-Object -Property TotalQueryReceived, TotalResponseSent, UDPQueryReceived, TCPQueryReceived, RecursiveQueries, RecursiveQueryFailure, RecursiveSendTimeOuts, DynamicUpdateReceived, DynamicUpdateRejected, DynamicUpdateQueued, SecureUpdateFailure, ZoneTransferFailure, CachingMemory, DatabaseNodeMemory, Timestamp_Sys100NS, Timestamp_PerfTime, Frequency_PerfTime)
}
ConvertTo-Json -InputObject $document -Compress -Depth 4
