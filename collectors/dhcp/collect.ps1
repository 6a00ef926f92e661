$perf = Get-CimInstance -Query 'SELECT PacketsReceivedPersec, DuplicatesDroppedPersec, PacketsExpiredPersec, ActiveQueueLength, ConflictCheckQueueLength, DiscoversPersec, OffersPersec, RequestsPersec, AcksPersec, NacksPersec, DeclinesPersec, ReleasesPersec, Timestamp_Sys100NS, Timestamp_PerfTime, Frequency_PerfTime FROM Win32_PerfRawData_dhcpserver_DHCPServer'
$document = @{
    perf = @($perf | Select-Object -Property PacketsReceivedPersec, DuplicatesDroppedPersec, PacketsExpiredPersec, ActiveQueueLength, ConflictCheckQueueLength, DiscoversPersec, OffersPersec, RequestsPersec, AcksPersec, NacksPersec, DeclinesPersec, ReleasesPersec, Timestamp_Sys100NS, Timestamp_PerfTime, Frequency_PerfTime)
}
ConvertTo-Json -InputObject $document -Compress -Depth 4
