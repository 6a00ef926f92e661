$notes = @()
$setting = @()
try {
    $setting = @(Get-CimInstance -Namespace root/cimv2/TerminalServices -Query 'SELECT TerminalServerMode, AllowTSConnections, LicensingType, SessionBrokerDrainMode, SingleSession FROM Win32_TerminalServiceSetting WHERE TerminalServerMode = 1')
} catch {
    $notes += @{ Source = 'setting'; Reason = Get-Reason $_ }
}
$sessions = @()
try {
    $sessions = @(Get-CimInstance -Query 'SELECT ActiveSessions, InactiveSessions, TotalSessions FROM Win32_PerfRawData_LocalSessionManager_TerminalServices')
} catch {
    $notes += @{ Source = 'sessions'; Reason = Get-Reason $_ }
}
$document = @{
    setting = @($setting | Select-Object -Property TerminalServerMode, AllowTSConnections, LicensingType, SessionBrokerDrainMode, SingleSession)
    sessions = @($sessions | Select-Object -Property ActiveSessions, InactiveSessions, TotalSessions)
    notes = $notes
}
ConvertTo-Json -InputObject $document -Compress -Depth 4
