$notes = @()
$server = @()
try {
    $server = Get-CimInstance -Query 'SELECT ServerSessions, FilesOpen, BytesReceivedPersec, BytesTransmittedPersec, LogonPersec, ErrorsLogon, ErrorsAccessPermissions, ErrorsGrantedAccess, ErrorsSystem, SessionsErroredOut, SessionsTimedOut, SessionsForcedOff, WorkItemShortages, Timestamp_Sys100NS, Timestamp_PerfTime, Frequency_PerfTime FROM Win32_PerfRawData_PerfNet_Server'
} catch {
    $notes = @(@{ Source = 'server'; Reason = Get-Reason $_ })
}
$document = @{
    server = @($server | Select-Object -Property ServerSessions, FilesOpen, BytesReceivedPersec, BytesTransmittedPersec, LogonPersec, ErrorsLogon, ErrorsAccessPermissions, ErrorsGrantedAccess, ErrorsSystem, SessionsErroredOut, SessionsTimedOut, SessionsForcedOff, WorkItemShortages, Timestamp_Sys100NS, Timestamp_PerfTime, Frequency_PerfTime)
    notes = $notes
}
ConvertTo-Json -InputObject $document -Compress -Depth 4
