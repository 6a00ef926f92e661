$notes = @()
$counters = @()
try {
    $found = Get-CimInstance -Query 'SELECT ComputedTimeOffset, NTPRoundtripDelay, NTPClientTimeSourceCount FROM Win32_PerfRawData_MicrosoftWindowsW32TimePerf_WindowsTimeService' -ErrorAction Stop
    $counters = @($found | Select-Object -Property ComputedTimeOffset, NTPRoundtripDelay, NTPClientTimeSourceCount)
} catch { $notes += @{ Source = 'counters'; Reason = Get-Reason $_ } }
$service = @()
try {
    $found = Get-CimInstance -Query "SELECT State, StartMode FROM Win32_Service WHERE Name = 'W32Time'" -ErrorAction Stop
    $service = @($found | Select-Object -Property State, StartMode)
} catch { $notes += @{ Source = 'service'; Reason = Get-Reason $_ } }

$settings = @()
foreach ($key in 'HKLM:\SYSTEM\CurrentControlSet\Services\W32Time\Parameters', 'HKLM:\SOFTWARE\Policies\Microsoft\W32Time\Parameters') {
    if (-not (Test-Path -LiteralPath $key)) { continue }
    if ($settings.Count -eq 0) { $settings = @(@{ Type = $null; NtpServer = $null }) }
    $values = Get-ItemProperty -LiteralPath $key
    if ($null -ne $values.Type) { $settings[0]['Type'] = $values.Type }
    if ($null -ne $values.NtpServer) { $settings[0]['NtpServer'] = $values.NtpServer }
}
$hosted = @()
$key = 'HKLM:\SYSTEM\CurrentControlSet\Services\W32Time\TimeProviders\VMICTimeProvider'
if (Test-Path -LiteralPath $key) { $hosted = @(Get-ItemProperty -LiteralPath $key | Select-Object -Property Enabled) }

$status = @()
try {
    $record = Get-Newest -Log 'Microsoft-Windows-Time-Service/Operational' -XPath '*[System[Provider[@Name="Microsoft-Windows-Time-Service"] and EventID=260]]'
    $values = @($record.Properties)
    if ($values.Count -ge 17) {
        $status = @(@{
            TimeCreated = ConvertTo-Utc $record.TimeCreated
            Stratum = $values[3].Value
            LastSync = $values[8].Value
            Source = $values[9].Value
            SyncError = $values[16].Value
        })
    }
} catch { $notes += @{ Source = 'status'; Reason = Get-Reason $_ } }
ConvertTo-Json -InputObject @{ counters = $counters; service = $service; settings = $settings; host = $hosted; status = $status; notes = $notes } -Compress -Depth 4
