$notes = @()
$pool = Get-CimInstance -Query "SELECT Name, CurrentApplicationPoolState, CurrentWorkerProcesses, TotalApplicationPoolRecycles, TotalWorkerProcessFailures, TotalWorkerProcessPingFailures, TotalWorkerProcessStartupFailures, RecentWorkerProcessFailures, Timestamp_Sys100NS, Timestamp_PerfTime, Frequency_PerfTime FROM Win32_PerfRawData_APPPOOLCountersProvider_APPPOOLWAS WHERE Name != '_Total'"
$worker = @()
try {
    $counted = Get-CimInstance -Query 'SELECT Name FROM Win32_PerfRawData_W3SVCW3WPCounterProvider_W3SVCW3WP'
    $pools = @{}
    # An instance is called by the number of its process, an underscore and the pool.
    foreach ($item in $counted) {
        $number, $name = $item.Name -split '_', 2
        if ($number) { $pools[$number] = $name }
    }
    $process = Get-CimInstance -Query "SELECT ProcessId, WorkingSetSize, PrivatePageCount FROM Win32_Process WHERE Name = 'w3wp.exe'"
    $worker = @(foreach ($item in $process) {
        @{ ProcessId = $item.ProcessId; Pool = $pools["$($item.ProcessId)"]; WorkingSetSize = $item.WorkingSetSize; PrivatePageCount = $item.PrivatePageCount }
    })
} catch {
    $notes += @{ Source = 'worker'; Reason = Get-Reason $_ }
}
$document = @{
    pool = @($pool | Select-Object -Property Name, CurrentApplicationPoolState, CurrentWorkerProcesses, TotalApplicationPoolRecycles, TotalWorkerProcessFailures, TotalWorkerProcessPingFailures, TotalWorkerProcessStartupFailures, RecentWorkerProcessFailures, Timestamp_Sys100NS, Timestamp_PerfTime, Frequency_PerfTime)
    worker = $worker
    notes = $notes
}
ConvertTo-Json -InputObject $document -Compress -Depth 4
