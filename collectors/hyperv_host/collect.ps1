$notes = @()
$service = @()
try {
    $service = @(Get-CimInstance -Query "SELECT Name, State FROM Win32_Service WHERE Name = 'vmms'")
} catch {
    $notes += @{ Source = 'service'; Reason = Get-Reason $_ }
}
$processor = @()
try {
    $processor = @(Get-CimInstance -Query "SELECT Name, PercentTotalRunTime, PercentTotalRunTime_Base, PercentGuestRunTime, PercentGuestRunTime_Base, PercentHypervisorRunTime, PercentHypervisorRunTime_Base, Timestamp_Sys100NS, Timestamp_PerfTime, Frequency_PerfTime FROM Win32_PerfRawData_HvStats_HyperVHypervisorLogicalProcessor WHERE Name = '_Total'")
} catch {
    $notes += @{ Source = 'processor'; Reason = Get-Reason $_ }
}
$machines = @()
try {
    $machines = @(Get-CimInstance -Query 'SELECT HealthOk, HealthCritical FROM Win32_PerfRawData_VmmsVirtualMachineStats_HyperVVirtualMachineHealthSummary')
} catch {
    $notes += @{ Source = 'machines'; Reason = Get-Reason $_ }
}
$memory = @()
try {
    $memory = @(Get-CimInstance -Query 'SELECT Name, AvailableMemory, AveragePressure FROM Win32_PerfRawData_BalancerStats_HyperVDynamicMemoryBalancer')
} catch {
    $notes += @{ Source = 'memory'; Reason = Get-Reason $_ }
}
$document = @{
    service = @($service | Select-Object -Property Name, State)
    processor = @($processor | Select-Object -Property Name, PercentTotalRunTime, PercentTotalRunTime_Base, PercentGuestRunTime, PercentGuestRunTime_Base, PercentHypervisorRunTime, PercentHypervisorRunTime_Base, Timestamp_Sys100NS, Timestamp_PerfTime, Frequency_PerfTime)
    machines = @($machines | Select-Object -Property HealthOk, HealthCritical)
    memory = @($memory | Select-Object -Property Name, AvailableMemory, AveragePressure)
    notes = $notes
}
ConvertTo-Json -InputObject $document -Compress -Depth 4
