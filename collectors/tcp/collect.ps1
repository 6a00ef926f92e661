$v4 = Get-CimInstance -Query 'SELECT ConnectionsEstablished, ConnectionsActive, ConnectionsPassive, ConnectionFailures, ConnectionsReset, SegmentsReceivedPersec, SegmentsSentPersec, SegmentsRetransmittedPersec, Timestamp_Sys100NS, Timestamp_PerfTime, Frequency_PerfTime FROM Win32_PerfRawData_Tcpip_TCPv4'
$notes = @()
$v6 = @()
try {
    $v6 = Get-CimInstance -Query 'SELECT ConnectionsEstablished, ConnectionsActive, ConnectionsPassive, ConnectionFailures, ConnectionsReset, SegmentsReceivedPersec, SegmentsSentPersec, SegmentsRetransmittedPersec, Timestamp_Sys100NS, Timestamp_PerfTime, Frequency_PerfTime FROM Win32_PerfRawData_Tcpip_TCPv6'
} catch {
    # By its number: the text of an error is localised.
    $reason = 'unknown'
    if ("$($_.CategoryInfo.Category)" -eq 'PermissionDenied') { $reason = 'access_denied' }
    if ($_.FullyQualifiedErrorId -match '0x80041010|0x8004100e') { $reason = 'unsupported' }
    $notes = @(@{ Source = 'v6'; Reason = $reason })
}
$document = @{
    v4 = @($v4 | Select-Object -Property ConnectionsEstablished, ConnectionsActive, ConnectionsPassive, ConnectionFailures, ConnectionsReset, SegmentsReceivedPersec, SegmentsSentPersec, SegmentsRetransmittedPersec, Timestamp_Sys100NS, Timestamp_PerfTime, Frequency_PerfTime)
    v6 = @($v6 | Select-Object -Property ConnectionsEstablished, ConnectionsActive, ConnectionsPassive, ConnectionFailures, ConnectionsReset, SegmentsReceivedPersec, SegmentsSentPersec, SegmentsRetransmittedPersec, Timestamp_Sys100NS, Timestamp_PerfTime, Frequency_PerfTime)
    notes = $notes
}
ConvertTo-Json -InputObject $document -Compress -Depth 4
