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
        @{
            Name = $item.Name
            LastReplicationTime = ConvertTo-Utc $item.LastReplicationTime
        }
    })
    checkpoint = @(foreach ($item in $checkpoint) {
        @{
            VirtualSystemIdentifier = $item.VirtualSystemIdentifier
            CreationTime = ConvertTo-Utc $item.CreationTime
        }
    })
    utc = @($utc | Select-Object -Property Year, Month, Day, Hour, Minute, Second)
    notes = $notes
}
ConvertTo-Json -InputObject $document -Compress -Depth 4
