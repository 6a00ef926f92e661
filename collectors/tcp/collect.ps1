$v4 = Get-CimInstance -Query 'SELECT ConnectionsEstablished, ConnectionsActive, ConnectionsPassive, ConnectionFailures, ConnectionsReset, SegmentsReceivedPersec, SegmentsSentPersec, SegmentsRetransmittedPersec, Timestamp_Sys100NS, Timestamp_PerfTime, Frequency_PerfTime FROM Win32_PerfRawData_Tcpip_TCPv4'
$notes = @()
$v6 = @()
try {
    $v6 = Get-CimInstance -Query 'SELECT ConnectionsEstablished, ConnectionsActive, ConnectionsPassive, ConnectionFailures, ConnectionsReset, SegmentsReceivedPersec, SegmentsSentPersec, SegmentsRetransmittedPersec, Timestamp_Sys100NS, Timestamp_PerfTime, Frequency_PerfTime FROM Win32_PerfRawData_Tcpip_TCPv6'
} catch {
    $notes = @(@{ Source = 'v6'; Reason = Get-Reason $_ })
}
$document = @{
    v4 = @($v4 | Select-Object -Property ConnectionsEstablished, ConnectionsActive, ConnectionsPassive, ConnectionFailures, ConnectionsReset, SegmentsReceivedPersec, SegmentsSentPersec, SegmentsRetransmittedPersec, Timestamp_Sys100NS, Timestamp_PerfTime, Frequency_PerfTime)
    v6 = @($v6 | Select-Object -Property ConnectionsEstablished, ConnectionsActive, ConnectionsPassive, ConnectionFailures, ConnectionsReset, SegmentsReceivedPersec, SegmentsSentPersec, SegmentsRetransmittedPersec, Timestamp_Sys100NS, Timestamp_PerfTime, Frequency_PerfTime)
    notes = $notes
}
ConvertTo-Json -InputObject $document -Compress -Depth 4
