$notes = @()
$sessions = @()
try {
    $sessions = Get-CimInstance -Query 'SELECT ActiveSessions, InactiveSessions, TotalSessions FROM Win32_PerfRawData_LocalSessionManager_TerminalServices'
} catch {
    # By its number: the text of an error is localised.
    $reason = 'unknown'
    if ("$($_.CategoryInfo.Category)" -eq 'PermissionDenied') { $reason = 'access_denied' }
    if ($_.FullyQualifiedErrorId -match '0x80041010|0x8004100e') { $reason = 'unsupported' }
    $notes += @{ Source = 'sessions'; Reason = $reason }
}
$computer = Get-CimInstance -Query 'SELECT UserName FROM Win32_ComputerSystem'
$keys = Get-ItemProperty -Path 'Registry::HKEY_USERS\*\Volatile Environment' -ErrorAction SilentlyContinue -ErrorVariable failures
$logons = @(foreach ($key in $keys) {
    @{ KeyName = @($key.PSPath -split '\\')[-2]; USERDOMAIN = $key.USERDOMAIN; USERNAME = $key.USERNAME }
})
# Who may not see all hives would report too few users: then none is better.
if (@($failures | Where-Object -FilterScript { "$($_.CategoryInfo.Category)" -in 'PermissionDenied', 'SecurityError' }).Count -gt 0) {
    $logons = @()
    $notes += @{ Source = 'logons'; Reason = 'access_denied' }
}
$document = @{
    sessions = @($sessions | Select-Object -Property ActiveSessions, InactiveSessions, TotalSessions)
    computer = @($computer | Select-Object -Property UserName)
    logons = $logons
    notes = $notes
}
ConvertTo-Json -InputObject $document -Compress -Depth 4
