# Why a source could not be read, by numbers that no language changes.
function Get-Reason {
    param($Failure)
    if ("$($Failure.CategoryInfo.Category)" -in 'PermissionDenied', 'SecurityError' -or $Failure.FullyQualifiedErrorId -match '0x80041003') { return 'access_denied' }
    if ($Failure.FullyQualifiedErrorId -match '0x800410(02|0e|10)') { return 'unsupported' }
    'unknown'
}
$notes = @()
$summary = Get-CimInstance -Namespace root/virtualization/v2 -Query 'SELECT Name, ElementName, EnabledState, HealthState, Heartbeat, UpTime, ProcessorLoad, MemoryUsage, MemoryAvailable, NumberOfProcessors, GuestOperatingSystem, Version, ReplicationMode, ReplicationState, ReplicationHealth FROM Msvm_SummaryInformation'
$system = Get-CimInstance -Namespace root/virtualization/v2 -Query 'SELECT Name, LastReplicationTime FROM Msvm_ComputerSystem'
$checkpoint = @()
try {
    $checkpoint = @(Get-CimInstance -Namespace root/virtualization/v2 -Query "SELECT VirtualSystemIdentifier, CreationTime FROM Msvm_VirtualSystemSettingData WHERE VirtualSystemType = 'Microsoft:Hyper-V:Snapshot:Realized' OR VirtualSystemType = 'Microsoft:Hyper-V:Snapshot:Recovery'")
} catch {
    $notes += @{ Source = 'checkpoint'; Reason = Get-Reason $_ }
}
$utc = Get-CimInstance -Query 'SELECT Year, Month, Day, Hour, Minute, Second FROM Win32_UTCTime'
$document = @{
    summary = @($summary | Select-Object -Property Name, ElementName, EnabledState, HealthState, Heartbeat, UpTime, ProcessorLoad, MemoryUsage, MemoryAvailable, NumberOfProcessors, GuestOperatingSystem, Version, ReplicationMode, ReplicationState, ReplicationHealth)
    system = @(foreach ($item in $system) {
        $lastReplicationTime = $null
        if ($item.LastReplicationTime) { $lastReplicationTime = $item.LastReplicationTime.ToUniversalTime().ToString('o') }
        @{
            Name = $item.Name
            LastReplicationTime = $lastReplicationTime
        }
    })
    checkpoint = @(foreach ($item in $checkpoint) {
        $creationTime = $null
        if ($item.CreationTime) { $creationTime = $item.CreationTime.ToUniversalTime().ToString('o') }
        @{
            VirtualSystemIdentifier = $item.VirtualSystemIdentifier
            CreationTime = $creationTime
        }
    })
    utc = @($utc | Select-Object -Property Year, Month, Day, Hour, Minute, Second)
    notes = $notes
}
ConvertTo-Json -InputObject $document -Compress -Depth 4
