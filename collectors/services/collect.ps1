$service = Get-CimInstance -Query 'SELECT Name, DisplayName, State, StartMode, DelayedAutoStart, StartName, ExitCode, ProcessId FROM Win32_Service'
$notes = @()
$triggers = @()
try {
    # One look at the whole branch; keys that this account may not read are skipped.
    $keys = Get-Item -Path 'HKLM:\SYSTEM\CurrentControlSet\Services\*\TriggerInfo' -ErrorAction SilentlyContinue -ErrorVariable problems
    if (-not $keys -and $problems) { throw $problems[0] }
    $triggers = @(foreach ($key in $keys) { @{ KeyName = @($key.Name -split '\\')[-2] } })
} catch {
    $notes = @(@{ Source = 'triggers'; Reason = Get-Reason $_ })
}
$document = @{
    service = @($service | Select-Object -Property Name, DisplayName, State, StartMode, DelayedAutoStart, StartName, ExitCode, ProcessId)
    triggers = $triggers
    notes = $notes
}
ConvertTo-Json -InputObject $document -Compress -Depth 4
