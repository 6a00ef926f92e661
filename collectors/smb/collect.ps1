$notes = @()
$server = @()
try {
    $server = Get-CimInstance -Query 'SELECT ServerSessions, FilesOpen, BytesReceivedPersec, BytesTransmittedPersec, LogonPersec, ErrorsLogon, ErrorsAccessPermissions, ErrorsGrantedAccess, ErrorsSystem, SessionsErroredOut, SessionsTimedOut, SessionsForcedOff, WorkItemShortages, Timestamp_Sys100NS, Timestamp_PerfTime, Frequency_PerfTime FROM Win32_PerfRawData_PerfNet_Server'
} catch {
    # By its number: the text of an error is localised.
    $reason = 'unknown'
    if ("$($_.CategoryInfo.Category)" -eq 'PermissionDenied') { $reason = 'access_denied' }
    if ($_.FullyQualifiedErrorId -match '0x80041010|0x8004100e') { $reason = 'unsupported' }
    $notes = @(@{ Source = 'server'; Reason = $reason })
}
$document = @{
    server = @($server | Select-Object -Property ServerSessions, FilesOpen, BytesReceivedPersec, BytesTransmittedPersec, LogonPersec, ErrorsLogon, ErrorsAccessPermissions, ErrorsGrantedAccess, ErrorsSystem, SessionsErroredOut, SessionsTimedOut, SessionsForcedOff, WorkItemShortages, Timestamp_Sys100NS, Timestamp_PerfTime, Frequency_PerfTime)
    notes = $notes
}
ConvertTo-Json -InputObject $document -Compress -Depth 4
