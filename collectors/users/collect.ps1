$notes = @()
$sessions = @()
try {
    $sessions = Get-CimInstance -Query 'SELECT ActiveSessions, InactiveSessions, TotalSessions FROM Win32_PerfRawData_LocalSessionManager_TerminalServices'
} catch {
    $notes += @{ Source = 'sessions'; Reason = Get-Reason $_ }
}
$computer = Get-CimInstance -Query 'SELECT UserName FROM Win32_ComputerSystem'
$keys = Get-ItemProperty -Path 'Registry::HKEY_USERS\*\Volatile Environment' -ErrorAction SilentlyContinue -ErrorVariable failures
$logons = @(foreach ($key in $keys) {
    @{ KeyName = @($key.PSPath -split '\\')[-2]; USERDOMAIN = $key.USERDOMAIN; USERNAME = $key.USERNAME }
})
# Who may not see all hives would report too few users: then none is better.
if (@($failures | Where-Object -FilterScript { (Get-Reason $_) -eq 'access_denied' }).Count -gt 0) {
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
